"""Tumours where there were none: a real or synthetic nodule pasted into a thorax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.case import Case
from oncoseg.errors import InputError
from oncoseg.lesions import regions
from oncoseg.preprocess.crop import crop_or_pad
from oncoseg.preprocess.resample import grid_at, resample_like
from oncoseg.volume import Volume


class Inserted(NamedTuple):
    """A thorax with one more tumour: `image` in HU and the `mask` of exactly the pasted tumour."""

    image: Volume
    mask: Volume


@dataclass(frozen=True)
class Nodule:
    """A tumour cut out of its scan.

    Attributes:
        image: HU crop with some of the surroundings.
        mask: bool, the tumour, on the crop's grid.

    Raises:
        GridMismatchError: when they lie on different grids.
        InputError: when the mask is empty or not boolean.
    """

    image: Volume
    mask: Volume

    def __post_init__(self) -> None:
        self.image.require_same_grid(self.mask, "nodule's image and mask")
        if self.mask.voxels.dtype != bool or not self.mask.voxels.any():
            raise InputError("A nodule needs a boolean mask that is not empty.")

    @classmethod
    def cut(cls, case: Case, *, lesion: int = 0, margin_mm: float = 8.0) -> Nodule:
        """One lesion of a case, real or synthetic, with what lies within `margin_mm` of its box.

        Args:
            case: with a `tumour` mask, e.g. of `lidc_nodules` or `phantom`.
            lesion: which 26-connected lesion, in the order of their first voxels.
            margin_mm: surroundings to take along, cut at the image's border.

        Raises:
            InputError: when the case has no lesion of that number.
        """
        found = regions(case.mask())
        if not 0 <= lesion < len(found):
            raise InputError(f"Case {case.name} has {len(found)} lesions, counted from 0; there is no lesion {lesion}.")
        chosen = found[lesion]
        margin = np.ceil(margin_mm / np.asarray(case.image.spacing)).astype(int)
        start = np.maximum(np.asarray(chosen.start) - margin, 0)
        stop = np.minimum(np.asarray(chosen.stop) + margin, case.image.shape)
        alone = np.zeros(case.image.shape, bool)
        alone[tuple(slice(a, b) for a, b in zip(chosen.start, chosen.stop, strict=True))] = chosen.voxels
        image = case.image.crop(start.tolist(), stop.tolist())
        return cls(image, case.image.with_voxels(alone).crop(start.tolist(), stop.tolist()))


def insert_nodule(
    thorax: Case | Volume,
    nodule: Nodule,
    *,
    position_index: tuple[int, int, int],
    blend_mm: float = 2.0,
    lung: Volume | None = None,
) -> Inserted:
    """Paste a nodule so that its mask's centre of mass comes to lie at a voxel.

    The nodule is resampled to the thorax's spacing along the thorax's axes. Inside its mask its own HU are kept;
    over `blend_mm` outside they fade into the thorax. HU are matched there: what the nodule's surroundings
    (median of the rim) are above or below the thorax's is subtracted from the fading rim, so no halo remains.
    The result depends on the arguments only.

    Args:
        thorax: receives the nodule; a Case's image is used.
        nodule: what is pasted, e.g. a crop of `lidc_nodules` or a synthetic tumour.
        position_index: voxel (slice, row, column) of the thorax.
        blend_mm: width of the faded edge; 0 pastes hard.
        lung: bool mask on the thorax's grid that the tumour must lie in; None does not ask.

    Returns:
        The image, of the thorax's type, and the exact mask of the pasted tumour, both on the thorax's grid.

    Raises:
        InputError: when the tumour would leave the volume or the lung, or vanishes at the thorax's spacing.
    """
    image = thorax.image if isinstance(thorax, Case) else thorax
    hu, mask, start = _on_grid(nodule, image, position_index, blend_mm)
    _require_fit(mask, start, image, lung)
    low = np.maximum(start, 0)
    high = np.minimum(start + mask.shape, image.shape)
    inner = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu, mask = hu[inner], mask[inner]
    around = image.voxels[place].astype(np.float32)
    weight = _weight(mask, image.spacing, blend_mm)
    rim = (weight > 0) & ~mask
    if rim.any():
        shift = np.float32(np.median(around[rim]) - np.median(hu[rim]))
        hu = np.where(mask, hu, hu + shift)
    voxels = image.voxels.copy()
    mixed = around + weight * (hu - around)
    voxels[place] = np.rint(mixed) if voxels.dtype.kind in "iu" else mixed
    whole = np.zeros(image.shape, bool)
    whole[place] = mask
    return Inserted(image.with_voxels(voxels), image.with_voxels(whole))


def _on_grid(
    nodule: Nodule, image: Volume, position: tuple[int, int, int], blend_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int_]]:
    """HU and mask at the thorax's spacing and orientation, and the index where their first voxel belongs."""
    centre = nodule.mask.index_to_mm(np.argwhere(nodule.mask.voxels).mean(axis=0))
    own = grid_at(nodule.image, image.spacing)
    reach = np.ceil(np.linalg.norm(np.asarray(own.shape) * own.spacing) / 2 / np.asarray(image.spacing)).astype(int) + 1
    affine = image.affine.copy()
    affine[:3, 3] = centre - image.affine[:3, :3] @ reach
    grid = Volume(np.broadcast_to(np.float32(0), tuple(2 * reach + 1)), affine)
    mask = resample_like(nodule.mask, grid, order=1).voxels
    if not mask.any():
        raise InputError(
            f"The nodule of {nodule.mask.voxels.sum()} voxels vanishes at the thorax's spacing {image.spacing} mm. "
            "Take a larger nodule or a thorax of finer spacing."
        )
    margin = np.ceil(blend_mm / np.asarray(image.spacing)).astype(int) + 1
    used = np.argwhere(mask)
    first, last = used.min(axis=0) - margin, used.max(axis=0) + 1 + margin
    # Outside the nodule's own crop its nearest voxel stands in: only the faded rim can reach there.
    known = crop_or_pad(nodule.image.with_voxels(np.ones(nodule.image.shape, bool)), (0, 0, 0), nodule.image.shape)
    hu = resample_like(nodule.image, grid, order=1).voxels
    inside = resample_like(known, grid, order=0).voxels
    window = tuple(slice(max(0, a), b) for a, b in zip(first, last, strict=True))
    nearest = ndimage.distance_transform_edt(~inside[window], return_distances=False, return_indices=True)
    return hu[window][tuple(nearest)], mask[window], np.asarray(position) - reach + np.maximum(first, 0)


def _require_fit(mask: NDArray[np.bool_], start: NDArray[np.int_], image: Volume, lung: Volume | None) -> None:
    tumour = np.argwhere(mask) + start
    if (tumour < 0).any() or (tumour >= image.shape).any():
        raise InputError(
            f"The nodule would reach from voxel {tuple(map(int, tumour.min(axis=0)))} to "
            f"{tuple(map(int, tumour.max(axis=0)))}, outside the volume of shape {image.shape}. "
            "Choose a position_index further inside."
        )
    if lung is None:
        return
    image.require_same_grid(lung, "thorax and lung mask")
    outside = int((~lung.voxels[tuple(tumour.T)]).sum())
    if outside:
        raise InputError(
            f"{outside} of {len(tumour)} voxels of the nodule would lie outside the lung. "
            "Choose another position_index, or give no lung mask."
        )


def _weight(mask: NDArray[np.bool_], spacing: tuple[float, float, float], blend_mm: float) -> NDArray[np.float32]:
    """1 in the tumour, falling to 0 over `blend_mm` outside."""
    if blend_mm <= 0:
        return mask.astype(np.float32)
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return np.asarray(np.clip(1 - away / blend_mm, 0, 1), dtype=np.float32)
