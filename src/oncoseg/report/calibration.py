"""What probabilities are worth: calibration by region, reliability diagrams, risk against coverage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.findings import CalibrationRecord
from oncoseg.evaluation.regions import REGIONS
from oncoseg.evaluation.risk_coverage import RiskCoverage, risk_coverage
from oncoseg.report.estimates import summary_of
from oncoseg.report.evidence_figures import reliability_plot, risk_plot
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case
from oncoseg.report.plots import Numbers, Plot
from oncoseg.report.tables import Shown, bounds, named, number

#: The region that reliability diagrams show.
SHOWN_REGION = "box"
REGION_WORDS = {
    "whole": "whole volume",
    "box": "box round the reference and 10 mm",
    "boundary": "within 5 mm of the predicted border",
}
REASON_WORDS = {"no_probability": "gives no probability", "binary_output": "its output is only 0 or 1"}
_METRICS = ("brier", "nll", "ece_foreground", "ece_top_label", "mce")
#: Below this number of cases a risk-coverage curve says nothing.
FEWEST = 5


@dataclass(frozen=True)
class CalibrationPart:
    """One group's probabilities."""

    title: str
    slug: str
    regions: tuple[tuple[str, Numbers], ...]
    reliability: Plot | None
    risk: Plot | None
    without: tuple[str, ...]


def of_probabilities(metric: str) -> bool:
    """Whether a metric's name is one of a probability, which has a table of its own."""
    return metric.partition("@")[0] in _METRICS


def calibration_parts(groups: Iterable[Group]) -> list[CalibrationPart]:
    """Every group with at least one model that gives probabilities, in their order."""
    parts = []
    for group in groups:
        entrants = [e for e in group.entrants if any(of_probabilities(s.metric) for s in e.scores)]
        if entrants:
            slug = f"{group.slug}-calibration"
            regions = tuple((REGION_WORDS[region], _table(entrants, region)) for region in REGIONS)
            without = tuple(w for e in group.entrants if e not in entrants for w in _why_not(e))
            parts.append(
                CalibrationPart(
                    group.title, slug, regions, _reliability(entrants, slug), _risk(entrants, slug), without
                )
            )
    return parts


def _records(entrant: Entrant) -> list[CalibrationRecord]:
    names = {p.case for p in entrant.predictions}
    return [r for cell in entrant.cells for r in cell.calibration if r.case in names]


def _why_not(entrant: Entrant) -> list[str]:
    reasons = sorted({r.reason for r in _records(entrant) if r.reason})
    return [f"{entrant.label}: {', '.join(REASON_WORDS.get(reason, reason) for reason in reasons)}"] if reasons else []


def _table(entrants: list[Entrant], region: str) -> Numbers:
    rows = []
    for entrant in entrants:
        cells = [named(entrant)]
        for metric in _METRICS:
            found = summary_of(entrant, f"{metric}@{region}")
            text = "–" if found.mean is None else f"{found.mean:.4f}"
            undefined = sum(entrant.undefined(f"{metric}@{region}").values())
            interval = (
                bounds(found) if found.low is None or found.high is None else f"{found.low:.4f} to {found.high:.4f}"
            )
            note = f"{undefined} undefined" if undefined else interval
            cells.append(Shown(found.mean, text, note))
        rows.append(tuple(cells))
    return Numbers(("model", "Brier", "log loss", "ECE, foreground", "ECE, top label", "MCE"), tuple(rows))


def _reliability(entrants: list[Entrant], slug: str) -> Plot | None:
    pooled = {}
    for entrant in entrants:
        held = [c for r in _records(entrant) if (c := r.calibration(SHOWN_REGION)) is not None]
        if held:
            pooled[entrant.label] = sum(held, Calibration()).foreground
    if not pooled:
        return None
    rows = tuple(
        (
            Shown(None, label),
            *(
                Shown(float(t / n) if n else None, number(float(t / n)) if n else "–", f"{n:.0f} voxels")
                for n, _, t in zip(bins.voxels, bins.predicted, bins.true, strict=True)
            ),
        )
        for label, bins in pooled.items()
    )
    head = ("model", *(f"≤ {n / 10:.1f}" for n in range(1, 11)))
    caption = (
        f"Voxels of all cases in the {REGION_WORDS[SHOWN_REGION]}, ten bins of the probability. Below the diagonal the "
        "model is too sure of tumour. In the whole volume background makes every model look calibrated."
    )
    return Plot(reliability_plot(pooled, f"{slug}-reliability"), caption, Numbers(head, rows))


def _risk(entrants: list[Entrant], slug: str) -> Plot | None:
    curves, rows = {}, []
    for entrant in entrants:
        both = _two_orders(entrant)
        if both is None:
            continue
        by_entropy, by_volume = both
        curves[entrant.label] = by_entropy
        numbers = (by_entropy.area, by_volume.area, by_entropy.ideal, by_entropy.random)
        rows.append(
            (
                named(entrant),
                *(Shown(v, f"{v:.3f}") for v in numbers),
                Shown(len(by_entropy.risk), str(len(by_entropy.risk))),
            )
        )
    if not curves:
        return None
    caption = (
        "Cases enter in the order of the entropy in and round the predicted mask. A useful order has a "
        "smaller area than that of the predicted volume (small first out), which needs no probability."
    )
    head = ("model", "area by entropy", "area by predicted volume", "ideal order", "random order", "cases")
    return Plot(risk_plot(curves, f"{slug}-risk"), caption, Numbers(head, tuple(rows)))


def _two_orders(entrant: Entrant) -> tuple[RiskCoverage, RiskCoverage] | None:
    """By entropy and by predicted volume; None below `FEWEST` cases. Draws and seeds of a case are averaged."""
    dice = entrant.by_case(PRIMARY)
    entropy: dict[str, list[float]] = {}
    volume: dict[str, list[float]] = {}
    for record in _records(entrant):
        if record.uncertainty is not None:
            entropy.setdefault(base_case(record.case), []).append(record.uncertainty)
    for prediction in entrant.predictions:
        if prediction.volume_prediction_mm3 is not None:
            volume.setdefault(base_case(prediction.case), []).append(prediction.volume_prediction_mm3)
    cases = [case for case in dice if case in entropy and case in volume]
    if len(cases) < FEWEST:
        return None
    risk = [1 - dice[case] for case in cases]
    mean = {name: [sum(held[c]) / len(held[c]) for c in cases] for name, held in (("e", entropy), ("v", volume))}
    return risk_coverage(mean["e"], risk), risk_coverage([-v for v in mean["v"]], risk)
