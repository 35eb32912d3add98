"""Structures that a model tells apart beside the one it is ranked by, and their averages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.lungs import LEFT, RIGHT
from oncoseg.report.estimates import summary_of_cases
from oncoseg.report.groups import Entrant, Group
from oncoseg.report.plots import Numbers
from oncoseg.report.tables import Shown, bounds, leaderboard, named, number

#: What the table shows, with its heading.
METRICS = {"dice": "Dice", "iou": "IoU"}
#: Names of the two averages; the second is the mean over three structures.
LUNGS, AVERAGE = "Lungs", "Avg."


@dataclass(frozen=True)
class StructureTable:
    """One row a model, one column a metric and structure.

    Attributes:
        numbers: means with their intervals.
        rule: how the averages are made; "" where there are none.
    """

    numbers: Numbers
    rule: str


def entrants_of(group: Group) -> list[Entrant]:
    """Those entrants of a group that have other structures, in the order of its table."""
    by_label = {e.label: e for e in group.entrants}
    return [by_label[row.label] for row in leaderboard(group) if by_label[row.label].structures]


def structure_table(group: Group) -> StructureTable | None:
    """Every structure of the entrants that have several; None where no entrant has."""
    roi, entrants = group.key.roi, entrants_of(group)
    if not entrants:
        return None
    metrics = [metric for metric in METRICS if metric in group.metrics]
    found = {e.label: {m: structure_summaries(e, m, roi) for m in metrics} for e in entrants}
    present = {name for of in found.values() for summaries in of.values() for name in summaries}
    others = dict.fromkeys(name for e in entrants for name in e.structures)
    names = [name for name in (roi, *others, LUNGS, AVERAGE) if name in present]
    rows = []
    for entrant in entrants:
        total = len(entrant.patients())
        cells = [_shown(found[entrant.label][metric].get(name), total) for metric in metrics for name in names]
        rows.append((named(entrant), *cells))
    head = ("model", *(f"{METRICS[metric]} {name}" for metric in metrics for name in names))
    return StructureTable(Numbers(head, tuple(rows)), _rule(roi) if AVERAGE in names else "")


def structure_summaries(entrant: Entrant, metric: str, roi: str) -> dict[str, Summary]:
    """Structure -> mean over patients with interval, `roi` first.

    With both lungs there are two averages, made case by case where all their parts are defined: "Lungs" of both
    lungs, and "Avg." of the three structures, which is (2 Lungs + tumour) / 3 of the case.
    """
    parts = {roi: entrant.by_case(metric)}
    parts |= {name: entrant.structure(name).by_case(metric) for name in entrant.structures}
    if RIGHT in parts and LEFT in parts:
        lungs = (parts[RIGHT], parts[LEFT])
        parts |= {LUNGS: _mean(*lungs), AVERAGE: _mean(*lungs, parts[roi])}
    return {name: summary_of_cases(values, entrant.patients()) for name, values in parts.items()}


def _mean(*parts: Mapping[str, float]) -> dict[str, float]:
    """Mean of every case that all parts have."""
    cases = sorted(set.intersection(*(set(part) for part in parts)))
    return {case: sum(part[case] for part in parts) / len(parts) for case in cases}


def _shown(summary: Summary | None, total: int) -> Shown:
    if summary is None:
        return Shown(None, "–", "not told apart")
    note = bounds(summary)
    note += "" if summary.n == total else f"; n = {summary.n} of {total}"
    return Shown(summary.mean, number(summary.mean), note)


def _rule(roi: str) -> str:
    return (
        f"{LUNGS} is the mean of {RIGHT} and {LEFT} of each case. {AVERAGE} is (2 {LUNGS} + {roi}) / 3 of each case, "
        "the mean over three structures: two easy organs carry it. Tables that average by another rule (over slices, "
        "over voxels, with the background) cannot be compared with it."
    )
