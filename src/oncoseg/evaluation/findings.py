"""Records of single lesions and of calibration that a cell keeps beside its scores, for strata, FROC and curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from oncoseg.evaluation.calibration import Bins, Calibration
from oncoseg.evaluation.lesions import MATCH, MatchRule, Pairing
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.regions import REGIONS
from oncoseg.evaluation.strata import Surroundings, agreement, contrast, location, spot


@dataclass(frozen=True)
class LesionRecord:
    """One reference lesion, found or not, or one predicted lesion that matches none.

    Attributes:
        case, patient, roi: of the prediction.
        kind: `reference`, or `false` for a predicted lesion without a match.
        number: label within its kind's mask, from 0.
        volume_mm3: of the lesion itself.
        rule: by which lesions were matched, e.g. `iou0.5`.
        found: whether a predicted lesion matches it.
        touched: whether any predicted voxel lies in it; for `false` ones any reference voxel.
        iou, dice, distance_mm: of the match; None without.
        split: several predicted lesions touch it.
        merged: a predicted lesion that touches it touches another reference lesion too; for `false` ones: it touches
            several reference lesions.
        score: largest probability within the predicted lesion; None without a match or a probability.
        location, contrast, agreement: see `oncoseg.evaluation.strata`; of reference lesions.
        readers, marked_by: number of readers of the case, and of those that marked any of it.
    """

    case: str
    patient: str
    roi: str
    kind: Literal["reference", "false"]
    number: int
    volume_mm3: float
    rule: str
    found: bool
    touched: bool
    iou: float | None = None
    dice: float | None = None
    distance_mm: float | None = None
    split: bool = False
    merged: bool = False
    score: float | None = None
    location: str = "unknown"
    contrast: float | None = None
    agreement: float | None = None
    readers: int = 0
    marked_by: int | None = None


@dataclass(frozen=True)
class CalibrationRecord:
    """How one prediction's probability agrees with the reference.

    Attributes:
        case, patient, roi: of the prediction.
        reason: why there is nothing: `no_probability`, `binary_output`; None otherwise.
        uncertainty: of the case: mean entropy in bit over the predicted mask grown by 2 voxels; of an empty prediction
            the entropy of its largest probability, or 1 bit above one half.
        regions: region -> `voxels`, `squares`, `losses` and the reliability bins `foreground` and `top_label` as rows
            of (voxels, sum of probability, number true); regions that are not defined are missing.
    """

    case: str
    patient: str
    roi: str
    reason: str | None = None
    uncertainty: float | None = None
    regions: dict[str, Any] = field(default_factory=dict)

    def calibration(self, region: str) -> Calibration | None:
        """The sums of a region; None where it is not defined."""
        held = self.regions.get(region)
        if held is None:
            return None
        foreground, top_label = (
            Bins(*np.array(held[kind], dtype=np.float64).T) for kind in ("foreground", "top_label")
        )
        return Calibration(int(held["voxels"]), float(held["squares"]), float(held["losses"]), foreground, top_label)


def lesion_records(
    pair: MaskPair, *, case: str, patient: str, roi: str, known: Surroundings, rule: MatchRule = MATCH
) -> list[LesionRecord]:
    """Every reference lesion, and every predicted one that matches none.

    A predicted lesion's score is the largest probability within it (as in Bosma et al., Radiol Artif Intell 5:e230031,
    2023): lesions are those of the mask, so that a FROC curve begins at the mask's own operating point.

    Args:
        pair: of volumes in three dimensions, with the probability where there is one.
        case: name of the prediction.
        patient: whose it is.
        roi: what was segmented.
        known: what else is known about the case.
        rule: how lesions are matched.
    """
    lesions, match = pair.lesions, pair.matched(rule)
    by_reference = {one.reference: one for one in match.pairs}
    taken = {one.prediction for one in match.pairs}
    names: dict[str, Any] = {"case": case, "patient": patient, "roi": roi, "rule": str(rule)}
    found = [_reference_lesion(pair, n, by_reference.get(n), known, names) for n in range(match.references)]
    touching = set(lesions.overlaps[:, 1].tolist())
    for number in range(match.predictions):
        if number not in taken:
            found.append(
                LesionRecord(
                    kind="false",
                    number=number,
                    volume_mm3=float(lesions.prediction.voxels[number] * pair.voxel_size),
                    found=False,
                    touched=number in touching,
                    merged=number in lesions.merged,
                    score=_score(pair, number),
                    **names,
                )
            )
    return found


def calibration_record(
    pair: MaskPair, *, case: str, patient: str, roi: str, reason: str | None = None
) -> CalibrationRecord:
    """What the probability of a pair is worth; a record with a reason where there is none."""
    if pair.probability is None:
        return CalibrationRecord(case, patient, roi, reason or "no_probability")
    regions: dict[str, Any] = {
        region: _plain(held) for region in REGIONS if (held := pair.calibration(region)) is not None
    }
    return CalibrationRecord(case, patient, roi, None, uncertainty(pair), regions)


def uncertainty(pair: MaskPair) -> float | None:
    """Mean entropy in bit over the predicted mask grown by 2 voxels, in [0, 1].

    Of an empty prediction the entropy of the largest probability, 1 where that is one half or more; None without a
    probability.
    """
    if pair.probability is None:
        return None
    if not pair.counts.tp + pair.counts.fp:
        return float(_entropy(np.minimum(np.array([pair.probability.max()], dtype=np.float64), 0.5))[0])
    from scipy.ndimage import binary_dilation

    total, voxels = 0.0, 0
    for island in pair.islands:
        low = [max(a + 1 - 2, 0) for a in island.start]
        high = [
            min(a + n - 1 + 2, s)
            for a, n, s in zip(island.start, island.prediction.shape, pair.prediction.shape, strict=True)
        ]
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grown = binary_dilation(pair.prediction[window], iterations=2)
        total += float(_entropy(pair.probability[window][grown].astype(np.float64)).sum())
        voxels += int(np.count_nonzero(grown))
    return total / voxels


def is_binary(pair_probability: Any) -> bool:
    """Whether an array of probabilities holds nothing but 0 and 1."""
    return not any(bool(((part > 0) & (part < 1)).any()) for part in pair_probability)


def _reference_lesion(
    pair: MaskPair, number: int, match: Pairing | None, known: Surroundings, names: dict[str, Any]
) -> LesionRecord:
    lesions = pair.lesions
    body = lesions.voxels_of("reference", number)
    place = spot(body, lesions.reference.starts[number].tolist(), pair.reference.shape, axes=pair.axes)
    marked = [bool((reader.voxels[place.window] & place.body).any()) for reader in known.readers]
    return LesionRecord(
        kind="reference",
        number=number,
        volume_mm3=float(lesions.reference.voxels[number] * pair.voxel_size),
        found=match is not None,
        touched=number in lesions.touched,
        iou=None if match is None else match.iou,
        dice=None if match is None else match.dice,
        distance_mm=None if match is None else match.distance_mm,
        split=number in lesions.split,
        merged=number in lesions.swallowed,
        score=None if match is None else _score(pair, match.prediction),
        location=location(place, known),
        contrast=contrast(place, known.image, pair.reference),
        agreement=agreement(place, known.readers),
        readers=len(known.readers),
        marked_by=sum(marked) if marked else None,
        **names,
    )


def _score(pair: MaskPair, number: int) -> float | None:
    if pair.probability is None:
        return None
    bodies = pair.lesions.prediction
    window = tuple(slice(int(a), int(b)) for a, b in zip(bodies.starts[number], bodies.stops[number], strict=True))
    return float(pair.probability[window][pair.lesions.voxels_of("prediction", number)].max())


def _entropy(p: Any) -> Any:
    kept = np.clip(p, 1e-15, 1 - 1e-15)
    return np.where((p <= 0) | (p >= 1), 0.0, -(kept * np.log2(kept) + (1 - kept) * np.log2(1 - kept)))


def _plain(found: Calibration) -> dict[str, Any]:
    bins = {
        kind: np.stack([held.voxels, held.predicted, held.true], axis=1).tolist()
        for kind, held in (("foreground", found.foreground), ("top_label", found.top_label))
    }
    return {"voxels": found.voxels, "squares": found.squares, "losses": found.losses, **bins}
