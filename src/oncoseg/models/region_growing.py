"""A classical baseline: the tissue that is connected to the centre of the box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.config import fill
from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.errors import ConfigError
from oncoseg.inference.accept import boxes, take_nothing
from oncoseg.inference.shapes import inscribed
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFOS = (
    ModelInfo(
        name="region_growing",
        variant="",
        title="Region growing in the box",
        summary="Grows from the centre of the box over tissue of the same density; no learning.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=("box",),
        doi=None,
        licence="Apache-2.0",
        fidelity="baseline",
        reference_use="the box",
    ),
)

#: HU beyond which lung and bone say nothing more about where a tumour ends.
TISSUE_HU = (-1000.0, 300.0)
#: Two classes of voxels whose means are nearer than this are one tissue, not tissue and lung.
SEPARATE_HU = 150.0
#: The tissue's own spread is never taken to be less than this: CT noise.
NOISE_HU = 20.0


@dataclass(frozen=True)
class Options:
    """Choices of the method.

    Attributes:
        smoothing_mm: standard deviation of the Gaussian that takes off noise before thresholding.
        spread: voxels within this many standard deviations of the centre's tissue belong to it.
    """

    smoothing_mm: float = 0.7
    spread: float = 2.5

    def __post_init__(self) -> None:
        if self.smoothing_mm < 0 or self.spread <= 0:
            raise ConfigError("model region_growing: 'smoothing_mm' must not be negative and 'spread' positive.")


class RegionGrowing:
    """Thresholds the box, keeps what hangs together with its centre, and smooths it.

    1. Otsu's threshold (1979) separates tissue from lung where the box holds both.
    2. The tissue in the central third of the box gives the density to look for: voxels within
       `spread` standard deviations, without a lower end where lung is the neighbour.
    3. The 6-connected component with most voxels in the central third stays, is opened by one voxel to cut
       off vessels, and its holes are filled.
    """

    info = INFOS[0]

    def __init__(self, options: Options) -> None:
        self.chosen = options

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """One where the grown regions lie, zero elsewhere and outside the boxes.

        Raises:
            InputError: without a box, with another prompt, or with a box that leaves the image.
        """
        probability = np.zeros(image.shape, np.float32)
        for box in boxes(self.info, image, prompts):
            probability[box.region][grow(self._smoothed(image, box), spread=self.chosen.spread)] = 1.0
        return image.with_voxels(probability)

    def _smoothed(self, image: Volume, box: Box) -> NDArray[np.float32]:
        sigma = [self.chosen.smoothing_mm / size for size in image.spacing]
        # What lies just outside the box takes part in the smoothing of its edge.
        margin = [int(np.ceil(3 * s)) for s in sigma]
        start = [max(0, a - m) for a, m in zip(box.start, margin, strict=True)]
        stop = [min(n, b + m) for b, m, n in zip(box.stop, margin, image.shape, strict=True)]
        around = image.crop(start, stop).voxels.astype(np.float32).clip(*TISSUE_HU)
        smooth = ndimage.gaussian_filter(around, sigma, truncate=3)
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(box.start, box.stop, start, strict=True))
        result: NDArray[np.float32] = smooth[inside]
        return result


def grow(density: NDArray[np.float32], *, spread: float) -> NDArray[np.bool_]:
    """The region at the centre of a box, from its smoothed HU; empty when no tissue is there."""
    centre = _central_third(density.shape)
    low = otsu(density)
    below, above = density[density <= low], density[density > low]
    if not below.size or above.mean() - below.mean() < SEPARATE_HU:
        low = -np.inf
    seeds = density[centre & (density > low)]
    if not seeds.size:
        return np.zeros(density.shape, bool)
    reach = spread * max(float(seeds.std()), NOISE_HU)
    middle = float(np.median(seeds))
    low = low if np.isfinite(low) else middle - reach
    found = (density > low) & (density <= middle + reach)
    return smooth_outline(component_at(found, centre))


def otsu(values: NDArray[np.float32], bins: int = 128) -> float:
    """The threshold that best separates values into two classes (Otsu 1979); some value lies on either side.

    A constant array has no two classes; its value minus one is returned.
    """
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-3:
        return low - 1.0
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sum_below = np.cumsum(counts * centres)[:-1]
    sum_above = (counts * centres).sum() - sum_below
    between = below * above * (sum_below / below - sum_above / above) ** 2
    return float(edges[1 + int(np.argmax(between))])


def component_at(mask: NDArray[np.bool_], place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 6-connected component of `mask` with most voxels in `place`; empty when none has any."""
    components = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(components[place], minlength=1)
    sizes[0] = 0
    chosen: NDArray[np.bool_] = components == sizes.argmax() if sizes.any() else np.zeros(mask.shape, bool)
    return chosen


def smooth_outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region without threads of one voxel and without holes on its slices; never emptied."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    opened = ndimage.binary_opening(np.pad(region, 1, mode="edge"), cross)[1:-1, 1:-1, 1:-1]
    kept = component_at(opened, opened) if opened.any() else region
    return np.stack([ndimage.binary_fill_holes(one) for one in kept])


def _central_third(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The ellipsoid in the middle third of a box; at least its central voxel."""
    centre = np.zeros(shape, bool)
    third = [(size - max(1, round(size / 3))) // 2 for size in shape]
    part = centre[tuple(slice(t, size - t) for t, size in zip(third, shape, strict=True))]
    part[inscribed(part.shape)] = True
    return centre


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> RegionGrowing:
    """Make the model.

    Args:
        variant: there is none.
        weights: there are none.
        **options: see `Options`.

    Raises:
        InputError: for a variant, weights or a wrong option.
    """
    info = choose_variant(INFOS, variant)
    take_nothing(info, weights, {})
    return RegionGrowing(fill(Options, options, f"model {info.name}"))
