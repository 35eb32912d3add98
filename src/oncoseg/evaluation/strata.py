"""What kind of lesion it is: size, place in the lungs, contrast, how far readers agree; unknown is said, not guessed.

Classes are fixed here so that tables of different runs have the same rows; a class without lesions keeps its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oncoseg.evaluation.islands import extent
from oncoseg.evaluation.surfaces import near_points
from oncoseg.volume import Volume

Mask = NDArray[np.bool_]
Location = Literal["mediastinal", "vascular", "pleural", "inside lung", "outside lungs", "unknown"]
LOCATIONS: tuple[Location, ...] = get_args(Location)

#: How near a lesion is to the pleura to be called pleural, and to a vessel mask to be called vascular, in mm.
PLEURA_MM, VESSEL_MM = 5.0, 2.0
#: Thickness of the shell that a lesion is compared with, in mm.
SHELL_MM = 5.0

UNKNOWN = "unknown"
#: Upper ends of the classes of volume in mL: balls of 8, 20, 30 and 50 mm (Fleischner 2017's 8 mm; T1b, T1c, T2).
VOLUMES_ML = (0.268, 4.19, 14.1, 65.4)
VOLUME_CLASSES = ("below 0.27 mL (8 mm)", "0.27–4.2 mL", "4.2–14 mL", "14–65 mL", "above 65 mL (50 mm)")
#: Upper ends of the classes of contrast, in the unit of the image.
CONTRASTS = (100.0, 300.0, 600.0)
CONTRAST_CLASSES = ("below 100 HU", "100–300 HU", "300–600 HU", "above 600 HU", UNKNOWN)
#: Upper ends of the classes of agreement.
AGREEMENTS = (0.6, 0.75, 0.85)
AGREEMENT_CLASSES = ("Dice below 0.60", "0.60–0.75", "0.75–0.85", "above 0.85", UNKNOWN)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known about a case besides the reference, all on its grid.

    Attributes:
        image: grey values; None leaves contrast unknown.
        lungs: both lungs, left and right; None leaves the place unknown.
        vessels: bool; None where no vessels were marked.
        readers: masks of single readers; empty where there are none.
    """

    image: Volume | None = None
    lungs: tuple[Volume, Volume] | None = None
    vessels: Volume | None = None
    readers: tuple[Volume, ...] = ()


def surroundings(image: Volume, masks: Mapping[str, Volume], *, readers: Sequence[Volume] = ()) -> Surroundings:
    """From the masks of a case: `lung_left` and `lung_right`, `vessels`."""
    lungs = (masks["lung_left"], masks["lung_right"]) if {"lung_left", "lung_right"} <= set(masks) else None
    return Surroundings(image, lungs, masks.get("vessels"), tuple(readers))


@dataclass(frozen=True, eq=False)
class Spot:
    """A lesion in its place.

    Attributes:
        window: index ranges of the lesion's box, grown and cut off at the image's edge.
        body: the lesion in the window, bool.
        axes: steps of the array axes in mm, as columns.
    """

    window: tuple[slice, ...]
    body: Mask
    axes: NDArray[np.float64] = field(repr=False)

    def near(self, distance_mm: float) -> Mask:
        """Voxels of the window within a distance of the lesion, itself included."""
        return (
            near_points(
                np.argwhere(self.body & ~_eroded(self.body)), self.body.shape, radius_mm=distance_mm, axes=self.axes
            )
            | self.body
        )


def spot(body: Mask, start: Sequence[int], shape: Sequence[int], *, axes: NDArray[np.float64]) -> Spot:
    """A lesion with room of `SHELL_MM` or `PLEURA_MM` round it.

    Args:
        body: the lesion in its own box, bool.
        start: of the box in the image.
        shape: of the image.
        axes: steps of the array axes in mm, as columns.
    """
    grown = [int(np.ceil(max(SHELL_MM, PLEURA_MM) / step)) for step in np.linalg.norm(axes, axis=0)]
    first = [max(a - n, 0) for a, n in zip(start, grown, strict=True)]
    stop = [min(a + s + n, size) for a, s, n, size in zip(start, body.shape, grown, shape, strict=True)]
    placed = np.zeros([b - a for a, b in zip(first, stop, strict=True)], dtype=bool)
    placed[tuple(slice(a - f, a - f + s) for a, f, s in zip(start, first, body.shape, strict=True))] = body
    return Spot(tuple(slice(int(a), int(b)) for a, b in zip(first, stop, strict=True)), placed, axes)


