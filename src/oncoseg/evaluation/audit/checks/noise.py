"""The half-width of a mean beside every gain that a text claims."""

from __future__ import annotations

import math
from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "half-width of one mean = 1.96 SD / sqrt(n)"


def half_width(sd: float, n: int) -> float:
    """Half of a 95 % interval of a mean.

    Example:
        >>> round(half_width(0.15, 58), 3)
        0.039
    """
    return 1.96 * sd / math.sqrt(n)


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for gain in subject.facts.gains:
        left, right = gain.left.of(subject.cells), gain.right.of(subject.cells)
        if len(left) != 1 or len(right) != 1:
            continue
        difference, width = left[0].value - right[0].value, half_width(gain.sd, gain.n)
        names = f"{left[0].place} against {right[0].printed.method}"
        if abs(difference) > width:
            yield InOrder("noise", f"{names}: the gain is larger than the half-width of one mean", 1, gain.id)
            continue
        assumed = f"SD {gain.sd:g} over cases is assumed; " if gain.sd_assumed else ""
        sentence = (
            f"{names}: the gain of {difference:+.4f} stands beside a half-width of one mean of {width:.3f} "
            f"(SD {gain.sd:g}, n = {gain.n}). Whether it is more than chance cannot be told from the table."
        )
        yield Finding(
            "noise",
            "I" if gain.sd_assumed else "K",
            short([left[0], right[0]]),
            FORMULA,
            {"gain": difference, "half-width": width, "n": float(gain.n), "SD": gain.sd},
            sentence,
            assumption=f"{assumed}a paired interval is narrower and needs per-case values",
            group=gain.id,
        )


CHECK = Check("noise", FORMULA, "I", "a standard deviation over cases", "`gains` in the side file", _run)
