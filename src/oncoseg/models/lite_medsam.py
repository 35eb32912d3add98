"""LiteMedSAM: MedSAM with a TinyViT encoder at 256 px, prompted with a box on each slice.

Ma et al., Segment anything in medical images, Nat Commun 15:654 (2024); LiteMedSAM is the light
version of the same authors' repository (bowang-lab/MedSAM).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.errors import ConfigError
from oncoseg.inference.accept import boxes
from oncoseg.inference.rectangles import Crop, Rectangle, Taper, crop_round, rectangles
from oncoseg.inference.slices import axial_view
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor

    from oncoseg.nn.sam import BoxPromptedSam

_LOG = logging.getLogger(__name__)

INFOS = (
    ModelInfo(
        name="lite_medsam",
        variant="",
        title="LiteMedSAM",
        summary="MedSAM with a small encoder: a box on each slice, or one 3D box, gives the tumour's outline.",
        parameters=9_791_300,
        trainable_parameters=9_791_300,
        dimension="2d",
        prompts=("box",),
        doi="10.1038/s41467-024-44824-z",
        licence="Apache-2.0; the weights file names no licence of its own",
        fidelity="verified",
        weights="lite-medsam",
        reference_use="a box on every slice of the tumour, or one 3D box",
    ),
)

#: Side of the network's input in pixels.
SIZE = 256
#: HU that become 0 and 1.
WINDOWS = {"lung": (-910.0, 590.0), "soft": (-160.0, 240.0), "mediastinum": (-75.0, 175.0)}
#: A box longer than this share of the crop widens the crop: the network needs to see what lies round it.
LARGEST_SHARE = 0.8


@dataclass(frozen=True)
class Options:
    """How slices and boxes are shown to the network.

    Attributes:
        window: `lung` (width 1500, level -160), `soft` (400, 40), `mediastinum` (250, 50), or
            `percentile`: 0.5 to 99.5 % of the non-zero voxels, for images that are not CT.
        crop: `prompt` looks at a square round the box, `slice` at the whole slice as the authors do.
        crop_px: side of that square in pixels; small enough to magnify the tumour.
        crop_mm: side in mm instead, for images of very different pixel size.
        taper: `none` gives every slice of a 3D box the same rectangle; `ellipsoid` the
            cross-section of the ellipsoid in it.
        margin_px: pixels of the network's 256 that boxes are widened by on each side. The weights were
            trained with 0 to 5; tight boxes on every slice gain from 2.5, one 3D box is wide enough.
        batch: slices at a time; one is fastest on a CPU.
        random_weights: an untrained network, for tests without a network connection.
    """

    window: Literal["lung", "soft", "mediastinum", "percentile"] = "lung"
    crop: Literal["prompt", "slice"] = "prompt"
    crop_px: int = 192
    crop_mm: float | None = None
    taper: Taper = "none"
    margin_px: float = 0.0
    batch: int = 1
    random_weights: bool = False

    def __post_init__(self) -> None:
        for key in ("crop_px", "crop_mm", "batch"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise ConfigError(f"model lite_medsam: '{key}' is {value}; it must be positive.")


@dataclass(frozen=True)
class View:
    """One rectangle and the part of its slice that is shown to the network."""

    rectangle: Rectangle
    crop: Crop

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the crop."""
        return self.crop.bottom - self.crop.top, self.crop.right - self.crop.left

    @property
    def region(self) -> tuple[int, slice, slice]:
        """The crop as the index of a volume."""
        crop = self.crop
        return self.rectangle.slice, slice(crop.top, crop.bottom), slice(crop.left, crop.right)

    def corners(self, margin_px: float = 0.0) -> list[float]:
        """The box in the network's frame (column, row, column, row), moved outwards by `margin_px` pixels of it.

        The network was trained on boxes from the first to the last pixel inside, counted at 256 px,
        so the half-open end moves back by one pixel of that frame.
        """
        scale, (_, top, left, bottom, right) = SIZE / max(self.shape), self.rectangle
        first = [scale * (left - self.crop.left), scale * (top - self.crop.top)]
        last = [scale * (right - self.crop.left) - 1, scale * (bottom - self.crop.top) - 1]
        return [*(edge - margin_px for edge in first), *(edge + margin_px for edge in last)]


