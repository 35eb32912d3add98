"""A window of 128 voxels a side round the reference."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "crop128",
    "A window of 128^3 voxels round the reference: false tumour far away vanishes.",
    "one value a case inside the window, mean over cases",
    "SAM-Med3D utils/infer_utils.py, CropOrPad(mask_name='label'); SMIT lung GTV (MHub)",
    crop=(128, 128, 128),
    region="128^3 voxels round the reference's bounding box",
    grid="the voxels that are given; SAM-Med3D and M-SAM resample to 1.5 mm first",
    from_reference={"crop_centre_known": True},
)
