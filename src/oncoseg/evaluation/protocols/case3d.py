"""The default: each case, whole volume, scanner's grid."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "case3d",
    "Whole volume of each case on the scanner's grid; misses count 0, nothing is dropped. The default.",
    "one value a case, mean over cases",
    "this project; nnU-Net and the Medical Segmentation Decathlon score volumes likewise",
    aliases=("volume",),
)
