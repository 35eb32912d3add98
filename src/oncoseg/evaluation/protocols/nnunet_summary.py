"""The summary.json of nnU-Net."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "nnunet_summary",
    "Whole volume of each case; cases empty in both masks are dropped from the mean.",
    "one value a case, nanmean over cases",
    "nnU-Net (Isensee et al. 2021): nnunetv2/evaluation/evaluate_predictions.py, compute_metrics_on_folder",
    prompt_sources=("none", "automatic"),
)
