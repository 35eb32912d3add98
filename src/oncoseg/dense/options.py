"""What every prompt-free network is given and how it is trained; a model's options add its network's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from oncoseg.case import TUMOUR
from oncoseg.config import plain
from oncoseg.dense.computing import Compute
from oncoseg.errors import ConfigError, suggest
from oncoseg.nn.losses import LOSSES
from oncoseg.preprocess.augment import PRESETS

Labels = Literal["tumour", "lungs+tumour"]
Given = Literal["nothing", "box channel", "box crop"]

#: Masks of a case by output channel 1, 2, ...; channel 0 is the background. Later ones overrule earlier ones.
CLASSES: dict[Labels, tuple[str, ...]] = {
    "tumour": (TUMOUR,),
    "lungs+tumour": ("lung_right", "lung_left", TUMOUR),
}


@dataclass(frozen=True)
class DenseOptions:
    """What 2D and 3D have in common.

    Attributes:
        labels: what is told apart: `tumour` alone, or right lung, left lung and tumour (classes 1, 2, 3).
        head: `softmax` over background and classes, or one `sigmoid` channel for the tumour.
        channels: of the network's input; the grey image is repeated.
        window: HU range (low, high) that becomes 0 to 1; for MR give the range of intensities.
        levels: grey levels the window is cut into, which the network then sees as 0 ... levels;
            0 keeps it continuous from 0 to 1.
        normalise: afterwards: nothing; `zscore` over the volume; `zscore_nonzero` over what lies above the low end
            of the window.
        interpolation: of the image when it is resampled; masks take the nearest voxel.
        losses: weight by name, see `oncoseg.nn.losses.LOSSES`.
        depth_weights: weight of each output of a network with deep supervision, finest first.
        tumour_share: share of training samples that hold tumour, where the case has some.
        augment: preset, see `oncoseg.preprocess.augment`.
        batch: slices or windows predicted at once.
        mirror: average the prediction over all flips of the in-plane axes (2D) or all axes (3D).
        compute: number format and library of predictions, see `oncoseg.dense.computing`.
        given: what it is told beside the image: `nothing`; with `box channel` the boxes of a prompt as one more input
            channel of 0 and 1; with `box crop` it sees and predicts a region round each box alone, which it resizes
            or pads as it does whole images. Slices (in 3D: beyond `box_margin_mm`) without a box stay empty.
        box_per: one box for each `lesion` or for each `slice` of it, in training and validation.
        box_jitter_mm: largest displacement of each side of a training box.
        box_margin_mm: what `box crop` shows round a box: rows and columns in 2D, slices too in 3D.
    """

    #: Options that say how to predict; weights do not depend on them, and a checkpoint's may be changed.
    FREE: ClassVar[frozenset[str]] = frozenset({"batch", "mirror", "compute", "overlap", "weighting", "within"})

    labels: Labels = "tumour"
    head: Literal["softmax", "sigmoid"] = "softmax"
    channels: int = 1
    window: tuple[float, float] = (-1000.0, 1000.0)
    levels: int = 0
    normalise: Literal["none", "zscore", "zscore_nonzero"] = "none"
    interpolation: Literal["linear", "cubic", "nearest"] = "linear"
    losses: Mapping[str, float] = field(default_factory=lambda: {"dice_squared": 1.0, "cross_entropy": 1.0})
    depth_weights: tuple[float, ...] = (1.0,)
    tumour_share: float = 0.5
    augment: str = "flips"
    batch: int = 8
    mirror: bool = False
    compute: Compute = "float32"
    given: Given = "nothing"
    box_per: Literal["lesion", "slice"] = "lesion"
    box_jitter_mm: float = 0.0
    box_margin_mm: float = 20.0

    def __post_init__(self) -> None:
        for name in self.losses:
            if name not in LOSSES:
                raise ConfigError(f"losses: there is no loss '{name}'. {suggest(name, LOSSES)}")
        if self.augment not in PRESETS:
            raise ConfigError(f"augment: there is no preset '{self.augment}'. {suggest(self.augment, PRESETS)}")
        require(
            self,
            {
                "a sigmoid head knows the tumour alone; take head = softmax for other labels": self.head == "softmax"
                or self.labels == "tumour",
                "channels and batch must be at least 1": min(self.channels, self.batch) >= 1,
                "levels must not be negative": self.levels >= 0,
                "window must go from a lower to a higher value": self.window[0] < self.window[1],
                "tumour_share must lie in 0 to 1": 0 <= self.tumour_share <= 1,
                "box_jitter_mm and box_margin_mm must not be negative": min(self.box_jitter_mm, self.box_margin_mm)
                >= 0,
                "given = box crop shows the tumour alone; take labels = tumour": self.given != "box crop"
                or self.labels == "tumour",
                "losses must not be negative, one of them positive": min(self.losses.values(), default=0) >= 0
                and sum(self.losses.values()) > 0,
                "depth_weights must not be negative, the first positive": min(self.depth_weights, default=-1) >= 0
                and self.depth_weights[0] > 0,
            },
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Masks of a case by output channel 1, 2, ..."""
        return CLASSES[self.labels]

    @property
    def inputs(self) -> int:
        """Channels the network takes: the grey image's, and one for boxes where they are given so."""
        return self.channels + (self.given == "box channel")

    @property
    def outputs(self) -> int:
        """Channels the network puts out: 1 with a sigmoid, else background and classes."""
        return 1 if self.head == "sigmoid" else 1 + len(self.classes)


