"""Lesions: connected components of both masks, which belong together by a named rule, which were merged or split.

Lesions are 26-connected components (2D: 8-connected). Two rules pair them one to one:

- `iou0.5` (the default): greedily by falling IoU, from the threshold on, inclusive (panoptica; above .5 unique);
- `centre10`: greedily by rising distance of the centres, up to that many mm, inclusive.

Ties go to the lower labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.evaluation.islands import Island

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class MatchRule:
    """When a predicted lesion finds a reference lesion.

    Attributes:
        by: `iou` of the two, or distance of their `centre` (mean voxel position).
        threshold: smallest IoU in (0, 1], or largest distance in mm; the threshold itself counts.
    """

    by: Literal["iou", "centre"] = "iou"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        fine = 0 < self.threshold <= 1 if self.by == "iou" else 0 <= self.threshold < math.inf
        if not fine:
            raise InputError(
                f"Matching rule '{self}': an IoU is above 0 and at most 1, a distance of centres at least 0 mm."
            )

    @classmethod
    def parse(cls, text: str) -> MatchRule:
        """`iou0.5` or `centre10` (mm).

        Raises:
            InputError: for anything else.

        Example:
            >>> MatchRule.parse("centre10")
            MatchRule(by='centre', threshold=10.0)
        """
        rules: tuple[Literal["iou", "centre"], ...] = ("iou", "centre")
        for by in rules:
            number = text.removeprefix(by)
            if number != text and number.replace(".", "", 1).isdecimal():
                return cls(by, float(number))
        raise InputError(f"Matching rule '{text}' is not known. Write e.g. iou0.5, iou0.1 or centre10 (mm).")

    def __str__(self) -> str:
        return f"{self.by}{self.threshold:g}"


#: A predicted lesion finds a reference lesion when their IoU reaches one half.
MATCH = MatchRule()


class Bodies(NamedTuple):
    """The lesions of one mask, by label from 0.

    Attributes:
        voxels: number of voxels, shape (n,).
        centres: mean voxel index in the image, shape (n, axes).
        starts, stops: half-open box in the image, shape (n, axes).
    """

    voxels: Numbers
    centres: Floats
    starts: Numbers
    stops: Numbers


class Pairing(NamedTuple):
    """A reference lesion and the predicted one that finds it.

    Attributes:
        reference, prediction: labels.
        iou, dice: of the two bodies alone.
        distance_mm: between their centres.
    """

    reference: int
    prediction: int
    iou: float
    dice: float
    distance_mm: float


@dataclass(frozen=True)
class LesionMatch:
    """How the lesions of two masks pair up.

    Attributes:
        references, predictions: number of lesions in each mask.
        pairs: one for each found lesion (true positive), in the order in which they were paired.
    """

    references: int
    predictions: int
    pairs: tuple[Pairing, ...]

    @property
    def found(self) -> int:
        """Matched pairs (true positives)."""
        return len(self.pairs)

    @property
    def ious(self) -> tuple[float, ...]:
        """IoU of every matched pair."""
        return tuple(pair.iou for pair in self.pairs)


class Labelled(NamedTuple):
    """The labels of one island.

    Attributes:
        start: index of its first voxel in the image.
        before: number of lesions of reference and prediction in the islands before it.
        reference, prediction: label + 1 - before, 0 being background.
    """

    start: tuple[int, ...]
    before: tuple[int, int]
    reference: NDArray[np.uint32]
    prediction: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of a pair of masks and where they overlap.

    Attributes:
        reference, prediction: the bodies of each mask.
        overlaps: rows of (reference label, prediction label, common voxels), for common voxels > 0.
        axes: steps of the array axes in mm, as columns.
        labelled: the labels of both masks, island by island.
    """

    reference: Bodies
    prediction: Bodies
    overlaps: Numbers
    axes: Floats
    labelled: tuple[Labelled, ...]

    def match(self, rule: MatchRule = MATCH) -> LesionMatch:
        """Pair lesions one to one by a rule."""
        candidates = self._by_iou(rule.threshold) if rule.by == "iou" else self._by_centre(rule.threshold)
        taken: tuple[set[int], set[int]] = set(), set()
        pairs = []
        for a, b in candidates:
            if a not in taken[0] and b not in taken[1]:
                pairs.append(self._pairing(a, b))
                taken[0].add(a)
                taken[1].add(b)
        return LesionMatch(len(self.reference.voxels), len(self.prediction.voxels), tuple(pairs))

    def voxels_of(self, side: Literal["reference", "prediction"], label: int) -> Mask:
        """One lesion in its own box (`starts`, `stops` of its body), bool."""
        place = 0 if side == "reference" else 1
        island = next(one for one in reversed(self.labelled) if one.before[place] <= label)
        bodies: Bodies = getattr(self, side)
        corners = zip(bodies.starts[label], bodies.stops[label], island.start, strict=True)
        window = tuple(slice(int(a - offset), int(b - offset)) for a, b, offset in corners)
        labels = island.reference if side == "reference" else island.prediction
        found: Mask = labels[window] == label + 1 - island.before[place]
        return found

    @cached_property
    def merged(self) -> tuple[int, ...]:
        """Predicted lesions that touch two reference lesions or more."""
        return _repeated(self.overlaps[:, 1])

    @cached_property
    def split(self) -> tuple[int, ...]:
        """Reference lesions that two predicted lesions or more touch."""
        return _repeated(self.overlaps[:, 0])

    @property
    def swallowed(self) -> frozenset[int]:
        """Reference lesions that a merged predicted lesion touches."""
        rows = np.isin(self.overlaps[:, 1], self.merged)
        return frozenset(self.overlaps[rows, 0].tolist())

    @property
    def touched(self) -> frozenset[int]:
        """Reference lesions that share at least one voxel with the prediction."""
        return frozenset(self.overlaps[:, 0].tolist())

    @cached_property
    def _common(self) -> dict[tuple[int, int], int]:
        return {(a, b): n for a, b, n in self.overlaps.tolist()}

    def _pairing(self, a: int, b: int) -> Pairing:
        common = self._common.get((a, b), 0)
        both = int(self.reference.voxels[a] + self.prediction.voxels[b])
        apart = self.axes @ (self.reference.centres[a] - self.prediction.centres[b])
        return Pairing(a, b, common / (both - common), 2 * common / both, float(np.linalg.norm(apart)))

    def _by_iou(self, threshold: float) -> list[tuple[int, int]]:
        first, second, common = self.overlaps.T
        ious = common / (self.reference.voxels[first] + self.prediction.voxels[second] - common)
        order = np.lexsort((second, first, -ious))
        return [(int(first[k]), int(second[k])) for k in order if ious[k] >= threshold]

    def _by_centre(self, threshold_mm: float) -> list[tuple[int, int]]:
        if not len(self.reference.voxels) or not len(self.prediction.voxels):
            return []
        from scipy.spatial import cKDTree

        reference, prediction = (bodies.centres @ self.axes.T for bodies in (self.reference, self.prediction))
        # A hair beyond, so that a distance of exactly the threshold counts whatever its rounding.
        near = cKDTree(prediction).query_ball_point(reference, threshold_mm * (1 + 1e-9))
        found = [(a, b) for a, some in enumerate(near) for b in some]
        return sorted(found, key=lambda ab: (float(np.linalg.norm(reference[ab[0]] - prediction[ab[1]])), ab))


