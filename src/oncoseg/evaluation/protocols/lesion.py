"""Lesion-wise detection."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "lesion",
    "Lesions instead of voxels: which were found, which predictions are false.",
    "26-connected lesions matched one to one at IoU >= 0.5 in each case, mean over cases",
    "Kirillov et al., Panoptic Segmentation, CVPR 2019; thresholds as in panoptica",
    metrics=(
        "lesion_f1",
        "lesion_pq",
        "lesion_sq",
        "lesion_sq_dice",
        "lesion_dice",
        "lesion_sensitivity",
        "lesion_precision",
        "false_lesions",
        "missed_lesions",
        "merged_lesions",
        "split_lesions",
    ),
)
