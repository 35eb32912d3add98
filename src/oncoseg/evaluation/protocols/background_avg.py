"""The background averaged as if it were an object."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "background_avg",
    "As instance_avg, with the background of every slice as one more object: the average can exceed every class.",
    "one value a slice and object (background included) that has reference there, mean over all of them in all cases",
    "multi-class averages with background; the lung benchmark's U-Net average lies above both its classes (audit B3)",
    unit="slice",
    pool="units",
    tumour_slices_only=True,
    objects=("lung_left", "lung_right"),
    background=True,
    region="slices with reference of the object",
    prompt_sources=FROM_REFERENCE,
    from_reference={"z_extent_known": True, "class_list_known": True},
)
