"""Medical-SAM2 as published."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "official_medical_sam2",
    "Medical-SAM2's own 3D evaluation: first quarter of the labelled slices, every object, five logit thresholds.",
    "one value a slice, object and threshold; mean within each case, mean over cases",
    "Medical-SAM2 (Zhu et al. 2024) func_3d/function.py validation_sam, func_3d/utils.py eval_seg, dataset/btcv.py",
    unit="slice",
    both_empty="one",
    crop="first quarter",
    thresholds=(0.1, 0.3, 0.5, 0.7, 0.9),
    threshold_on="logit",
    objects=("*",),
    metrics=("dice", "iou"),
    region="first quarter of the labelled slices",
    prompt_sources=FROM_REFERENCE,
    from_reference={"z_extent_known": True, "class_list_known": True},
    published=True,
)