@dataclass(frozen=True)
class SliceOptions(DenseOptions):
    """A network that sees axial slices.

    Attributes:
        spacing: in-plane mm per pixel that slices are resampled to; None keeps the scanner's. Not used by `resize`.
        through: mm between slices they are resampled to; None keeps the scanner's.
        fit: what is done with slices of any size. `pad`: training takes random patches, prediction the whole slice,
            padded to what the network divides by. `crop`: both take the middle, cut or padded to `patch`; outside
            of it nothing is found. `resize`: both take the whole slice at `patch` rows and columns.
        patch: rows and columns of a training slice.
        slices: which slices are trained on: `all`, or those that hold a label (with lungs: the lung's).
    """

    spacing: float | None = 1.0
    through: float | None = None
    fit: Literal["pad", "crop", "resize"] = "pad"
    patch: int = 512
    slices: Literal["all", "labelled"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "spacing must be positive, or left away": self.spacing is None or self.spacing > 0,
                "through must be positive, or left away": self.through is None or self.through > 0,
                "patch must be at least 1": self.patch >= 1,
            },
        )


@dataclass(frozen=True)
class PatchOptions(DenseOptions):
    """A network that sees three-dimensional patches.

    Attributes:
        spacing: mm per voxel (slice, row, column) that volumes are resampled to; None keeps the scanner's.
        patch: slices, rows and columns of a patch, in training and as the sliding window.
        overlap: share of the window by which neighbours overlap at least.
        weighting: of a window's voxels where windows overlap.
        within: windows that lie wholly outside are skipped: `all` skips none, `body` those in the air round the
            patient, `lungs` those outside the box round both lungs. Where no body or lungs are found, or the lungs
            are implausible, none is skipped, and that is told. For CT.
    """

    spacing: tuple[float, float, float] | None = (1.5, 1.5, 1.5)
    patch: tuple[int, int, int] = (128, 128, 128)
    overlap: float = 0.5
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    within: Literal["all", "body", "lungs"] = "all"
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "spacing must be positive, or left away": self.spacing is None or min(self.spacing) > 0,
                "patch must be at least 1 everywhere": min(self.patch) >= 1,
                "overlap must be at least 0 and below 1": 0 <= self.overlap < 1,
                "given = box crop says where to look; take within = all": self.given != "box crop"
                or self.within == "all",
            },
        )


def require(options: DenseOptions, rules: Mapping[str, bool]) -> None:
    """Raise for the first rule that is not kept.

    Args:
        options: whose values are shown, as far as the rule names them.
        rules: sentence -> whether it holds.

    Raises:
        ConfigError: with the rule and the values.
    """
    for rule, kept in rules.items():
        if not kept:
            held = ", ".join(f"{name} = {value}" for name, value in plain(options).items() if name in rule)
            raise ConfigError(f"{rule}; got {held}.")
