"""Slices that hold tumour."""

from __future__ import annotations

from oncoseg.evaluation.protocol import FROM_REFERENCE, Protocol

PROTOCOL = Protocol(
    "tumour_slices",
    "Only slices with reference are scored: false tumour elsewhere costs nothing.",
    "one value a slice with tumour, mean over slices; with @case mean within each case first",
    "MedSAM (discussion #134), SAM-Med2D (test.py), GTV-SAMGAN (paper)",
    aliases=("slice_present",),
    unit="slice",
    pool="units",
    tumour_slices_only=True,
    region="slices with reference",
    prompt_sources=FROM_REFERENCE,
    from_reference={"z_extent_known": True},
)
