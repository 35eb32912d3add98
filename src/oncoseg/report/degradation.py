"""Curves of a score against prompts that get worse, one figure an axis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from oncoseg.config import content_key
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.degrading import AXES, Axis
from oncoseg.report import figures
from oncoseg.report.estimates import summary_of, summary_of_cases
from oncoseg.report.groups import PRIMARY, Entrant, Group, by_jitter, on_common_cases
from oncoseg.report.plots import METRIC, Numbers, Plot
from oncoseg.report.tables import Shown, bounds, flag_of, number

#: Level -> entrant, of one model on one axis.
Curve = Mapping[float, Entrant]


class Degradation(NamedTuple):
    """What the report shows of one axis on one data set."""

    title: str
    plot: Plot


@dataclass(frozen=True)
class Area:
    """The area under one curve.

    Attributes:
        summary: mean Dice over the range of levels, by the trapezoidal rule, with its interval over patients.
        kept: the same as a share of the undegraded Dice; None where that is 0.
    """

    summary: Summary
    kept: float | None


def curves(groups: Sequence[Group], axis: Axis) -> dict[str, Curve]:
    """Label -> curve, of the models of one data set that were tried at several levels of an axis.

    All entrants are cut down to the cases that all of them have, so that curves differ by the level alone.
    """
    if axis.name == "jitter_mm":
        found: dict[str, Curve] = dict(by_jitter(groups))
    else:
        found = _by_level(groups, axis)
    return {label: at for label, at in found.items() if all(e.by_case(PRIMARY) for e in at.values())}


def worse_prompts(groups: Sequence[Group]) -> frozenset[str]:
    """Labels of prompts that were made worse on purpose: the findings of their tables belong to a curve."""
    held = [at for axis in AXES.values() for at in curves(groups, axis).values()]
    return frozenset(e.record.prompt for at in held for level, e in at.items() if level != min(at))


def degradations(groups: Sequence[Group], slug: str) -> list[Degradation]:
    """A figure with its numbers for every axis with at least one curve.

    Args:
        groups: of one data set.
        slug: name of the figures, to be followed by the axis.
    """
    found = ((axis, curves(groups, axis)) for axis in AXES.values())
    return [Degradation(_heading(axis), _plot(axis, held, f"{slug}-{axis.name}")) for axis, held in found if held]


def sentences(groups: Sequence[Group]) -> list[str]:
    """How far each model falls, one sentence an axis."""
    told = []
    for axis in AXES.values():
        falls = []
        for label, at in curves(groups, axis).items():
            before, after = (summary_of(at[x], PRIMARY).mean for x in (min(at), max(at)))
            if before is not None and after is not None:
                falls.append((-before, f"{label} {number(before)} to {number(after)}", max(at)))
        if falls:
            most = f"{max(level for *_, level in falls):g} {axis.unit}".strip()
            what = (
                f"box displaced by up to {most}" if axis.use == "box" else f"{axis.title}, {axis.levels[0]:g} to {most}"
            )
            name = groups[0].key.dataset
            told.append(f"{name} · {what}: mean Dice goes " + ", ".join(t for _, t, _ in sorted(falls)) + ".")
    return told


def area_of(at: Curve) -> Area:
    """Area under one curve, over the width of its range.

    The area of the mean is the mean of the cases' areas, so the interval is that of a mean over patients.
    """
    levels = sorted(at)
    values = [at[x].by_case(PRIMARY) for x in levels]
    shared = set.intersection(*(set(v) for v in values))
    width = levels[-1] - levels[0]
    areas = {c: float(np.trapezoid([v[c] for v in values], levels)) / width for c in sorted(shared)}
    summary, whole = summary_of_cases(areas, at[levels[0]].patients()), summary_of(at[levels[0]], PRIMARY).mean
    return Area(summary, summary.mean / whole if summary.mean is not None and whole else None)


def rows(groups: Iterable[Sequence[Group]]) -> Iterator[dict[str, Any]]:
    """Every point of every curve as plain data, for the download; `groups` are those of each data set."""
    for same in groups:
        for axis in AXES.values():
            for label, at in curves(same, axis).items():
                area = area_of(at)
                for level, entrant in sorted(at.items()):
                    e = summary_of(entrant, PRIMARY)
                    yield {
                        "dataset": same[0].key.dataset, "axis": axis.name, "unit": axis.unit, "model": label,
                        "level": level, "mean": e.mean, "low": e.low, "high": e.high, "patients": e.patients,
                        "area": area.summary.mean, "kept": area.kept,
                    }  # fmt: skip


def _by_level(groups: Iterable[Group], axis: Axis) -> dict[str, Curve]:
    found: defaultdict[tuple[str, str], dict[float, Entrant]] = defaultdict(dict)
    for entrant in (e for group in groups for e in group.entrants):
        level = axis.level_of(_prompt(entrant))
        if level is not None:
            found[entrant.label, content_key(axis.rest_of(_prompt(entrant)))][level] = entrant
    kept = {names: dict(sorted(at.items())) for names, at in found.items() if len(at) > 1}
    holders = Counter(label for label, _ in kept)
    named = {
        label if holders[label] == 1 else f"{label}, {at[max(at)].record.prompt}": at for (label, _), at in kept.items()
    }
    return dict(on_common_cases(named))


def _prompt(entrant: Entrant) -> Mapping[str, Any]:
    held = entrant.record.configuration.get("prompt")
    return held if isinstance(held, Mapping) else {}


def _heading(axis: Axis) -> str:
    if axis.name == "jitter_mm":
        return "how exact must the box be?"
    return f"{axis.title} ({axis.unit})" if axis.unit else axis.title


def _plot(axis: Axis, held: Mapping[str, Curve], slug: str) -> Plot:
    order = sorted(
        held, key=lambda label: (_kind(held[label]) == "null", -(area_of(held[label]).summary.mean or 0), label)
    )
    lines = [_line(label, held[label]) for label in order]
    levels = sorted({x for line in lines for x in line.x})
    unit = f" {axis.unit}" if axis.unit else ""
    head = ("model", *(f"{x:g}{unit}" for x in levels), "area (mean over the range)", "kept (area / undegraded)")
    head += (f"slope at {levels[0]:g}{f' (per {axis.unit})' if axis.unit else ''}",)
    numbers = Numbers(head, tuple(_row(label, held[label], levels, unit) for label in order))
    caption = (
        f"How much a model depends on exact prompts: mean over draws and the {_case_count(held)} that all share, with "
        "the same draws at every level. Area: mean Dice over the whole range. "
        "Dashed: null baselines, which answer from the prompt alone."
    )
    if any(line.low for line in lines) and len(lines) <= figures.BANDS_UP_TO:
        caption += " Band: 95 % interval over patients."
    x_label = f"{axis.title} ({axis.unit})" if axis.unit else axis.title
    return Plot(figures.curve_plot(lines, METRIC, slug, x_label=x_label), caption, numbers)


def _line(label: str, at: Curve) -> figures.Line:
    levels = sorted(at)
    estimates = [summary_of(at[x], PRIMARY) for x in levels]
    y = tuple(e.mean for e in estimates if e.mean is not None)
    low = tuple(e.low for e in estimates if e.low is not None)
    high = tuple(e.high for e in estimates if e.high is not None)
    banded = len(low) == len(high) == len(levels)
    return figures.Line(label, _kind(at), tuple(levels), y, low if banded else (), high if banded else ())


def _kind(at: Curve) -> str:
    return at[min(at)].kind


def _row(label: str, at: Curve, levels: Sequence[float], unit: str) -> tuple[Shown, ...]:
    estimates = {x: summary_of(at[x], PRIMARY) for x in levels if x in at}
    first, second = sorted(at)[:2]
    area = area_of(at)
    slope = ((estimates[second].mean or 0.0) - (estimates[first].mean or 0.0)) / (second - first)
    over = f"{min(at):g}–{max(at):g}{unit}; {bounds(area.summary)}"
    cells = [
        Shown(e.mean, number(e.mean), bounds(e)) if (e := estimates.get(x)) is not None else Shown(None, "–")
        for x in levels
    ]
    kept = "–" if area.kept is None else f"{area.kept:.1%}"
    return (
        Shown(None, label, flag_of(at[min(at)])),
        *cells,
        Shown(area.summary.mean, f"{area.summary.mean or 0.0:.3f}", over),
        Shown(area.kept, kept),
        Shown(slope, f"{slope:+.3f}".replace("-", "−")),
    )


def _case_count(held: Mapping[str, Curve]) -> str:
    cases = {case for at in held.values() for e in at.values() for case in e.by_case(PRIMARY)}
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"
