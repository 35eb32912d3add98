"""Figures of lesions, probabilities, volumes and scoring rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from oncoseg.evaluation.calibration import Bins
from oncoseg.evaluation.froc import RATES, Froc
from oncoseg.evaluation.risk_coverage import RiskCoverage
from oncoseg.evaluation.volumetry import BlandAltman
from oncoseg.report.figures import KIND_COLOURS, PALETTE
from oncoseg.report.svg import FAINT, INK, Tip, inline_svg
from oncoseg.report.tables import number

_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Volumes:
    """Predicted and true volumes of one model in mL, one of each a case."""

    label: str
    kind: str
    cases: tuple[str, ...]
    true: tuple[float, ...]
    predicted: tuple[float, ...]


def froc_plot(curves: Mapping[str, Froc], slug: str) -> str:
    """Sensitivity against false positives per scan, from 1/8 to 8 on a logarithmic axis; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        axes = figure.subplots()
        for style, (label, curve) in zip(_styles(len(curves)), curves.items(), strict=True):
            x = np.maximum(np.array((*curve.false_per_scan, RATES[-1])), RATES[0] / 2)
            axes.step(x, (*curve.sensitivity, curve.sensitivity[-1]), where="post", label=label, **style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes.set_xlim(RATES[0] / 2, RATES[-1])
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("false lesions per scan")
        axes.set_ylabel("share of lesions found")
        figure.legend(loc="outside right upper", fontsize=9)
        return []

    return inline_svg(draw, slug, size=(8.2, 3.4), alt="Share of lesions found against false lesions per scan")


def reliability_plot(held: Mapping[str, Bins], slug: str) -> str:
    """Share of tumour against the probability of tumour, one small panel a model; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        tips: list[Tip] = []
        for axes, (label, bins) in zip(_panels(figure, len(held)), held.items(), strict=False):
            filled = bins.voxels > 0
            x, y = (side[filled] / bins.voxels[filled] for side in (bins.predicted, bins.true))
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
            axes.plot(x, y, "o-", color=PALETTE[0], markersize=4.5, linewidth=1.4)
            axes.set_title(label)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            words = [f"{n:.0f} voxels" for n in bins.voxels[filled]]
            tips += [(axes, float(a), float(b), f"{label} · {w}") for a, b, w in zip(x, y, words, strict=True)]
        figure.supxlabel("mean probability of the bin", fontsize=10)
        figure.supylabel("share of tumour", fontsize=10)
        return tips

    return inline_svg(draw, slug, size=_size(len(held)), alt="Reliability diagrams, one panel a model")


def risk_plot(curves: Mapping[str, RiskCoverage], slug: str) -> str:
    """Mean of 1 - Dice against the share of cases that are let in; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        axes = figure.subplots()
        for style, (label, curve) in zip(_styles(len(curves)), curves.items(), strict=True):
            axes.plot(curve.coverage, curve.risk, label=label, **style)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of the cases, the most certain first")
        axes.set_ylabel("mean of 1 − Dice")
        figure.legend(loc="outside right upper", fontsize=9)
        return []

    return inline_svg(draw, slug, size=(8.2, 3.2), alt="Risk against coverage, one line a model")


def bland_altman_plot(held: Sequence[tuple[Volumes, BlandAltman]], slug: str) -> str:
    """Volume error against the mean of both volumes, with bias and limits and their intervals; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        tips: list[Tip] = []
        panels = _panels(figure, len(held), sharey=True)
        for axes, (volumes, found) in zip(panels, held, strict=False):
            true, predicted = np.array(volumes.true), np.array(volumes.predicted)
            x, y = (true + predicted) / 2, predicted - true
            for limit, style in ((found.bias, "-"), (found.lower, "--"), (found.upper, "--")):
                axes.axhspan(limit.low, limit.high, color=INK, alpha=0.08, linewidth=0)
                axes.axhline(limit.value, color=INK, linewidth=1.1, linestyle=style)
            axes.scatter(x, y, s=16, alpha=0.75, linewidths=0, color=KIND_COLOURS[volumes.kind])
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.set_title(volumes.label)
            names = [f"{volumes.label} · {c}: {number(float(d), 'mL')}" for c, d in zip(volumes.cases, y, strict=True)]
            tips += [(axes, float(a), float(b), name) for a, b, name in zip(x, y, names, strict=True)]
        figure.supxlabel("mean of both volumes (mL)", fontsize=10)
        figure.supylabel("predicted − true (mL)", fontsize=10)
        return tips

    return inline_svg(
        draw, slug, size=_size(len(held)), alt="Volume errors with limits of agreement, one panel a model"
    )


def spread_plot(means: Mapping[str, Mapping[str, float]], slug: str) -> str:
    """One row a model, one dot a scoring rule; SVG text.

    Args:
        means: model -> rule -> mean Dice.
        slug: distinct within the page.
    """
    rules = list(dict.fromkeys(rule for row in means.values() for rule in row))

    def draw(figure: Figure) -> list[Tip]:
        axes = figure.subplots()
        tips: list[Tip] = []
        for row, (label, values) in enumerate(means.items()):
            axes.plot([min(values.values()), max(values.values())], [row, row], color=FAINT, linewidth=2, zorder=1)
            for place, rule in enumerate(rules):
                if rule in values:
                    style: dict[str, Any] = {
                        "color": PALETTE[place % len(PALETTE)],
                        "marker": "osD^vPX*"[place // 8 % 8],
                    }
                    style |= {"label": rule} if row == 0 else {}
                    axes.scatter([values[rule]], [row], s=42, linewidths=0, zorder=2, **style)
                    tips.append((axes, values[rule], float(row), f"{label} · {rule}: {number(values[rule])}"))
        axes.set_yticks(range(len(means)), list(means))
        axes.set_ylim(len(means) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("mean Dice of the same predictions")
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside right upper", fontsize=8.5)
        return tips

    return inline_svg(
        draw,
        slug,
        size=(8.2, max(2.6, 1.1 + 0.4 * len(means))),
        alt="Mean Dice under each scoring rule, one row a model",
    )


def _styles(lines: int) -> list[dict[str, Any]]:
    return [
        {"color": PALETTE[n % len(PALETTE)], "linestyle": _DASHES[n // len(PALETTE) % len(_DASHES)], "linewidth": 1.7}
        for n in range(lines)
    ]


def _panels(figure: Figure, panels: int, *, sharey: bool = True) -> list[Any]:
    columns = min(3, panels)
    grid = figure.subplots(-(-panels // columns), columns, sharex=True, sharey=sharey, squeeze=False)
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < panels)
        axes.tick_params(labelbottom=place + columns >= panels)
    return list(grid.flat)


def _size(panels: int) -> tuple[float, float]:
    columns = min(3, panels)
    return 1.0 + 2.4 * columns, 0.7 + 2.0 * -(-panels // columns)
