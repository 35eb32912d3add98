"""Many p-values at once: Holm, Bonferroni, Hommel, Benjamini-Hochberg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from oncoseg.errors import InputError

Correction = Literal["holm", "bonferroni", "hommel", "bh", "none"]
#: As printed beside every p. Benjamini-Hochberg holds the share of false findings, not the chance of one.
CORRECTION_WORDS: dict[str, str] = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "hommel": "Hommel",
    "bh": "Benjamini–Hochberg, exploratory",
    "none": "not corrected",
}
_STATSMODELS = {"holm": "holm", "bonferroni": "bonferroni", "hommel": "hommel", "bh": "fdr_bh"}


def adjust(p: Sequence[float | None], correction: Correction = "holm") -> list[float | None]:
    """p-values corrected for their number, in the same order; arithmetic of statsmodels.

    A p that could not be computed stays None and does not count towards the number of tests.

    Raises:
        InputError: for an unknown correction or a p outside [0, 1].
    """
    if correction not in CORRECTION_WORDS:
        raise InputError(f"Correction '{correction}' is not known. Choose from: {', '.join(CORRECTION_WORDS)}.")
    found = [value for value in p if value is not None]
    if not all(0 <= value <= 1 for value in found):
        raise InputError(f"A p-value lies outside [0, 1]: {found}.")
    if not found or correction == "none":
        return list(p)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(found, method=_STATSMODELS[correction])[1].tolist())
    return [None if value is None else next(corrected) for value in p]


def stars(p: float | None) -> str:
    """`***` below .001, `**` below .01, `*` below .05, "" otherwise and for an undefined p."""
    if p is None:
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""
