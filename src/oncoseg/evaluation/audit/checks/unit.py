"""On what do tests, splits and the choice of a model rest: patients, or epochs, slices, voxels?"""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Statistics
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "the unit of a test is what was drawn independently: patients"
_INDEPENDENT = frozenset({"", "patients", "cases"})


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for stated in subject.facts.statistics:
        sentences = list(_sentences(stated))
        for sentence in sentences:
            numbers = {} if stated.n is None else {"n": float(stated.n)}
            said = (stated.says,) if stated.says else ()
            yield Finding("unit", stated.grade, said, FORMULA, numbers, sentence, group=stated.id)
        if not sentences:
            yield InOrder("unit", f"statistics, split and choice rest on patients: {stated.says}", 1, stated.id)


def _sentences(stated: Statistics) -> Iterator[str]:
    if stated.unit not in _INDEPENDENT:
        count = f"{stated.n} " if stated.n else ""
        yield (
            f"The tests treat {count}{stated.unit} as independent. They are not a sample of patients, and their number "
            "is free to choose, so the P-values say nothing about further patients."
        )
    if stated.split_by and stated.split_by not in _INDEPENDENT:
        yield (
            f"Training and evaluation are divided by {stated.split_by}, so {stated.split_by} of one patient may stand "
            "on both sides."
        )
    if stated.chosen_on and stated.chosen_on == stated.reported_on:
        yield (
            f"The {stated.chosen_on} images choose the epoch or model and are reported: no images were left that had "
            "no part in the choice."
        )


CHECK = Check("unit", FORMULA, "C", "", "`statistics` in the side file", _run)
