"""One ratio from the voxels of all cases."""

from __future__ import annotations

from oncoseg.evaluation.protocol import Protocol

PROTOCOL = Protocol(
    "pooled",
    "All voxels of all cases in one ratio: large tumours dominate, missed small ones hardly count.",
    "counts summed over cases, then one ratio",
    "nnU-Net: nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py, on_validation_epoch_end ('Pseudo dice')",
    aliases=("pseudo_dice",),
    pool="voxels",
)
