"""Every object on every slice an instance, all pooled."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "instance_avg",
    "Mean over all (slice, object) instances of left lung, right lung and tumour: lungs on many slices outweigh it.",
    "one value a slice and object that has reference there, mean over all of them in all cases",
    "MedSAM style; the lung benchmark's MedSAM rows fit 0.877 lungs + 0.123 tumour (audit B3, arXiv 2505.01239)",
    unit="slice",
    pool="units",
    tumour_slices_only=True,
    objects=("lung_left", "lung_right"),
    region="slices with reference of the object",
    prompt_sources=FROM_REFERENCE,
    from_reference={"z_extent_known": True, "class_list_known": True},
)
