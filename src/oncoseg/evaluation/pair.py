"""A pair of masks: what every metric is computed from, each part once and on demand.

Counts, borders and distances are found in the boxes that hold something (`oncoseg.evaluation.islands`);
no number changes by that, and the time follows the tumours instead of the scan.

Borders: foreground voxels with a face neighbour in the background, where everything outside the
image is background. Distances: Euclidean, in mm, between voxel centres of two borders, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.evaluation.calibration import Calibration, measure
from oncoseg.evaluation.islands import Island, islands
from oncoseg.evaluation.lesions import MATCH, LesionMatch, Lesions, MatchRule, find_lesions
from oncoseg.evaluation.regions import Region, chosen_voxels
from oncoseg.evaluation.surfaces import Points, Surface, border_points, nearest_mm, surface_elements
from oncoseg.volume import Volume

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Soft = NDArray[np.floating]


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
        probability: what the prediction was made from, in [0, 1] on the same grid; None where there is none.

    Raises:
        InputError: when a mask is not boolean, or the probability not of floating point.
        GridMismatchError: when the grids differ.

    Example:
        >>> ones = Volume.from_spacing(np.ones((2, 2, 2), dtype=bool), spacing=(3.0, 1.0, 1.0))
        >>> MaskPair(ones, ones).counts
        Counts(tp=8, fp=0, fn=0, tn=0)
    """

    def __init__(self, reference: Volume, prediction: Volume, probability: Volume | None = None) -> None:
        reference.require_same_grid(prediction, "reference and prediction")
        if probability is not None:
            reference.require_same_grid(probability, "reference and probability")
        soft = None if probability is None else probability.voxels
        self._fill(reference.voxels, prediction.voxels, _axes(reference.affine[:3, :3]), soft)

    @classmethod
    def from_arrays(
        cls, reference: Mask, prediction: Mask, spacing: Sequence[float], *, probability: Soft | None = None
    ) -> MaskPair:
        """A pair of bare arrays with 2 or 3 axes.

        Args:
            reference: bool array.
            prediction: bool array of the same shape.
            spacing: mm per voxel, one positive number per array axis, in array order.
            probability: array of floats of the same shape, None where there is none.
        """
        if len(spacing) != reference.ndim or not all(np.isfinite(s) and s > 0 for s in spacing):
            raise InputError(f"Spacing must be {reference.ndim} positive numbers in mm; got {tuple(spacing)}.")
        return cls._of(reference, prediction, np.diag(np.asarray(spacing, dtype=np.float64)), probability)

    @classmethod
    def _of(cls, reference: Mask, prediction: Mask, axes: Floats, probability: Soft | None = None) -> MaskPair:
        pair = cls.__new__(cls)
        pair._fill(reference, prediction, axes, probability)
        return pair

    def _fill(self, reference: Mask, prediction: Mask, axes: Floats, probability: Soft | None) -> None:
        for what, mask in (("reference", reference), ("prediction", prediction)):
            if mask.dtype != bool:
                raise InputError(
                    f"The {what} must be a boolean mask, got {mask.dtype}. Compare with a threshold first."
                )
        if reference.ndim not in (2, 3) or not reference.size:
            raise InputError(f"Masks have 2 or 3 axes and at least one voxel; got shape {reference.shape}.")
        if reference.shape != prediction.shape:
            raise GridMismatchError(f"Reference has shape {reference.shape}, prediction {prediction.shape}.")
        if probability is not None and probability.dtype.kind != "f":
            raise InputError(f"A probability is an array of floats in [0, 1], got {probability.dtype}.")
        if probability is not None and probability.shape != reference.shape:
            raise GridMismatchError(f"Reference has shape {reference.shape}, probability {probability.shape}.")
        self.reference, self.prediction, self.axes, self.probability = reference, prediction, axes, probability
        self._matches: dict[MatchRule, LesionMatch] = {}
        self._calibrations: dict[Region, Calibration | None] = {}

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
        """One slice as a pair in two dimensions, without probability.

        Raises:
            InputError: when the pair has no slice axis.
        """
        if self.reference.ndim != 3:
            raise InputError("Only a pair in three dimensions has slices.")
        return MaskPair._of(self.reference[index], self.prediction[index], self.plane_axes)

    def crop(self, window: Sequence[slice]) -> MaskPair:
        """The part inside a window of index ranges, without probability; what lies beyond the image is background."""
        masks = [_cut_out(mask, window) for mask in (self.reference, self.prediction)]
        return MaskPair._of(masks[0], masks[1], self.axes)

    @cached_property
    def islands(self) -> list[Island]:
        """The boxes that hold something, see `oncoseg.evaluation.islands.islands`."""
        return islands(self.reference, self.prediction)

    @cached_property
    def counts(self) -> Counts:
        """Voxels by agreement over the whole array."""
        both = fn = fp = 0
        for island in self.islands:
            common = int(np.count_nonzero(island.reference & island.prediction))
            both += common
            fn += int(np.count_nonzero(island.reference)) - common
            fp += int(np.count_nonzero(island.prediction)) - common
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
        bodies = (self.lesions.reference, self.lesions.prediction)
        reference, prediction = (self.axes @ np.average(b.centres, axis=0, weights=b.voxels) for b in bodies)
        return reference, prediction

    @cached_property
    def borders(self) -> tuple[Points, Points]:
        """Border voxels of both masks: indices in the image, shape (n, axes)."""
        return self._gathered(border_points)

    @cached_property
    def distances(self) -> Distances | None:
        """Distances between the two borders, both directions; None when a mask is empty."""
        if self.emptiness:
            return None
        reference, prediction = self.borders
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
        found: list[list[Surface]] = [[], []]
        for island in self.islands:
            for side, mask in zip(found, (island.reference, island.prediction), strict=True):
                points, areas = surface_elements(mask, self.axes)
                side.append(Surface(points + np.array(island.start), areas))
        reference, prediction = (Surface(*map(np.concatenate, zip(*side, strict=True))) for side in found)
        return ElementDistances(
            nearest_mm(reference.points, prediction.points, axes=self.axes),
            nearest_mm(prediction.points, reference.points, axes=self.axes),
            reference.areas,
            prediction.areas,
        )

    @cached_property
    def lesions(self) -> Lesions:
        """Connected components of both masks and where they overlap."""
        return find_lesions(self.islands, self.axes)

    def matched(self, rule: MatchRule = MATCH) -> LesionMatch:
        """Which lesions belong together by a rule; found once."""
        if rule not in self._matches:
            self._matches[rule] = self.lesions.match(rule)
        return self._matches[rule]

    def calibration(self, region: Region) -> Calibration | None:
        """How the probability agrees with the reference in a region; found once.

        Returns:
            None without a probability, or where the region is not defined.

        Raises:
            InputError: when the probability leaves [0, 1] or is not finite.
        """
        if region not in self._calibrations:
            voxels = None if self.probability is None else chosen_voxels(self, region)
            self._calibrations[region] = None if voxels is None else measure(*voxels)
        return self._calibrations[region]

    def _gathered(self, of: Callable[[Mask], Points]) -> tuple[Points, Points]:
        """Points of both masks from all islands, as indices in the image."""
        none = [np.zeros((0, self.reference.ndim), dtype=np.int64)]
        first = none + [of(island.reference) + np.array(island.start) for island in self.islands]
        second = none + [of(island.prediction) + np.array(island.start) for island in self.islands]
        return np.concatenate(first), np.concatenate(second)

    @cached_property
    def plane_axes(self) -> Floats:
        """Steps in mm within a slice, as columns of a square matrix; in 2D all of them."""
        return self.axes if self.reference.ndim == 2 else _axes(self.axes[:, 1:])


def _cut_out(mask: Mask, window: Sequence[slice]) -> Mask:
    inside = tuple(slice(max(w.start, 0), min(w.stop, n)) for w, n in zip(window, mask.shape, strict=True))
    beyond = [(i.start - w.start, w.stop - i.stop) for i, w in zip(inside, window, strict=True)]
    return np.pad(mask[inside], beyond) if any(map(any, beyond)) else mask[inside]


def _axes(columns: Floats) -> Floats:
    """Axis steps in mm as a square matrix whose columns keep the lengths and angles of `columns`.

    Lengths alone for an orthogonal grid, so that an oblique affine brings no rounding with it.
    """
    lengths = np.linalg.norm(columns, axis=0)
    angles = (columns.T @ columns) / np.outer(lengths, lengths)
    if np.allclose(angles, np.eye(len(lengths)), rtol=0, atol=1e-6):
        return np.diag(lengths)
    return np.asarray(np.linalg.qr(columns).R)