def contrast(lesion: Spot, image: Volume | None, reference: Mask) -> float | None:
    """Mean grey value of a lesion minus that of the shell of `SHELL_MM` round it, without other lesions.

    Returns:
        In the unit of the image (CT: HU); None without an image, or where there is no shell.
    """
    shell = lesion.near(SHELL_MM) & ~reference[lesion.window]
    if image is None or not shell.any():
        return None
    values = image.voxels[lesion.window]
    return float(values[lesion.body].mean(dtype=np.float64) - values[shell].mean(dtype=np.float64))


def agreement(lesion: Spot, readers: Sequence[Volume]) -> float | None:
    """Mean Dice of all pairs of readers within the lesion's surroundings; a pair of which one marked nothing has 0.

    Returns:
        In [0, 1]; None with fewer than two readers, or where no reader marked anything.
    """
    marked = [reader.voxels[lesion.window] & lesion.near(SHELL_MM) for reader in readers]
    counts = [int(np.count_nonzero(one)) for one in marked]
    if len(marked) < 2 or not any(counts):
        return None
    pairs = [(a, b) for a, b in combinations(range(len(marked)), 2) if counts[a] or counts[b]]
    dice = [2 * np.count_nonzero(marked[a] & marked[b]) / (counts[a] + counts[b]) for a, b in pairs]
    return float(np.mean(dice))


def location(lesion: Spot, known: Surroundings) -> Location:
    """Where in the thorax a lesion lies.

    `mediastinal`: more than half of it outside the lungs, and lung on both sides of its centre on the same line from
    right to left; `vascular`: within `VESSEL_MM` of the vessel mask; `pleural`: within `PLEURA_MM` of where lung ends
    (holes of a lung mask within a slice are filled); otherwise `inside lung` or `outside lungs`. `unknown` where the
    case has no lung masks.
    """
    if known.lungs is None:
        return "unknown"
    lung = _filled(known.lungs, lesion.window[0])[(slice(None), *lesion.window[1:])]
    within = float(lung[lesion.body].mean())
    if within < 0.5 and _between(lesion, known.lungs):
        return "mediastinal"
    if known.vessels is not None and (lesion.near(VESSEL_MM) & known.vessels.voxels[lesion.window]).any():
        return "vascular"
    round_it = lesion.near(PLEURA_MM) & ~lesion.body
    if within >= 0.5:
        return "pleural" if (round_it & ~lung).any() else "inside lung"
    return "pleural" if (round_it & lung).any() else "outside lungs"


def volume_class(volume_mm3: float) -> str:
    """The row of a lesion of a volume in mm^3."""
    return VOLUME_CLASSES[int(np.searchsorted(VOLUMES_ML, volume_mm3 / 1000, side="right"))]


def contrast_class(value: float | None) -> str:
    """The row of a lesion of a contrast; `unknown` for None."""
    return UNKNOWN if value is None else CONTRAST_CLASSES[int(np.searchsorted(CONTRASTS, value, side="right"))]


def agreement_class(value: float | None) -> str:
    """The row of a lesion of an agreement of readers; `unknown` for None."""
    return UNKNOWN if value is None else AGREEMENT_CLASSES[int(np.searchsorted(AGREEMENTS, value, side="right"))]


def _eroded(mask: Mask) -> Mask:
    from scipy.ndimage import binary_erosion

    found: Mask = binary_erosion(mask)
    return found


def _filled(lungs: tuple[Volume, Volume], slices: slice) -> Mask:
    """Both lungs on some slices, whole slices, with holes filled."""
    from scipy.ndimage import binary_fill_holes

    both: Mask = lungs[0].voxels[slices] | lungs[1].voxels[slices]
    box = extent(both)
    if box is None:
        return both
    plane = (slice(*box[1]), slice(*box[2]))
    for one in both:
        one[plane] = binary_fill_holes(one[plane])
    return both


def _between(lesion: Spot, lungs: tuple[Volume, Volume]) -> bool:
    """Whether one lung lies on each side of the lesion's centre along the axis from right to left."""
    centre = np.argwhere(lesion.body).mean(axis=0) + [w.start for w in lesion.window]
    across = int(np.argmax(np.abs(lungs[0].affine[0, :3])))
    line: list[Any] = [round(c) for c in centre]
    middle = line[across]
    line[across] = slice(None)
    left, right = (np.flatnonzero(lung.voxels[tuple(line)]) for lung in lungs)
    if not left.size or not right.size:
        return False
    return bool(left.max() < middle < right.min() or right.max() < middle < left.min())