class LiteMedSam:
    """Outlines what each box points at, slice by slice."""

    info = INFOS[0]

    def __init__(self, network: BoxPromptedSam, options: Options) -> None:
        self.network = network
        self.options = options

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour on the grid of `image`; zero on slices without a box and outside the crops.

        Slices are axial whatever the order of the stored axes. Where boxes overlap, the larger probability counts.

        Raises:
            InputError: without a box, with a click (the weights know boxes only and answer clicks
                with nothing), or with a box that leaves the image.
        """
        given = boxes(self.info, image, prompts)
        axial = axial_view(image)
        low, high = self._window(image)
        views = [
            View(rectangle, self._crop(rectangle, axial.volume))
            for box in given
            for rectangle in rectangles(axial.box(box), self.options.taper)
        ]
        probability = np.zeros(axial.volume.shape, np.float32)
        for first in range(0, len(views), self.options.batch):
            batch = views[first : first + self.options.batch]
            shown = [np.clip(axial.volume.voxels[v.region].astype(np.float32), low, high) for v in batch]
            for view, found in zip(batch, self._segment(shown, batch), strict=True):
                np.maximum(probability[view.region], found, out=probability[view.region])
        return image.with_voxels(axial.restore(probability))

    def _window(self, image: Volume) -> tuple[float, float]:
        if self.options.window != "percentile":
            return WINDOWS[self.options.window]
        something = image.voxels[image.voxels != 0]
        if not something.size:
            return 0.0, 1.0
        low, high = np.percentile(something, (0.5, 99.5))
        return float(low), float(high)

    def _crop(self, rectangle: Rectangle, image: Volume) -> Crop:
        _, rows, columns = image.shape
        if self.options.crop == "slice":
            return Crop(0, 0, rows, columns)
        wanted = float(self.options.crop_px)
        if self.options.crop_mm is not None:
            wanted = self.options.crop_mm / min(image.spacing[1:])
        return crop_round(rectangle, rows, columns, math.ceil(max(wanted, rectangle.longest / LARGEST_SHARE)))

    def _segment(self, shown: list[NDArray[np.float32]], views: list[View]) -> list[NDArray[np.float32]]:
        import torch

        device = next(self.network.parameters()).device
        with torch.inference_mode():
            images = torch.stack([to_input(torch.from_numpy(pixels)) for pixels in shown]).to(device)
            corners = torch.tensor(
                [view.corners(self.options.margin_px) for view in views], dtype=torch.float32, device=device
            )
            logits = self.network(images.contiguous(memory_format=torch.channels_last), corners).cpu()
            return [from_logits(one, view.shape).numpy() for one, view in zip(logits, views, strict=True)]


def to_input(pixels: Tensor) -> Tensor:
    """A windowed slice (rows, columns) as the network's input (3, 256, 256) in [0, 1].

    The longest side becomes 256, values are stretched to [0, 1], the rest is zeros below or to the right.
    """
    from torch.nn import functional

    rows, columns = _scaled(pixels.shape)
    resized = functional.interpolate(pixels[None, None], size=(rows, columns), mode="bilinear")[0, 0]
    low, high = resized.min(), resized.max()
    stretched = (resized - low) / (high - low).clamp(min=1e-8)
    return functional.pad(stretched, (0, SIZE - columns, 0, SIZE - rows)).expand(3, SIZE, SIZE)


def from_logits(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    """The network's logits (256, 256) as probabilities on the slice (rows, columns)."""
    from torch.nn import functional

    rows, columns = _scaled(shape)
    return functional.interpolate(logits[None, None, :rows, :columns], size=shape, mode="bilinear")[0, 0].sigmoid()


def _scaled(shape: Sequence[int]) -> tuple[int, int]:
    rows, columns = shape
    longest = max(rows, columns)
    return max(1, round(rows * SIZE / longest)), max(1, round(columns * SIZE / longest))


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> LiteMedSam:
    """Make the model with its official weights, fetched on the first use.

    Args:
        variant: there is none.
        weights: an official `.pth` or a safetensors file; None for the catalogue's.
        **options: see `Options`.

    Raises:
        InputError: for a variant, an option, or a weights file that does not fit.
        FetchError: when the weights are needed and cannot be had.
    """
    info = choose_variant(INFOS, variant)
    chosen = fill(Options, options, f"model {info.name}")
    return LiteMedSam(_network(weights, chosen.random_weights), chosen)


def _network(weights: Path | None, random_weights: bool) -> BoxPromptedSam:
    import torch

    from oncoseg.nn.sam import BoxPromptedSam
    from oncoseg.nn.tiny_vit import TinyViT
    from oncoseg.weights import catalogue, keymaps, loading

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BoxPromptedSam(TinyViT("lite_medsam"), image_size=SIZE, patch_size=4)
    if not random_weights:
        path = weights or catalogue.locate("lite-medsam", _LOG.info)
        state = loading.read_tensors(path).state
        if keymaps.is_official_sam(state):
            state = keymaps.rename(state, keymaps.SAM_PROMPT_AND_MASK)
        loading.load_strictly(network, state, str(path))
    # Convolutions of this encoder are 15 % faster on a CPU with channels last.
    network.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()
