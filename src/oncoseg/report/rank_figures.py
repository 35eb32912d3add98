"""Pictures of rankings: ranks of resampled patients, significance, critical differences, ranks under other rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from oncoseg.evaluation.comparison.friedman import ALPHA, Friedman, Pairwise
from oncoseg.evaluation.comparison.ranking import Stability
from oncoseg.report.figures import KIND_COLOURS, PALETTE, Line, line_styles
from oncoseg.report.svg import FAINT, GRID, INK, Tip, inline_svg, tips_of

#: Shares of draws below this would be dots nobody sees; the table has them.
_SEEN = 0.005
_BETTER, _WORSE = PALETTE[0], PALETTE[3]


def blob_plot(stable: Stability, kinds: Mapping[str, str], slug: str) -> str:
    """How often each model takes each rank when patients are drawn anew; SVG text.

    One row a model, best first; area of a blob: share of the resamples; cross: rank on all patients; line: 95 %
    interval (after Wiesenfarth et al. 2021, figure 4).
    """
    order, models = stable.ranking.order, stable.ranking.models
    k = len(order)

    def draw(figure: Figure) -> list[Tip]:
        axes, tips = figure.subplots(), []
        for row, model in enumerate(order):
            at, colour = models.index(model), KIND_COLOURS[kinds[model]]
            shares = np.array(stable.frequency[at])
            places = np.flatnonzero(shares >= _SEEN) + 1
            held = shares[places - 1]
            interval, rank = stable.interval_of(model), stable.ranking.rank_of(model)
            if interval is not None:
                axes.plot(interval, [row, row], color=INK, linewidth=1.0, alpha=0.7)
            axes.scatter(places, [row] * places.size, s=380 * held, color=colour, alpha=0.75, linewidths=0)
            if rank is not None:
                axes.plot([rank], [row], "x", color=INK, markersize=6, markeredgewidth=1.4)
            names = [f"rank {place} in {share:.0%}" for place, share in zip(places, held, strict=True)]
            tips += tips_of(axes, names, places, [row] * places.size, model)
        axes.set_yticks(range(k), order)
        axes.set_ylim(k - 0.4, -0.6)
        axes.set_xticks(range(1, k + 1))
        axes.set_xlim(0.4, k + 0.6)
        axes.set_xlabel("rank when patients are drawn anew")
        axes.tick_params(axis="y", length=0)
        return tips

    alt = "How often each model takes each rank when patients are drawn anew"
    return inline_svg(draw, slug, size=(8.2, 0.9 + 0.36 * k), alt=alt)


def significance_plot(pairs: Pairwise, order: Sequence[str], slug: str, *, larger_is_better: bool) -> str:
    """Corrected p of every pair, coloured where it is below .05; SVG text.

    Blue: the row's model is better than the column's; vermilion: it is worse.
    """
    k, sign = len(order), 1 if larger_is_better else -1
    at = [pairs.models.index(model) for model in order]

    def draw(figure: Figure) -> list[Tip]:
        axes, tips = figure.subplots(), []
        cells: dict[str, list[Path]] = {GRID: [], _BETTER: [], _WORSE: []}
        for row, a in enumerate(at):
            for column, b in enumerate(at):
                p, effect = pairs.p[a][b], pairs.effect[a][b]
                if a == b:
                    cells[GRID].append(_cell(row, column))
                    continue
                if p is not None and effect is not None and p < ALPHA:
                    cells[_BETTER if sign * effect > 0 else _WORSE].append(_cell(row, column))
                axes.text(column, row, _short_p(p), ha="center", va="center", fontsize=8.5 if k <= 9 else 7.5)
                told = "not defined" if p is None else f"p = {p:.2g}, rank-biserial {effect or 0:+.2f}"
                tips.append((axes, float(column), float(row), f"{order[row]}, {order[column]}: {told}"))
        for colour, held in cells.items():
            if held:
                outline = Path.make_compound_path(*held)
                opacity = 1.0 if colour == GRID else 0.45
                axes.add_patch(PathPatch(outline, color=colour, alpha=opacity, linewidth=0, clip_on=False))
        axes.set_xticks(range(k), order, rotation=35, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set_yticks(range(k), order)
        axes.set_xlim(-0.5, k - 0.5)
        axes.set_ylim(k - 0.5, -0.5)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return tips

    alt = f"Corrected p of every pair of models, {pairs.test}, {pairs.correction}"
    longest = max(len(name) for name in order)
    return inline_svg(
        draw, slug, size=(min(9.6, 1.6 + 0.07 * longest + 0.62 * k), 1.3 + 0.045 * longest + 0.34 * k), alt=alt
    )


def critical_difference_plot(test: Friedman, pairs: Pairwise, distance: float, slug: str) -> str:
    """Mean ranks on a line, models that Nemenyi's test cannot tell apart joined by a bar; SVG text.

    Demšar 2006, figure 1; drawn by scikit-posthocs.
    """

    def draw(figure: Figure) -> list[Tip]:
        from pandas import DataFrame
        from scikit_posthocs import critical_difference_diagram

        axes = figure.subplots()
        names = list(test.models)
        drawn = critical_difference_diagram(
            dict(zip(names, test.mean_ranks, strict=True)),
            DataFrame(np.array(pairs.p, dtype=float), index=names, columns=names),
            alpha=ALPHA,
            ax=axes,
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            label_props={"fontsize": 9.5},
            elbow_props={"linewidth": 1.0},
            color_palette=dict.fromkeys(names, FAINT),
            marker_props={"s": 22, "color": _BETTER},
            crossbar_props={"color": INK, "linewidth": 2.4},
        )
        for label in drawn["labels"]:
            label.set_color(INK)
        for (bar,) in drawn["crossbars"]:
            # Equal mean ranks are joined by a bar of no length.
            ends = np.asarray(bar.get_xdata(), dtype=float)
            bar.set_data([ends.min() - 0.02, ends.max() + 0.02], np.asarray(bar.get_ydata())[:2])
        axes.grid(visible=False)
        # The diagram's own bounds leave no room for its labels.
        low, high = min(test.mean_ranks), max(test.mean_ranks)
        room = 0.06 * max(high - low, 0.5) * max(len(name) for name in names) / 4
        axes.set_xlim(low - room - 0.1, max(high, low + distance) + room + 0.1)
        bottom = min(float(label.get_position()[1]) for label in drawn["labels"])
        axes.plot([low, low + distance], [1.75, 1.75], color=INK, linewidth=2.4)
        axes.text(low + distance + 0.02 * (high - low) + 0.03, 1.75, f"CD = {distance:.2f}", va="center", fontsize=9.5)
        axes.set_ylim(bottom - 0.8, 2.2)
        axes.spines["top"].set_visible(True)
        axes.set_xticks(_ticks(low, high))
        return tips_of(axes, [f"mean rank {rank:.2f}" for rank in test.mean_ranks], test.mean_ranks, [0] * test.k, "")

    alt = "Mean ranks of the models; a bar joins models that Nemenyi's test cannot tell apart"
    return inline_svg(draw, slug, size=(8.2, 1.4 + 0.24 * test.k), alt=alt)


def rank_lines(rankings: Mapping[str, Mapping[str, int]], kinds: Mapping[str, str], slug: str) -> str:
    """The rank of each model under each rule, one line a model; SVG text.

    Lines that cross are models whose order hangs on the rule.
    """
    labels = list(rankings)
    order = sorted(kinds, key=lambda m: (rankings[labels[0]][m], m))
    lines = [Line(m, kinds[m], tuple(range(len(labels))), tuple(float(rankings[r][m]) for r in labels)) for m in order]

    def draw(figure: Figure) -> list[Tip]:
        axes, offsets = figure.subplots(), _beside(lines)
        for line, style, beside in zip(lines, line_styles(lines), offsets, strict=True):
            heights = [rank + shift for rank, shift in zip(line.y, beside, strict=True)]
            axes.plot(line.x, heights, label=line.label, linewidth=1.7, markersize=5.5, **style)
        axes.set_xticks(range(len(labels)), labels, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(1, len(lines) + 1))
        axes.set_ylim(len(lines) + 0.5, 0.5)
        axes.set_xlim(-0.25, len(labels) - 0.75)
        axes.set_ylabel("rank")
        figure.legend(loc="outside right upper", fontsize=9, handlelength=2.6)
        return []

    alt = f"Rank of each model by: {', '.join(labels)}"
    return inline_svg(draw, slug, size=(9.2, 1.7 + 0.27 * len(lines)), alt=alt)


def _beside(lines: Sequence[Line]) -> list[list[float]]:
    """Small vertical shifts that keep models of equal rank apart."""
    shifts = [[0.0] * len(line.y) for line in lines]
    for place in range(len(lines[0].y)):
        for rank in {line.y[place] for line in lines}:
            tied = [number for number, line in enumerate(lines) if line.y[place] == rank]
            for position, number in enumerate(tied):
                shifts[number][place] = min(0.16, 0.8 / len(tied)) * position
    return shifts


def _cell(row: int, column: int) -> Path:
    x, y = column - 0.47, row - 0.47
    return Path([(x, y), (x + 0.94, y), (x + 0.94, y + 0.94), (x, y + 0.94), (x, y)], closed=True)


def _short_p(p: float | None) -> str:
    return "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.9995 else "1"


def _ticks(low: float, high: float) -> list[float]:
    step = 1.0 if high - low > 3 else 0.5 if high - low > 1 else 0.2
    return [round(t, 2) for t in np.arange(np.floor(low / step) * step, high + step, step)]
