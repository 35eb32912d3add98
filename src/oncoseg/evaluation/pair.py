"""A pair of masks: what every metric is computed from, each part once and on demand.

Counts, borders and distances are found in the smallest box that holds both masks, padded by one
voxel of background; no number changes by that, and the time follows the tumour instead of the scan.

Borders: foreground voxels with a face neighbour in the background, where everything outside the
image is background. Distances: Euclidean, in mm, between voxel centres of two borders, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.evaluation.lesions import LesionMatch, match_lesions
from oncoseg.evaluation.surfaces import Surface, border_points, nearest_mm, surface_elements
from oncoseg.volume import Volume

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Voxels by agreement.

    Attributes:
        tp: in both masks.
        fp: in the prediction only.
        fn: in the reference only.
        tn: in neither, over the whole array.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Counts) -> Counts:
        """Voxels of two pairs taken together."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def total(self) -> int:
        """All voxels."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def emptiness(self) -> str | None:
        """`both_empty`, `prediction_empty`, `reference_empty`, or None when both masks hold something."""
        if self.tp + self.fn and self.tp + self.fp:
            return None
        if self.tp + self.fn:
            return "prediction_empty"
        return "reference_empty" if self.tp + self.fp else "both_empty"


@dataclass(frozen=True)
class Distances:
    """Distances in mm from every border voxel of one mask to the nearest of the other.

    Attributes:
        to_prediction: one value per border voxel of the reference (D_RP).
        to_reference: one value per border voxel of the prediction (D_PR).
    """

    to_prediction: Floats
    to_reference: Floats

    @cached_property
    def pooled(self) -> Floats:
        """Both directions in one list."""
        return np.concatenate([self.to_prediction, self.to_reference])


@dataclass(frozen=True)
class ElementDistances:
    """Distances in mm between surface elements, and the area of each in mm^2 (2D: length in mm)."""

    to_prediction: Floats
    to_reference: Floats
    area_reference: Floats
    area_prediction: Floats


class MaskPair:
    """A reference and a prediction on one grid, in three dimensions or two.

    Grids may be oblique or sheared (gantry tilt): positions go through the affine, so distances,
    areas and volumes are those of the patient.

    Args:
        reference: the experts' mask, bool.
        prediction: the mask to score, bool, on the same grid.

    Raises:
        InputError: when a mask is not boolean.
        GridMismatchError: when the grids differ.

    Example:
        >>> ones = Volume.from_spacing(np.ones((2, 2, 2), dtype=bool), spacing=(3.0, 1.0, 1.0))
        >>> MaskPair(ones, ones).counts
        Counts(tp=8, fp=0, fn=0, tn=0)
    """

    def __init__(self, reference: Volume, prediction: Volume) -> None:
        reference.require_same_grid(prediction, "reference and prediction")
        self._fill(reference.voxels, prediction.voxels, _axes(reference.affine[:3, :3]))

    @classmethod
    def from_arrays(cls, reference: Mask, prediction: Mask, spacing: Sequence[float]) -> MaskPair:
        """A pair of bare arrays with 2 or 3 axes.

        Args:
            reference: bool array.
            prediction: bool array of the same shape.
            spacing: mm per voxel, one positive number per array axis, in array order.
        """
        if len(spacing) != reference.ndim or not all(np.isfinite(s) and s > 0 for s in spacing):
            raise InputError(f"Spacing must be {reference.ndim} positive numbers in mm; got {tuple(spacing)}.")
        return cls._of(reference, prediction, np.diag(np.asarray(spacing, dtype=np.float64)))

    @classmethod
    def _of(cls, reference: Mask, prediction: Mask, axes: Floats) -> MaskPair:
        pair = cls.__new__(cls)
        pair._fill(reference, prediction, axes)
        return pair

    def _fill(self, reference: Mask, prediction: Mask, axes: Floats) -> None:
        for what, mask in (("reference", reference), ("prediction", prediction)):
            if mask.dtype != bool:
                raise InputError(
                    f"The {what} must be a boolean mask, got {mask.dtype}. Compare with a threshold first."
                )
        if reference.ndim not in (2, 3) or not reference.size:
            raise InputError(f"Masks have 2 or 3 axes and at least one voxel; got shape {reference.shape}.")
        if reference.shape != prediction.shape:
            raise GridMismatchError(f"Reference has shape {reference.shape}, prediction {prediction.shape}.")
        self.reference, self.prediction, self.axes = reference, prediction, axes

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size in mm per array axis."""
        return tuple(float(s) for s in np.linalg.norm(self.axes, axis=0))

    @property
    def voxel_size(self) -> float:
        """Volume of a voxel in mm^3; in 2D its area in mm^2."""
        return float(abs(np.linalg.det(self.axes)))

    @property
    def diagonal_mm(self) -> float:
        """Length of the image's longest diagonal: no distance between its voxels is longer."""
        ends = np.stack(np.meshgrid(*[(-n, n) for n in self.reference.shape], indexing="ij"), axis=-1)
        return float(np.linalg.norm(ends.reshape(-1, len(self.axes)) @ self.axes.T, axis=1).max())

    def slice_at(self, index: int) -> MaskPair:
        """One slice as a pair in two dimensions.

        Raises:
            InputError: when the pair has no slice axis.
        """
        if self.reference.ndim != 3:
            raise InputError("Only a pair in three dimensions has slices.")
        return MaskPair._of(self.reference[index], self.prediction[index], self._plane)

    def crop(self, window: Sequence[slice]) -> MaskPair:
        """The part inside a window of index ranges; where it reaches beyond the image there is background."""
        masks = [_cut_out(mask, window) for mask in (self.reference, self.prediction)]
        return MaskPair._of(masks[0], masks[1], self.axes)

    @cached_property
    def counts(self) -> Counts:
        """Voxels by agreement over the whole array."""
        reference, prediction = self._crop
        both = int(np.count_nonzero(reference & prediction))
        fn = int(np.count_nonzero(reference)) - both
        fp = int(np.count_nonzero(prediction)) - both
        return Counts(tp=both, fp=fp, fn=fn, tn=self.reference.size - both - fp - fn)

    @property
    def emptiness(self) -> str | None:
        """Which mask is empty, as in `Counts.emptiness`."""
        return self.counts.emptiness

    @cached_property
    def centres_mm(self) -> tuple[Floats, Floats] | None:
        """Mean position of each mask's voxels relative to a common origin, in mm; None when one is empty."""
        if self.emptiness:
            return None
        reference, prediction = (np.argwhere(mask).mean(axis=0) @ self.axes.T for mask in self._crop)
        return reference, prediction

    @cached_property
    def distances(self) -> Distances | None:
        """Distances between the two borders, both directions; None when a mask is empty."""
        if self.emptiness:
            return None
        reference, prediction = (border_points(mask) for mask in self._crop)
        return Distances(
            nearest_mm(reference, prediction, axes=self.axes), nearest_mm(prediction, reference, axes=self.axes)
        )

    @cached_property
    def elements(self) -> ElementDistances | None:
        """Distances between the two sets of surface elements with their areas; None when a mask is empty.

        An element sits wherever a 2x2x2 (2D: 2x2) neighbourhood holds both classes, and has the area of
        the marching-cubes triangles of that pattern (Nikolov et al. 2021, section "surface Dice").
        """
        if self.emptiness:
            return None
        surfaces: list[Surface] = [surface_elements(mask, self.axes) for mask in self._crop]
        reference, prediction = surfaces
        return ElementDistances(
            nearest_mm(reference.points, prediction.points, axes=self.axes),
            nearest_mm(prediction.points, reference.points, axes=self.axes),
            reference.areas,
            prediction.areas,
        )

    @cached_property
    def lesions(self) -> LesionMatch:
        """Connected components of both masks and which belong together."""
        return match_lesions(*self._crop)

    @cached_property
    def _plane(self) -> Floats:
        """Steps within a slice."""
        return _axes(self.axes[:, 1:])

    @cached_property
    def _crop(self) -> tuple[Mask, Mask]:
        """Both masks in their common bounding box, padded by one voxel of background."""
        boxes = [box for box in (extent(self.reference), extent(self.prediction)) if box is not None]
        if not boxes:
            nothing = np.zeros((1,) * self.reference.ndim, dtype=bool)
            return nothing, nothing
        union = tuple(slice(min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*boxes, strict=True))
        return np.pad(self.reference[union], 1), np.pad(self.prediction[union], 1)


