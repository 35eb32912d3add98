"""Every slice, prediction silenced where there is no tumour."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "all_slices_silenced",
    "Every slice is scored after the prediction was emptied wherever the reference is empty.",
    "one value a slice, mean over slices",
    "Medical-SAM2 (Zhu et al. 2024) func_3d/function.py, zero mask prompts, without its quarter and trim",
    unit="slice",
    pool="units",
    both_empty="one",
    silenced=True,
    prompt_sources=FROM_REFERENCE,
    from_reference={"z_extent_known": True},
)
