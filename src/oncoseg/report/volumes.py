"""Predicted against true volumes: bias and limits of agreement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from oncoseg.evaluation.volumetry import Limit, bland_altman
from oncoseg.report.evidence_figures import Volumes, bland_altman_plot
from oncoseg.report.groups import Entrant, Group, base_case
from oncoseg.report.plots import Numbers, Plot
from oncoseg.report.tables import Shown, named, number

#: Below this number of patients there are no limits of agreement.
FEWEST = 5


@dataclass(frozen=True)
class VolumePart:
    """One group's volumes."""

    title: str
    slug: str
    plot: Plot


def volume_parts(groups: Iterable[Group]) -> list[VolumePart]:
    """Every group with enough patients, in their order."""
    parts = []
    for group in groups:
        slug, held, rows = f"{group.slug}-volumes", [], []
        for entrant in (*group.entrants, *group.humans):
            volumes = _volumes(entrant)
            if len(volumes.cases) >= FEWEST:
                errors = [p - t for p, t in zip(volumes.predicted, volumes.true, strict=True)]
                found = bland_altman(errors)
                held.append((volumes, found))
                limits = (_shown(each) for each in (found.bias, found.lower, found.upper))
                rows.append((named(entrant), Shown(found.n, str(found.n)), *limits))
        if held:
            head = ("model", "patients", "bias", "lower limit", "upper limit")
            caption = (
                "Bland and Altman 1999, one dot a patient: bias and limits of agreement (bias ± 1.96 SD) with 95 % "
                "intervals. The limits hold for patients like these; errors that grow with the volume widen them."
            )
            parts.append(
                VolumePart(group.title, slug, Plot(bland_altman_plot(held, slug), caption, Numbers(head, tuple(rows))))
            )
    return parts


def _volumes(entrant: Entrant) -> Volumes:
    """Volumes in mL, one of each a patient: the mean of the patient's predictions."""
    true: defaultdict[str, list[float]] = defaultdict(list)
    predicted: defaultdict[str, list[float]] = defaultdict(list)
    for p in entrant.predictions:
        if p.volume_reference_mm3 is not None and p.volume_prediction_mm3 is not None:
            name = p.patient or base_case(p.case)
            true[name].append(p.volume_reference_mm3 / 1000)
            predicted[name].append(p.volume_prediction_mm3 / 1000)
    means = [{name: sum(v) / len(v) for name, v in sorted(side.items())} for side in (true, predicted)]
    return Volumes(entrant.label, entrant.kind, tuple(means[0]), tuple(means[0].values()), tuple(means[1].values()))


def _shown(limit: Limit) -> Shown:
    return Shown(limit.value, number(limit.value, "mL"), f"{number(limit.low)} to {number(limit.high)}")
