"""Free-response receiver operating characteristic: lesions found against false lesions per scan (Bunch et al. 1978)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oncoseg.errors import InputError

#: False positives per scan at which LUNA16 reads the curve (Setio et al., Med Image Anal 42:1, 2017).
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Candidate(NamedTuple):
    """A predicted lesion: how sure the model is of it, and whether it is a lesion (matched one to one)."""

    score: float
    true: bool


@dataclass(frozen=True)
class Froc:
    """The curve from the strictest threshold to the loosest.

    Attributes:
        false_per_scan, sensitivity: at each threshold, beginning with (0, 0); both never fall.
        thresholds: of the points after the first.
    """

    false_per_scan: tuple[float, ...]
    sensitivity: tuple[float, ...]
    thresholds: tuple[float, ...]

    def at(self, rate: float) -> float:
        """Largest sensitivity with at most `rate` false positives per scan; beyond its end the curve is level."""
        reached = [s for x, s in zip(self.false_per_scan, self.sensitivity, strict=True) if x <= rate]
        return max(reached)

    @property
    def score(self) -> float:
        """Mean sensitivity at `RATES`: LUNA16's competition metric, read as steps."""
        return float(np.mean([self.at(rate) for rate in RATES]))


def froc(candidates: Sequence[Candidate], *, lesions: int, scans: int) -> Froc:
    """The curve of all candidates of all scans; candidates of equal score come and go together.

    Args:
        candidates: predicted lesions.
        lesions: reference lesions in all scans.
        scans: number of scans, those without candidates and lesions included.

    Raises:
        InputError: without a lesion or a scan.

    Example:
        >>> curve = froc([Candidate(0.9, True), Candidate(0.8, False), Candidate(0.6, True)], lesions=4, scans=2)
        >>> curve.sensitivity, curve.false_per_scan
        ((0.0, 0.25, 0.25, 0.5), (0.0, 0.0, 0.5, 0.5))
    """
    if lesions < 1 or scans < 1:
        raise InputError(f"A FROC curve needs a lesion and a scan; got {lesions} and {scans}.")
    thresholds = sorted({c.score for c in candidates}, reverse=True)
    true, false = [0.0], [0.0]
    for threshold in thresholds:
        kept = [c.true for c in candidates if c.score >= threshold]
        true.append(sum(kept) / lesions)
        false.append((len(kept) - sum(kept)) / scans)
    return Froc(tuple(false), tuple(true), tuple(thresholds))
