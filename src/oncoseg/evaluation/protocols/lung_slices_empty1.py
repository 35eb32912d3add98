"""Every slice of the lungs, empty against empty counts 1."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "lung_slices_empty1",
    "Every slice between the ends of the lungs is scored, and an empty slice predicted empty counts 1.",
    "one value a slice, mean over slices",
    "all_slices_empty1 after a lung mask has cut the scan, as 2D networks trained on lung slices are scored",
    unit="slice",
    pool="units",
    both_empty="one",
    crop="object slices",
    range_objects=("lung_left", "lung_right"),
    region="first to last slice of the lung masks",
    from_reference={"class_list_known": True},
)
