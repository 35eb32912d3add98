"""The lungs of a chest CT by classical means: thresholds, components and morphology; no weights, no torch.

What is looked for is air inside the body, without the windpipe and the gas of the bowel, as two lungs with their
vessels filled in. All decisions are made on a coarse grid along the patient's axes, so the order in which slices
are stored does not matter; the border is then drawn voxel by voxel on the scanner's grid.

A solid tumour is filled in where lung surrounds it. One that reaches the chest wall or the mediastinum stays
outside, as it does in lungs that people draw for radiotherapy. Where lungs and tumour share one label map the
tumour's voxels are tumour, whatever the lung masks say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.preprocess.airways import airways
from oncoseg.preprocess.coarse import (
    GRID_MM,
    PIXEL_CM2,
    VOXEL_ML,
    Mask,
    bounding_box,
    closed,
    coarse_copy,
    corners,
    dilated_cube,
    eroded,
    filled_plane,
    opened_cube,
    without_small_holes,
)
from oncoseg.preprocess.resample import resample_like
from oncoseg.volume import Volume

#: Below: air or lung, for finding the lungs. Lung is near -850 HU, soft tissue near 0.
AIR_HU = -300.0
#: Below: lung, for drawing the border; people draw it on the outer side of the edge.
BORDER_HU = -200.0
#: Above: the body, table and blankets.
BODY_HU = -400.0
_AROUND_HU = -1024.0

CLOSING_MM = 6.0
#: Holes of one slice that are vessels and bronchi; the dome of the diaphragm is larger.
HOLE_CM2 = 3.0
#: A lung is larger; smaller pieces belong to one or are gas of the bowel. Also counts for `reject_reason`.
LARGE_ML = 100.0
_PIECE_ML, _PIECE_GAP_MM = 1.0, 15.0
#: Pieces in the lowest share of a lung's height are taken for stomach or bowel.
_BOWEL_SHARE = 0.25
#: A part of the air that hangs on the lung by less than twice this, down there and as empty as gas, is gas.
_BOWEL_NECK_MM, BOWEL_HU = 5.0, -930.0
#: A piece is both lungs when at least this share of it lies on either side of the middle.
_JOINED_SHARE = 0.2

#: Raised whenever `lungs` gives other masks; caches and fingerprints depend on it.
REVISION = 1

#: Criteria of `reject_reason`.
SMALLEST_ML, RATIO = 300.0, (0.3, 3.0)


@dataclass(frozen=True, eq=False)
class Lungs:
    """Both lungs of one image.

    Attributes:
        right, left: bool volumes on the grid of the image, the patient's right and left; they never overlap, and
            one that was not found is empty.
        origin: how they were made: "drawn", "classical" or the name of a network.
        components: pieces of at least `LARGE_ML` before anything was cleaned away; 2 where that is not known.
    """

    right: Volume
    left: Volume
    origin: str
    components: int = 2

    @property
    def right_ml(self) -> float:
        """Volume of the right lung in mL."""
        return _millilitres(self.right)

    @property
    def left_ml(self) -> float:
        """Volume of the left lung in mL."""
        return _millilitres(self.left)

    @property
    def labels(self) -> Volume:
        """uint8 on the grid of the image: 0 elsewhere, 1 right lung, 2 left lung."""
        voxels = self.right.voxels.astype(np.uint8)
        voxels[self.left.voxels] = 2
        return self.right.with_voxels(voxels)


def lungs(image: Volume) -> Lungs:
    """Segment both lungs; about 2 s for 512 x 512 x 134 voxels on one core.

    Args:
        image: HU of a chest; the skin must lie inside the field of view on the slices of the lungs.

    Returns:
        Lungs of origin "classical"; empty masks where no lung was found. `reject_reason` judges them.

    Raises:
        InputError: for voxels that are NaN.
    """
    coarse = coarse_copy(image, _AROUND_HU)
    inside = _body(coarse.voxels)
    window = bounding_box(inside)
    found = _lungs(coarse.voxels[window], inside[window])
    masks = []
    for side in (found.right, found.left):
        whole = np.zeros(coarse.shape, dtype=bool)
        whole[window] = side
        masks.append(_redrawn(coarse.with_voxels(whole), image))
    right, left = masks
    return Lungs(image.with_voxels(right), image.with_voxels(left & ~right), "classical", found.components)


def body(image: Volume) -> Volume:
    """Mask of the patient without the table and the air around; lungs and bowel gas belong to it.

    Args:
        image: HU.

    Returns:
        bool on the grid of the image, exact to about `GRID_MM`: for skipping what is outside. Empty when nothing
        is denser than air.
    """
    coarse = coarse_copy(image, _AROUND_HU)
    return resample_like(coarse.with_voxels(_body(coarse.voxels)), image, order=1)


def reject_reason(lungs: Lungs) -> str | None:
    """Why lungs are not good enough to train or score on; None when they are.

    The benchmark of arXiv 2505.01239 kept 304 of 422 patients "due to inability to extract lung masks" and gives no
    criterion; these are: a lung is missing or smaller than 300 mL, right to left is outside 0.3 to 3, or there are
    more than two pieces of 100 mL before cleaning.
    """
    for name, volume in (("right", lungs.right_ml), ("left", lungs.left_ml)):
        if volume == 0:
            return f"lungs ({lungs.origin}): no {name} lung was found"
        if volume < SMALLEST_ML:
            return f"lungs ({lungs.origin}): the {name} lung has {volume:.0f} mL, less than {SMALLEST_ML:.0f}"
    ratio = lungs.right_ml / lungs.left_ml
    if not RATIO[0] <= ratio <= RATIO[1]:
        return f"lungs ({lungs.origin}): right to left is {ratio:.2f}, outside {RATIO[0]} to {RATIO[1]:g}"
    if lungs.components > 2:
        return f"lungs ({lungs.origin}): {lungs.components} pieces of {LARGE_ML:.0f} mL or more instead of two"
    return None


class _Found(NamedTuple):
    right: Mask
    left: Mask
    components: int


class _Pieces(NamedTuple):
    """Connected air: labels, and volume in mL, centre and window by label; label 0 is the rest."""

    labels: NDArray[np.uint32]
    ml: NDArray[np.float64]
    centres: NDArray[np.float64]
    windows: list[tuple[slice, slice, slice]]


def _body(hu: NDArray[np.float32]) -> Mask:
    tissue = hu > BODY_HU
    trunk = cc3d.largest_k(opened_cube(tissue, 1), k=1, connectivity=6, binary_image=True) > 0
    trunk = dilated_cube(trunk, 2) & tissue
    return np.stack([filled_plane(plane) for plane in trunk])


def _lungs(hu: NDArray[np.float32], inside: Mask) -> _Found:
    air = (hu < AIR_HU) & inside
    pieces = _pieces(air)
    large = np.isin(pieces.labels, _large(pieces))
    high = np.flatnonzero(large.sum(axis=(1, 2)) * PIXEL_CM2 > 8)
    if not high.size:
        return _Found(np.zeros_like(air), np.zeros_like(air), 0)
    bottom, top = int(high[0]), int(high[-1])
    columns = inside[bottom : top + 1].sum(axis=(0, 1))
    middle = float(np.average(np.arange(len(columns)), weights=columns))
    tubes = ndimage.binary_dilation(airways(hu, inside, middle=middle, bottom=bottom, top=top))
    pieces = _pieces(air & ~tubes)
    found = _gathered(pieces, _sides(pieces, middle))
    right = _solid(_without_bowel(found.right, hu), tubes)
    return _Found(right, _solid(_without_bowel(found.left, hu), tubes) & ~right, found.components)


def _pieces(air: Mask) -> _Pieces:
    labels = cc3d.connected_components(air, connectivity=6)
    facts = cc3d.statistics(labels)
    ml = facts["voxel_counts"] * VOXEL_ML
    ml[0] = 0
    return _Pieces(labels, ml, facts["centroids"], facts["bounding_boxes"])


def _large(pieces: _Pieces) -> list[int]:
    """Labels of the two largest pieces, as far as they are large; the largest first."""
    return [int(n) for n in np.argsort(-pieces.ml)[:2] if pieces.ml[n] >= LARGE_ML]


def _sides(pieces: _Pieces, middle: float) -> _Found:
    right, left = np.zeros(pieces.labels.shape, dtype=bool), np.zeros(pieces.labels.shape, dtype=bool)
    joined = False
    for number in _large(pieces):
        piece = pieces.labels == number
        share = float(np.count_nonzero(piece[:, :, : round(middle)])) / np.count_nonzero(piece)
        if _JOINED_SHARE < share < 1 - _JOINED_SHARE:
            one, other = _split(piece, middle)
            right, left, joined = right | one, left | other, True
        elif share >= 0.5:
            right |= piece
        else:
            left |= piece
    return _Found(right, left, int((pieces.ml >= LARGE_ML).sum()) + joined)


def _split(piece: Mask, middle: float) -> tuple[Mask, Mask]:
    """Right and left of two lungs that touch: worn down until they part, then each voxel to the nearer one."""
    window = bounding_box(piece, 1)
    part = piece[window]
    right, left = np.zeros_like(piece), np.zeros_like(piece)
    for radius in (2.5, 5.0, 7.5, 10.0, 12.5):
        labels = cc3d.connected_components(eroded(part, radius), connectivity=6)
        facts = cc3d.statistics(labels)
        counts = facts["voxel_counts"].astype(float)
        counts[0] = 0
        first, second = np.argsort(-counts)[:2] if len(counts) > 2 else (0, 0)
        columns = facts["centroids"][[first, second], 2]
        if counts[second] < 0.15 * counts[first] or abs(columns[0] - columns[1]) * GRID_MM < 50:
            continue
        if columns[0] > columns[1]:
            first, second = second, first
        to_right = ndimage.distance_transform_edt(labels != first)
        to_left = ndimage.distance_transform_edt(labels != second)
        right[window], left[window] = part & (to_right <= to_left), part & (to_right > to_left)
        return right, left
    half = np.arange(piece.shape[2]) < middle
    return piece & half, piece & ~half


def _gathered(pieces: _Pieces, found: _Found) -> _Found:
    """Smaller pieces to the lung they lie beside: lobes cut off by a tumour, cavities, not the gas below."""
    sides = (found.right.copy(), found.left.copy())
    reach = int(_PIECE_GAP_MM / GRID_MM)
    heights = [np.flatnonzero(side.any(axis=(1, 2))) for side in (found.right, found.left)]
    taken = set(_large(pieces))
    for number in np.flatnonzero(pieces.ml >= _PIECE_ML):
        if int(number) in taken:
            continue
        window = tuple(slice(max(0, w.start - reach), w.stop + reach) for w in pieces.windows[number])
        piece = pieces.labels[window] == number
        gaps = [
            _gap(piece, side[window]) if _above_bowel(pieces.centres[number][0], height) else np.inf
            for side, height in zip((found.right, found.left), heights, strict=True)
        ]
        if min(gaps) <= _PIECE_GAP_MM:
            sides[int(np.argmin(gaps))][window] |= piece
    return _Found(*sides, found.components)


def _without_bowel(lung: Mask, hu: NDArray[np.float32]) -> Mask:
    """Without gas of stomach or bowel that touches the lung where the diaphragm is thinner than a voxel."""
    window = bounding_box(lung)
    part, values = lung[window], hu[window]
    cores = _pieces(eroded(part, _BOWEL_NECK_MM))
    main, height = int(np.argmax(cores.ml)), np.flatnonzero(part.any(axis=(1, 2)))
    gas = [
        int(n)
        for n in np.flatnonzero(cores.ml >= _PIECE_ML)
        if n != main and not _above_bowel(cores.centres[n][0], height) and values[cores.labels == n].mean() < BOWEL_HU
    ]
    if not gas:
        return lung
    to_lung = ndimage.distance_transform_edt(cores.labels != main)
    to_gas = ndimage.distance_transform_edt(~np.isin(cores.labels, gas))
    result = lung.copy()
    result[window] &= to_lung <= to_gas
    return result


def _above_bowel(z: float, height: NDArray[np.intp]) -> bool:
    return bool(height.size) and z >= height[0] + _BOWEL_SHARE * (height[-1] - height[0])


def _gap(piece: Mask, side: Mask) -> float:
    """Smallest distance between two masks in mm; infinite when one is empty."""
    if not side.any():
        return float("inf")
    return float(ndimage.distance_transform_edt(~side, sampling=GRID_MM)[piece].min())


def _solid(lung: Mask, tubes: Mask) -> Mask:
    """Vessels and enclosed bronchi filled in; the windpipe and the bronchi at the hilum kept out."""
    if not lung.any():
        return lung
    return without_small_holes(without_small_holes(closed(lung, CLOSING_MM), HOLE_CM2) & ~tubes, HOLE_CM2)


def _redrawn(lung: Volume, image: Volume) -> Mask:
    """A coarse mask on the scanner's grid: kept well inside, decided by HU near its border."""
    result = np.zeros(image.shape, dtype=bool)
    if not lung.voxels.any():
        return result
    window = bounding_box(lung.voxels, 3)
    near = lung.crop([w.start for w in window], [w.stop for w in window])
    soft = near.with_voxels(ndimage.gaussian_filter(near.voxels.astype(np.float32), 1.0))
    index = image.mm_to_index(near.index_to_mm(corners(near)))
    start = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.array(image.shape) - 1)
    stop = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, start + 1, image.shape)
    part = image.crop(start, stop)
    share = resample_like(soft, part, order=1).voxels
    place = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    result[place] = (share > 0.75) | ((share > 0.25) & (part.voxels < BORDER_HU))
    return result


def _millilitres(mask: Volume) -> float:
    return float(np.count_nonzero(mask.voxels)) * mask.voxel_volume_mm3 / 1000
