"""Every slice, empty against empty counts 1."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "all_slices_empty1",
    "Every slice is scored, and an empty slice predicted empty counts 1: predicting nothing scores high.",
    "one value a slice, mean over slices",
    "slice-wise evaluation with Dice 1 for empty against empty; MONAI DiceMetric(ignore_empty=False) on slices",
    aliases=("slice_all",),
    unit="slice",
    pool="units",
    both_empty="one",
)
