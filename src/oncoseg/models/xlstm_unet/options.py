"""The plan of an xLSTM-UNet: stages, where the Vision-LSTM layers are, and its defaults in 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from oncoseg.dense.options import PatchOptions, SliceOptions, require

#: Where the Vision-LSTM layers are: behind the deepest stage, or along the encoder.
Place = Literal["bottleneck", "encoder"]
#: One entry a stage, one number an axis, as in the plans of nnU-Net.
PerStage = tuple[tuple[int, ...], ...]


def halving_weights(depths: int) -> tuple[float, ...]:
    """1, 1/2, 1/4, ... that sum to 1, as nnU-Net weights its outputs, finest first."""
    total = sum(0.5**depth for depth in range(depths))
    return tuple(0.5**depth / total for depth in range(depths))


@dataclass(frozen=True)
class XLSTMSliceOptions(SliceOptions):
    """Plan of the 2D network: the defaults are what nnU-Net plans for slices of 512 x 512.

    Attributes:
        place: of the Vision-LSTM layers.
        features: channels of each stage.
        kernels: size of the convolutions of each stage.
        strides: of each stage; the first is that of the finest and 1 in nnU-Net's plans.
        depth_weights: of the outputs, finest first; each has a head, so at most as many as there are stages less
            one, and one alone switches deep supervision off.
    """

    place: Place = "bottleneck"
    features: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512, 512)
    kernels: PerStage = ((3, 3),) * 8
    strides: PerStage = ((1, 1), *((2, 2),) * 7)
    depth_weights: tuple[float, ...] = halving_weights(6)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_plan(self, (self.patch, self.patch))
        fixed = "fit must be crop or resize where the network takes one size of slice only (place = encoder)"
        require(self, {fixed: self.place == "bottleneck" or self.fit != "pad"})


@dataclass(frozen=True)
class XLSTMPatchOptions(PatchOptions):
    """Plan of the 3D network: the defaults are what nnU-Net plans for isotropic patches of 128 x 128 x 128.

    Attributes:
        place: of the Vision-LSTM layers.
        features: channels of each stage.
        kernels: size of the convolutions of each stage.
        strides: of each stage; the first is that of the finest and 1 in nnU-Net's plans.
        depth_weights: of the outputs, finest first; each has a head, so at most as many as there are stages less
            one, and one alone switches deep supervision off.
    """

    place: Place = "bottleneck"
    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    kernels: PerStage = ((3, 3, 3),) * 6
    strides: PerStage = ((1, 1, 1), *((2, 2, 2),) * 5)
    depth_weights: tuple[float, ...] = halving_weights(4)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_plan(self, self.patch)
        deep = "features must have at least 4 stages where place = encoder: the first three have no Vision-LSTM layer"
        require(self, {deep: self.place == "bottleneck" or len(self.features) > 3})


Options = XLSTMSliceOptions | XLSTMPatchOptions


def _require_plan(options: Options, patch: Sequence[int]) -> None:
    stages, space = len(options.features), len(patch)
    plan = (*options.kernels, *options.strides)
    deepest = [size // math.prod(each) for size, each in zip(patch, zip(*options.strides, strict=False), strict=False)]
    require(
        options,
        {
            "features, kernels and strides must have as many entries, at least 3": stages >= 3
            and len(options.kernels) == len(options.strides) == stages,
            f"kernels and strides must have {space} numbers a stage, each at least 1": all(
                len(entry) == space and min(entry) >= 1 for entry in plan
            ),
            "kernels must be odd": all(size % 2 for entry in options.kernels for size in entry),
            "features must be positive and even": all(n > 0 and n % 2 == 0 for n in options.features),
            "depth_weights must be positive, fewer than features": len(options.depth_weights) < stages
            and min(options.depth_weights) > 0,
            "patch must leave more than one voxel in the deepest stage of strides": math.prod(deepest) > 1,
        },
    )
