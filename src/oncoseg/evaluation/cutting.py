"""Cutting a case into the mask pairs that a protocol measures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from oncoseg.errors import InputError
from oncoseg.evaluation.islands import extent
from oncoseg.evaluation.pair import Mask, MaskPair
from oncoseg.evaluation.protocol import Protocol, ScoredCase, tumour_slices
from oncoseg.volume import Volume

Window = tuple[slice, ...]


def units(protocol: Protocol, case: ScoredCase) -> list[MaskPair]:
    """The pairs that `protocol` measures in one case, for every object and threshold.

    Returns:
        Empty when the rule scores nothing here: a case at or below `minimum_voxels`, or a rule on tumour
        slices and an empty reference.

    Raises:
        GridMismatchError: when two volumes are not on one grid.
        InputError: when a reference is not boolean, a prediction is neither boolean nor in [0, 1], or an
            object that the rule averages is missing.
    """
    pairs = _objects(protocol, case)
    if protocol.minimum_voxels and np.count_nonzero(case.reference.voxels) <= protocol.minimum_voxels:
        return []
    window = _window(protocol, _spanning(protocol, case, [reference for reference, _ in pairs]))
    if window is None:
        return []
    soft = any(prediction.voxels.dtype != bool for _, prediction in pairs)
    found: list[MaskPair] = []
    # A mask is the same above every threshold.
    for threshold in protocol.thresholds if soft else protocol.thresholds[:1]:
        cut = [(reference, _binary(protocol, prediction, threshold)) for reference, prediction in pairs]
        cut += [_background(cut)] if protocol.background else []
        for number, (reference, prediction) in enumerate(cut):
            probability = _probability(case) if number == 0 and keeps_probability(protocol) else None
            found += _cut(protocol, reference, prediction, window=window, probability=probability)
    return found


def keeps_probability(protocol: Protocol) -> bool:
    """Whether a protocol scores the whole case as it is, so that probabilities mean the same as before."""
    whole = protocol.crop == "none" and protocol.unit == "case" and not protocol.silenced
    return whole and protocol.pool != "voxels" and not protocol.objects and not protocol.background


def _probability(case: ScoredCase) -> Volume | None:
    if case.probability is None and case.prediction.voxels.dtype != bool:
        return case.prediction
    return case.probability


def _background(pairs: Sequence[tuple[Volume, Volume]]) -> tuple[Volume, Volume]:
    """What is none of the objects, in the references and in the predictions."""
    references, predictions = zip(*pairs, strict=True)
    first, second = (reduce(np.logical_or, [one.voxels for one in some]) for some in (references, predictions))
    return references[0].with_voxels(~first), predictions[0].with_voxels(~second)


def _spanning(protocol: Protocol, case: ScoredCase, references: Sequence[Volume]) -> Mask:
    if protocol.range_objects:
        references = [case.objects[name][0] for name in protocol.range_objects]
    return np.asarray(reduce(np.logical_or, [reference.voxels for reference in references]), dtype=bool)


def _objects(protocol: Protocol, case: ScoredCase) -> list[tuple[Volume, Volume]]:
    wanted = case.objects if protocol.objects == ("*",) else protocol.objects
    missing = [name for name in (*wanted, *protocol.range_objects) if name not in case.objects]
    if missing:
        raise InputError(
            f"Protocol '{protocol.name}' needs {', '.join((*wanted, *protocol.range_objects))} beside the tumour; case "
            f"{case.name} lacks {', '.join(missing)}. Give them as `objects`, or choose another protocol."
        )
    soft = case.probability if protocol.own_thresholds else None
    pairs = [(case.reference, case.prediction if soft is None else soft), *(case.objects[name] for name in wanted)]
    for reference, prediction in pairs:
        reference.require_same_grid(prediction, f"case {case.name}: reference and prediction")
        case.reference.require_same_grid(reference, f"case {case.name}: two references")
    return pairs


def _binary(protocol: Protocol, prediction: Volume, threshold: float) -> Volume:
    if prediction.voxels.dtype == bool:
        return prediction
    if prediction.voxels.dtype.kind != "f" or not (0 <= prediction.voxels.min() <= prediction.voxels.max() <= 1):
        raise InputError(f"A prediction is a boolean mask or a probability in [0, 1], got {prediction.voxels.dtype}.")
    # A logit above t is a probability above 1 / (1 + exp(-t)).
    level = threshold if protocol.threshold_on == "probability" else 1 / (1 + math.exp(-threshold))
    return prediction.with_voxels(prediction.voxels > level)


def _window(protocol: Protocol, reference: Mask) -> Window | None:
    """The scored part of the array, which may reach beyond it; None when there is none."""
    if isinstance(protocol.crop, tuple):
        return _round(reference, protocol.crop)
    if protocol.crop == "none":
        return tuple(slice(0, n) for n in reference.shape)
    labelled = np.flatnonzero(tumour_slices(reference))
    if not labelled.size:
        return None
    first, stop = int(labelled[0]), int(labelled[-1]) + 1
    if protocol.crop == "first quarter":
        stop = first + max(1, (stop - first) // 4)
    return (slice(first, stop), *(slice(0, n) for n in reference.shape[1:]))


def _round(reference: Mask, size: Sequence[int]) -> Window:
    """A window of `size` voxels round the reference's bounding box; round the image when there is none."""
    box = extent(reference) or [(0, n) for n in reference.shape]
    starts = [(first + stop) // 2 - n // 2 for (first, stop), n in zip(box, size, strict=True)]
    return tuple(slice(start, start + n) for start, n in zip(starts, size, strict=True))


def _cut(
    protocol: Protocol, reference: Volume, prediction: Volume, *, window: Window, probability: Volume | None
) -> Iterator[MaskPair]:
    if protocol.silenced:
        marked = tumour_slices(reference.voxels)
        prediction = prediction.with_voxels(prediction.voxels & marked[:, None, None])
    pair = MaskPair(reference, prediction, probability)
    pair = pair if probability is not None else pair.crop(window)
    if protocol.unit == "case":
        yield pair
        return
    scored = tumour_slices(pair.reference) if protocol.tumour_slices_only else np.ones(len(pair.reference), dtype=bool)
    yield from (pair.slice_at(int(index)) for index in np.flatnonzero(scored))