def _cut_out(mask: Mask, window: Sequence[slice]) -> Mask:
    inside = tuple(slice(max(w.start, 0), min(w.stop, n)) for w, n in zip(window, mask.shape, strict=True))
    beyond = [(i.start - w.start, w.stop - i.stop) for i, w in zip(inside, window, strict=True)]
    return np.pad(mask[inside], beyond) if any(map(any, beyond)) else mask[inside]


def extent(mask: Mask) -> list[tuple[int, int]] | None:
    """First and one-past-last foreground index per axis; None when there is no foreground."""
    found: dict[int, tuple[int, int]] = {}
    # The axis with the longest stride first: whole slabs of memory are ruled out before the fine search.
    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
    box = mask.transpose(order)
    for position, axis in enumerate(order):
        others = tuple(a for a in range(mask.ndim) if a != position)
        hits = np.flatnonzero(box.any(axis=others))
        if not hits.size:
            return None
        found[axis] = (int(hits[0]), int(hits[-1]) + 1)
        box = box[(slice(None),) * position + (slice(*found[axis]),)]
    return [found[axis] for axis in range(mask.ndim)]


def _axes(columns: Floats) -> Floats:
    """Axis steps in mm as a square matrix whose columns keep the lengths and angles of `columns`.

    Lengths alone for an orthogonal grid, so that an oblique affine brings no rounding with it.
    """
    lengths = np.linalg.norm(columns, axis=0)
    angles = (columns.T @ columns) / np.outer(lengths, lengths)
    if np.allclose(angles, np.eye(len(lengths)), rtol=0, atol=1e-6):
        return np.diag(lengths)
    return np.asarray(np.linalg.qr(columns).R)
