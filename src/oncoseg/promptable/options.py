"""What every network that is prompted on slices is given, and how it is taught; a model's options add its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from oncoseg.config import plain
from oncoseg.errors import ConfigError
from oncoseg.inference.rectangles import Taper
from oncoseg.promptable.computing import Compute

#: HU that become 0 and 1: widths and levels 1500 and -160, 400 and 40, 250 and 50.
WINDOWS = {"lung": (-910.0, 590.0), "soft": (-160.0, 240.0), "mediastinum": (-75.0, 175.0)}
WindowName = Literal["lung", "soft", "mediastinum", "percentile"]


@dataclass(frozen=True)
class PromptedOptions:
    """How slices and prompts are shown to a network, and which prompts it is taught with.

    Attributes:
        window: `lung` (width 1500, level -160), `soft` (400, 40), `mediastinum` (250, 50), `percentile`: 0.5 to
            99.5 % of the non-zero voxels, for images that are not CT; or the HU (low, high) that become 0 and 1.
        crop: `prompt` looks at a square round the prompts of an object, `slice` at the whole slice.
        crop_px: side of that square in pixels; small enough to magnify the tumour.
        crop_mm: side in mm instead, for images of very different pixel size.
        taper: `none` gives every slice of a 3D box the same rectangle; `ellipsoid` the cross-section of the
            ellipsoid in it.
        margin_px: pixels of the network's input that boxes are widened by on each side.
        masks: `single` takes the network's one mask, `best` of its three the one it expects most of, `auto` the best
            of three for one click alone and the single one otherwise, as SAM does.
        feed: a session shows the network its earlier mask beside the new click.
        spread: `prompted` looks at slices with a prompt; `propagate` goes on from them slice by slice, each prompted
            with the box round the mask before it, until nothing is found.
        reach_mm: furthest that `propagate` goes from a prompted slice.
        batch: slices at a time.
        compute: library and number format that images are embedded with, see `oncoseg.promptable.computing`.
        trained: which part learns: `all`, or the `decoder` behind a frozen image encoder, whose embeddings are then
            computed once.
        taught_with: prompts of training slices: `box` round the tumour on the slice, `lesion box` round the whole
            lesion as a 3D box gives it, `click` on a random pixel, `box or click` one or the other.
        jitter: how boxes are displaced in training: every side `outward` or to both `sides` on its own, or the whole
            box (`translate`).
        jitter_px: largest displacement, in pixels of the network's input.
    """

    #: Options that say how to predict; weights do not depend on them, and a checkpoint's may be changed.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {
            *("window", "crop", "crop_px", "crop_mm", "taper", "margin_px", "masks", "feed", "spread", "reach_mm"),
            *("batch", "compute"),
        }
    )

    window: WindowName | tuple[float, float] = "lung"
    crop: Literal["prompt", "slice"] = "prompt"
    crop_px: int = 192
    crop_mm: float | None = None
    taper: Taper = "none"
    margin_px: float = 0.0
    masks: Literal["single", "best", "auto"] = "single"
    feed: bool = True
    spread: Literal["prompted", "propagate"] = "prompted"
    reach_mm: float = 60.0
    batch: int = 1
    compute: Compute = "float32"
    trained: Literal["all", "decoder"] = "all"
    taught_with: Literal["box", "lesion box", "click", "box or click"] = "box"
    jitter: Literal["outward", "sides", "translate"] = "outward"
    jitter_px: float = 5.0
    random_weights: bool = False

    def __post_init__(self) -> None:
        low_to_high = isinstance(self.window, str) or self.window[0] < self.window[1]
        require(
            self,
            {
                "window must go from a lower to a higher value": low_to_high,
                "crop_px must be positive": self.crop_px > 0,
                "crop_mm must be positive": self.crop_mm is None or self.crop_mm > 0,
                "batch must be positive": self.batch > 0,
                "reach_mm must not be negative": self.reach_mm >= 0,
                "jitter_px must not be negative": self.jitter_px >= 0,
            },
        )


def require(options: Any, rules: Mapping[str, bool]) -> None:
    """Raise for the first rule that is not kept.

    Raises:
        ConfigError: with the rule and the values it names.
    """
    for rule, kept in rules.items():
        if not kept:
            held = ", ".join(f"'{n}' is {v}" for n, v in plain(options).items() if n in rule.split())
            raise ConfigError(f"{held}; {rule}.")
