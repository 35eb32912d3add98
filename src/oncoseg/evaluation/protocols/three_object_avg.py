"""Lungs and tumour averaged."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "three_object_avg",
    "Mean of left lung, right lung and tumour: two easy organs carry the number.",
    "one value an object and case, mean over the three objects, mean over cases",
    "multi-class averages over lungs and tumour, e.g. the lung benchmark tables: (2 lungs + tumour) / 3",
    objects=("lung_left", "lung_right"),
    from_reference={"class_list_known": True},
)
