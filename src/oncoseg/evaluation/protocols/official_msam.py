"""M-SAM as published."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "official_msam",
    "M-SAM's own evaluation: 128^3 voxels round the reference, logits above 0.5, small tumours left out.",
    "one value a case inside the window, mean over cases with more than 1000 reference voxels",
    "M-SAM train_msam.py and utils/data_loader.py; it swaps small cases for random others, here they are left out; "
    "its random flip changes no score",
    crop=(128, 128, 128),
    thresholds=(0.5,),
    threshold_on="logit",
    minimum_voxels=1000,
    region="128^3 voxels round the reference's bounding box",
    grid="the voxels that are given; M-SAM resamples to 1.5 mm first",
    prompt_sources=FROM_REFERENCE,
    from_reference={"crop_centre_known": True, "error_map_used": True},
    published=True,
)
