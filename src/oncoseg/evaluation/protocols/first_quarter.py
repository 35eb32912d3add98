"""The first quarter of the labelled slices."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "first_quarter",
    "Only the first quarter of the labelled slices is scored (at least one slice).",
    "one value a slice, mean within each case, mean over cases",
    "Medical-SAM2 (Zhu et al. 2024) func_3d/dataset/btcv.py: video_length = int(num_frame / 4)",
    unit="slice",
    both_empty="one",
    crop="first quarter",
    region="first quarter of the labelled slices",
    from_reference={"z_extent_known": True},
)
