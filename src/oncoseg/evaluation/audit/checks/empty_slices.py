"""What a mean over all slices would be on tumour slices, were empty slices counted as 1."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "(R - a) / (1 - a) on tumour slices for a mean R over all slices, a share a of them empty and counted as 1"


def on_tumour_slices(reported: float, empty: float) -> float:
    """The mean on tumour slices; below 0 the reported value and the share cannot both hold.

    Example:
        >>> round(on_tumour_slices(0.9091, 0.7), 3)
        0.697
    """
    return (reported - empty) / (1 - empty)


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for asked in subject.facts.silence:
        for cell in asked.where.of(subject.cells):
            found = {f"with {share:g} empty": on_tumour_slices(cell.value, share) for share in asked.shares}
            listed = ", ".join(f"{value:.3f} {name}" for name, value in found.items())
            sentence = (
                f"{cell}: were empty slices counted as 1, it would be {listed} on tumour slices. The paper does not "
                "state its rule; read as a question for it."
            )
            yield Finding(
                "empty_slices", "I", short([cell]), FORMULA, found, sentence, "", asked.assumption, group=asked.id
            )


CHECK = Check(
    "empty_slices", FORMULA, "I", "empty slices predicted empty count as 1", "`silence` in the side file", _run
)