def find_lesions(islands: Sequence[Island], axes: Floats) -> Lesions:
    """Label both masks and count where their lesions overlap.

    Args:
        islands: of the two masks; no component reaches from one island to another.
        axes: steps of the array axes in mm, as columns.
    """
    bodies: tuple[list[Bodies], list[Bodies]] = ([_none(len(axes))], [_none(len(axes))])
    labelled, overlaps = [], [np.zeros((0, 3), dtype=np.int64)]
    counts = [0, 0]
    for island in islands:
        labels = []
        for side, mask in enumerate((island.reference, island.prediction)):
            numbers, found = _label(mask, island.start)
            bodies[side].append(found)
            labels.append(numbers)
        pairs = _overlaps(labels[0], labels[1], [len(some[-1].voxels) for some in bodies])
        overlaps.append(pairs + np.array([*counts, 0]))
        labelled.append(Labelled(island.start, (counts[0], counts[1]), labels[0], labels[1]))
        counts = [n + len(some[-1].voxels) for n, some in zip(counts, bodies, strict=True)]
    reference, prediction = (Bodies(*map(np.concatenate, zip(*some, strict=True))) for some in bodies)
    return Lesions(reference, prediction, np.concatenate(overlaps), axes, tuple(labelled))


def _none(axes: int) -> Bodies:
    corners = np.zeros((0, axes), dtype=np.int64)
    return Bodies(np.zeros(0, dtype=np.int64), corners.astype(np.float64), corners, corners)


def _label(mask: Mask, start: Sequence[int]) -> tuple[NDArray[np.uint32], Bodies]:
    """Labels from 1, and the bodies in the image."""
    # cc3d 4.1.1 errs on some bool arrays: it labels background in 8-connected images and refuses some volumes.
    volume = np.ascontiguousarray(mask if mask.ndim == 3 else mask[None])
    labels = cc3d.connected_components(volume.view(np.uint8), connectivity=26, out_dtype=np.uint32)
    facts = cc3d.statistics(labels)
    boxes = [[(s.start, s.stop) for s in box[-mask.ndim :]] for box in facts["bounding_boxes"][1:]]
    corners = np.array(boxes, dtype=np.int64).reshape(-1, mask.ndim, 2)
    centres = np.asarray(facts["centroids"], dtype=np.float64)[1:, -mask.ndim :]
    offset = np.asarray(start, dtype=np.int64)
    voxels = np.asarray(facts["voxel_counts"], dtype=np.int64)[1:]
    bodies = Bodies(voxels, centres + offset, corners[..., 0] + offset, corners[..., 1] + offset)
    return labels.reshape(mask.shape), bodies


def _overlaps(first: NDArray[np.uint32], second: NDArray[np.uint32], counts: Sequence[int]) -> Numbers:
    """Rows of (label, label, common voxels), labels from 0."""
    if not all(counts):
        return np.zeros((0, 3), dtype=np.int64)
    both = (first != 0) & (second != 0)
    code = (first[both].astype(np.int64) - 1) * counts[1] + (second[both].astype(np.int64) - 1)
    found, common = np.unique(code, return_counts=True)
    return np.stack([found // counts[1], found % counts[1], common], axis=1).astype(np.int64)


def _repeated(labels: Numbers) -> tuple[int, ...]:
    found, times = np.unique(labels, return_counts=True)
    return tuple(int(label) for label in found[times > 1])
