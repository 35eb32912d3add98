"""U-Net on axial slices: Ronneberger et al. 2015, and the lung tumour network of Primakov et al. 2022."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import Case
from oncoseg.config import fill, plain
from oncoseg.contracts import ModelInfo, Sample, choose_variant
from oncoseg.errors import ConfigError
from oncoseg.inference.accept import accept
from oncoseg.inference.slices import axial_view
from oncoseg.nn.blocks import DoubleConvolution, Norm, Up, UpMode, he_initialise
from oncoseg.nn.losses import dice_and_cross_entropy, foreground
from oncoseg.preprocess.resample import resample, restore_probability
from oncoseg.preprocess.window import window
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import agreed, read_checkpoint

#: Four poolings halve rows and columns; a slice must divide.
MULTIPLE = 16

INFOS = (
    ModelInfo(
        name="unet",
        variant="ronneberger",
        title="U-Net",
        summary="The 2D U-Net, slice by slice, padded so that slices keep their size.",
        parameters=31_030_658,
        trainable_parameters=31_030_658,
        dimension="2d",
        prompts=(),
        doi="10.48550/arXiv.1505.04597",
        licence="Apache-2.0",
        fidelity="paper",
        trainable=True,
        recipe={"optimiser": "sgd", "momentum": 0.99, "batch": 1, "loss": "cross-entropy with border weights"},
    ),
    ModelInfo(
        name="unet",
        variant="primakov",
        title="U-Net (Primakov et al.)",
        summary="The 2D U-Net of the DuneAI lung tumour study; its lung isolation step is left out.",
        parameters=31_031_685,
        trainable_parameters=31_031_685,
        dimension="2d",
        prompts=(),
        doi="10.1038/s41467-022-30841-3",
        licence="Apache-2.0",
        fidelity="reconstructed",
        trainable=True,
        recipe={"slice": 512, "spacing": 1.0, "window": (-1000, 150), "levels": 46, "threshold": 0.99},
    ),
)


@dataclass(frozen=True)
class UNetOptions:
    """Network, preprocessing and sampling of a U-Net.

    Attributes:
        base: filters of the first level; every level below has twice as many, five levels.
        norm: after each 3x3 convolution of encoder and decoder.
        up: how the decoder doubles rows and columns.
        dropout: probability after the fourth and the fifth level.
        head: `softmax` 1x1 convolution to background and tumour; `sigmoid` 3x3 convolution to two
            filters, ReLU and 1x1 convolution to one.
        spacing: in-plane mm per pixel that slices are resampled to; None keeps the scanner's.
        interpolation: of that resampling; masks always take the nearest pixel.
        window: HU range (low, high) that becomes 0 to 1.
        levels: grey levels the window is cut into, which the network then sees as 0 ... levels;
            0 keeps it continuous from 0 to 1.
        patch: rows and columns of a training slice, a multiple of 16; smaller slices are padded.
        tumour_share: share of training slices that hold tumour, where the case has some.
        flip: probability of a left-right flip.
        scale: training slices are enlarged or shrunk by up to this share.
        dice, entropy: weights of Dice-sq and cross-entropy in the loss.
        batch: slices predicted at once.
    """

    base: int = 64
    norm: Norm = "none"
    up: UpMode = "upconv"
    dropout: float = 0.5
    head: Literal["softmax", "sigmoid"] = "softmax"
    spacing: float | None = 1.0
    interpolation: Literal["linear", "nearest"] = "linear"
    window: tuple[float, float] = (-1000.0, 1000.0)
    levels: int = 0
    patch: int = 512
    tumour_share: float = 0.5
    flip: float = 0.5
    scale: float = 0.1
    dice: float = 1.0
    entropy: float = 1.0
    batch: int = 8

    def __post_init__(self) -> None:
        rules = {
            "base must be at least 1": self.base >= 1,
            "batch must be at least 1": self.batch >= 1,
            "levels must not be negative": self.levels >= 0,
            "window must go from a lower to a higher HU": self.window[0] < self.window[1],
            "spacing must be positive, or left away": self.spacing is None or self.spacing > 0,
            f"patch must be a positive multiple of {MULTIPLE}": self.patch > 0 and self.patch % MULTIPLE == 0,
            "dropout and scale must be at least 0 and below 1": 0 <= self.dropout < 1 and 0 <= self.scale < 1,
            "tumour_share and flip must lie in 0 to 1": 0 <= self.tumour_share <= 1 and 0 <= self.flip <= 1,
            "dice and entropy must not be negative, one of them positive": min(self.dice, self.entropy) >= 0
            and self.dice + self.entropy > 0,
        }
        for rule, kept in rules.items():
            if not kept:
                raise ConfigError(f"unet: {rule}; got {plain(self)}.")


#: What the variants change in the defaults of `UNetOptions`.
VARIANTS: dict[str, dict[str, Any]] = {
    "ronneberger": {},
    "primakov": {
        "up": "upsample+conv2",
        "head": "sigmoid",
        "interpolation": "nearest",
        "window": (-1000.0, 150.0),
        "levels": 46,
    },
}


class UNet(nn.Module):
    """Five levels of two 3x3 convolutions; pooling down, up-sampling and skip connections back up."""

    def __init__(self, options: UNetOptions) -> None:
        super().__init__()
        widths = [options.base * 2**level for level in range(5)]
        norm = options.norm
        self.down = nn.ModuleList(
            DoubleConvolution(a, b, norm=norm) for a, b in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(Up(width, mode=options.up) for width in widths[:0:-1])
        self.merge = nn.ModuleList(DoubleConvolution(2 * width, width, norm=norm) for width in widths[-2::-1])
        self.dropout = nn.Dropout(options.dropout)
        self.head: nn.Module = nn.Conv2d(options.base, 2, 1)
        if options.head == "sigmoid":
            two = nn.Conv2d(options.base, 2, 3, padding=1)
            self.head = nn.Sequential(two, nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1))
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, 1, rows, columns), multiples of 16, to logits (batch, 2 or 1, rows, columns)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            x = self.dropout(x) if level >= 3 else x
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


class _Draw(NamedTuple):
    """The random choices behind one training slice."""

    slice_index: int
    scale: float
    flip: bool
    pixel: float
    corner: tuple[float, float]


class UNetModel:
    """A U-Net with its preprocessing: axial slices, in-plane resampling, HU window, padding."""

    def __init__(self, info: ModelInfo, options: UNetOptions) -> None:
        self.info = info
        self.settings = options
        network: nn.Module = UNet(options)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to make this model again, as plain data."""
        chosen: dict[str, Any] = plain(self.settings)
        return chosen

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour, float32 in [0, 1], on the grid of `image`; slices are seen one by one.

        Raises:
            InputError: for a prompt (it takes none), or voxels that are not finite.
        """
        accept(self.info, image, prompts)
        view = axial_view(image)
        prepared = self._resampled(view.volume, 1.0)
        slices = self._grey(prepared.voxels)
        with _evaluating(self.network), torch.inference_mode():
            batches = [
                self._predicted(slices[k : k + self.settings.batch]) for k in range(0, len(slices), self.settings.batch)
            ]
        probability = restore_probability(prepared.with_voxels(np.concatenate(batches)), view.volume)
        return image.with_voxels(view.restore(probability.voxels))

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Training slices of one case, as many as it has slices.

        Yields:
            `image` float32 and `tumour` float32 in {0, 1}, both (1, patch, patch).
        """
        image, mask = axial_view(case.image).volume, axial_view(case.mask()).volume
        with_tumour = np.flatnonzero(mask.voxels.any(axis=(1, 2)))
        for _ in range(image.shape[0]):
            yield self._sample(image, mask, self._draw(image.shape[0], with_tumour, rng))

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One loss, Dice-sq + cross-entropy, for the whole network."""
        logits = self.network(batch["image"].contiguous(memory_format=torch.channels_last))
        chosen = self.settings
        yield "network", dice_and_cross_entropy(logits, batch["tumour"], dice=chosen.dice, entropy=chosen.entropy)

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """One group, `network`, with every parameter."""
        return {"network": self.network.parameters()}

    def _resampled(self, volume: Volume, scale: float) -> Volume:
        """The volume at the in-plane spacing of the options, enlarged by `scale`; slices stay where they are."""
        thickness, *in_plane = volume.spacing
        rows, columns = (((self.settings.spacing or s) / scale) for s in in_plane)
        if volume.voxels.dtype == bool or self.settings.interpolation == "nearest":
            return resample(volume, spacing=(thickness, rows, columns), order=0)
        return resample(volume, spacing=(thickness, rows, columns), order=1, antialias=True)

    def _grey(self, voxels: NDArray[Any]) -> NDArray[np.float32]:
        grey = window(voxels, *self.settings.window)
        return np.floor(grey * self.settings.levels) if self.settings.levels else grey

    def _predicted(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = slices.shape[1:]
        parameter = next(self.network.parameters())
        x = F.pad(torch.from_numpy(slices)[:, None], (0, -columns % MULTIPLE, 0, -rows % MULTIPLE))
        logits = self.network(x.to(parameter.device, memory_format=torch.channels_last))
        probability: Tensor = foreground(logits)[:, 0, :rows, :columns]
        return np.asarray(probability.cpu(), dtype=np.float32)

    def _draw(self, slices: int, with_tumour: NDArray[np.intp], rng: np.random.Generator) -> _Draw:
        chosen = self.settings
        wanted = rng.random() < chosen.tumour_share and len(with_tumour) > 0
        index = int(rng.choice(with_tumour)) if wanted else int(rng.integers(slices))
        scale = rng.uniform(1 - chosen.scale, 1 + chosen.scale)
        flip, pixel, row, column = rng.random(4).tolist()
        return _Draw(index, float(scale), flip < chosen.flip, pixel, (row, column))

    def _sample(self, image: Volume, mask: Volume, draw: _Draw) -> Sample:
        start, stop = (draw.slice_index, 0, 0), (draw.slice_index + 1, *image.shape[1:])
        grey = self._grey(self._resampled(image.crop(start, stop), draw.scale).voxels[0])
        tumour = self._resampled(mask.crop(start, stop), draw.scale).voxels[0]
        place = _patch_corner(tumour, self.settings.patch, draw)
        turn = slice(None, None, -1 if draw.flip else 1)
        patches = [_cut(plane.astype(np.float32), place, self.settings.patch)[:, turn] for plane in (grey, tumour)]
        return dict(zip(("image", "tumour"), (np.ascontiguousarray(p[None]) for p in patches), strict=True))


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> UNetModel:
    """Make a U-Net.

    Args:
        variant: `ronneberger` (default) or `primakov`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of
            tensors with this network's names. None gives random weights from torch's generator.
        **options: fields of `UNetOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    checkpoint = read_checkpoint(weights) if weights else None
    if checkpoint:
        variant, options = agreed(checkpoint.about, INFOS[0], variant, options)
    info = choose_variant(INFOS, variant)
    model = UNetModel(info, fill(UNetOptions, {**VARIANTS[info.variant], **options}, f"model {info.full_name}"))
    if checkpoint:
        load_strictly(model.network, checkpoint.state, str(weights))
    return model


def _patch_corner(tumour: NDArray[np.bool_], patch: int, draw: _Draw) -> tuple[int, int]:
    """First row and column of a patch: anywhere in the slice, but round one tumour pixel where there is some.

    Negative where the slice is smaller than the patch, which then lies in its middle.
    """
    inside = np.argwhere(tumour)
    target = inside[int(draw.pixel * len(inside))] if len(inside) else None
    place = []
    for axis, (size, share) in enumerate(zip(tumour.shape, draw.corner, strict=True)):
        low, high = 0, size - patch
        if target is not None:
            low, high = max(low, int(target[axis]) - patch + 1), min(high, int(target[axis]))
        place.append(low + int(share * (high - low + 1)) if size > patch else (size - patch) // 2)
    return place[0], place[1]


def _cut(plane: NDArray[np.float32], place: tuple[int, int], patch: int) -> NDArray[np.float32]:
    """A patch of a slice; what lies outside the slice is 0, the low end of the window."""
    result = np.zeros((patch, patch), np.float32)
    rows, columns = (slice(max(0, p), max(0, p) + patch) for p in place)
    part = plane[rows, columns]
    row, column = (max(0, -p) for p in place)
    result[row : row + part.shape[0], column : column + part.shape[1]] = part
    return result


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards in the mode it was in."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
