"""Options of GTV-SAMGAN: its window, its critic, its weights of losses; the published values of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from oncoseg.preprocess.fixed_window import Window
from oncoseg.promptable.iterating import IteratedOptions
from oncoseg.promptable.options import WindowName, require

#: The windows of the paper, read as (column, row, column, row) on slices of 512 x 512 pixels.
PUBLISHED = {"local": (194, 161, 450, 417), "nsclc-radiomics": (129, 94, 471, 436)}
Crop = Literal["training", "lungs", "slice", "local", "nsclc-radiomics"]


@dataclass(frozen=True)
class Options(IteratedOptions):
    """Those of SAM-Med2D, and what the paper adds.

    Attributes:
        crop: the window (GTV-MFIT). `training`: found round the tumours of the training cases, and kept in the
            checkpoint; until a training has found it, whole slices are shown. `lungs`: round the lungs of each image.
            `local`, `nsclc-radiomics`: the published ones. Four numbers: your own. `slice`: none, whole slices.
        crop_order: what four numbers are: (column, row, column, row), or rows first.
        crop_smallest: least side of a window that is found, in pixels.
        crop_margin: pixels added round the tumours or lungs.
        crop_on: rows and columns of the slices that the window was found on.
        gan: the discriminator takes part in training.
        gan_in_iterations: its judgement is part of the loss of the corrections too, not only of the first answer.
        last_leaky: a LeakyReLU behind the discriminator's last layer, as the text has it.
        adversarial: weight of the discriminator's judgement in the generator's loss.
    """

    FREE: ClassVar[frozenset[str]] = IteratedOptions.FREE - {"crop", "crop_px", "crop_mm", "window"}

    window: WindowName | tuple[float, float] = (-1000.0, 1000.0)
    crop: Crop | tuple[int, int, int, int] = "training"  # type: ignore[assignment]
    mask_num: int = 1
    crop_order: Literal["xyxy", "yxyx"] = "xyxy"
    crop_smallest: int = 256
    crop_margin: int = 0
    crop_on: tuple[int, int] | None = None
    gan: bool = True
    gan_in_iterations: bool = True
    last_leaky: bool = True
    adversarial: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        fixed = self.fixed
        require(
            self,
            {
                "crop must go from lower to higher pixels": fixed is None
                or (0 <= fixed.top < fixed.bottom and 0 <= fixed.left < fixed.right),
                "crop_smallest must be at least 1": self.crop_smallest >= 1,
                "crop_margin must not be negative": self.crop_margin >= 0,
                "adversarial must not be negative": self.adversarial >= 0,
            },
        )

    @property
    def fixed(self) -> Window | None:
        """The window of every slice; None when it depends on the image or is not known yet."""
        if isinstance(self.crop, tuple):
            first, second, third, fourth = self.crop
            return Window(first, second, third, fourth) if self.crop_order == "yxyx" else _turned(self.crop)
        return _turned(PUBLISHED[self.crop]) if self.crop in PUBLISHED else None

    def as_option(self, window: Window) -> tuple[int, int, int, int]:
        """A window as the option `crop` is written."""
        top, left, bottom, right = window
        return (top, left, bottom, right) if self.crop_order == "yxyx" else (left, top, right, bottom)


def _turned(corners: tuple[int, int, int, int]) -> Window:
    first, second, third, fourth = corners
    return Window(second, first, fourth, third)
