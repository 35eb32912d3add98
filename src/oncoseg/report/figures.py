"""The report's plots as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from oncoseg.report.svg import FAINT, INK, Tip, inline_svg, tips_of
from oncoseg.report.tables import magnitude, number

#: Okabe and Ito's colours that are legible on white and on near-black; distinguishable with colour blindness.
PALETTE = ("#0a7bc2", "#e08a00", "#0b9b74", "#d55e00", "#cc79a7", "#4fb0e8", "#a8860a", "#7b6bd6")
KIND_COLOURS = {"model": "#0a7bc2", "classical": "#e08a00", "null": "#8a8f98", "human": "#0b9b74"}
KIND_WORDS = {
    "model": "model",
    "classical": "classical method",
    "null": "null baseline (prompt alone)",
    "human": "human reader",
}
_MARKERS = "osD^vPX*"
#: Above this many points a cloud is drawn as pixels inside the vector axes.
RASTERISE_ABOVE = 300
#: Above this many lines their intervals are left to the table.
BANDS_UP_TO = 6


@dataclass(frozen=True)
class Cloud:
    """One model's cases: label, kind, and per case its name, a value and (for volume plots) an abscissa."""

    label: str
    kind: str
    cases: tuple[str, ...]
    values: tuple[float, ...]
    abscissae: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """One curve: label, kind, points in ascending x, and an interval where there is one."""

    label: str
    kind: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bubble:
    """One model in the cost plot, with the interval of its value where there is one."""

    label: str
    kind: str
    macs: float
    value: float
    parameters: int
    low: float | None = None
    high: float | None = None


def strip_plot(clouds: Sequence[Cloud], metric: str, slug: str) -> str:
    """Every case as a dot, one row a model, with median and quartiles; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        axes = figure.subplots()
        many = sum(len(c.values) for c in clouds) > RASTERISE_ABOVE
        tips = []
        for row, cloud in enumerate(clouds):
            y = row + _spread(cloud.values)
            style: dict[str, Any] = {"s": 22 if not many else 12, "alpha": 0.75, "linewidths": 0, "rasterized": many}
            axes.scatter(cloud.values, y, color=KIND_COLOURS[cloud.kind], **style)
            tips += tips_of(axes, cloud.cases, cloud.values, y, cloud.label)
            if len(cloud.values) > 4:
                low, middle, high = np.percentile(cloud.values, [25, 50, 75])
                axes.plot([low, high], [row, row], color=INK, linewidth=3, alpha=0.55, solid_capstyle="butt")
                axes.plot([middle], [row], "|", color=INK, markersize=17, markeredgewidth=2)
        axes.set_yticks(range(len(clouds)), [c.label for c in clouds])
        axes.set_ylim(len(clouds) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(f"{metric} of each case")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        _kind_legend(figure, [c.kind for c in clouds])
        return tips

    return inline_svg(draw, slug, size=(8.2, 1.15 + 0.42 * len(clouds)), alt=f"{metric} of each case, one row a model")


def volume_plot(clouds: Sequence[Cloud], metric: str, slug: str) -> str:
    """Metric against tumour volume in mL (logarithmic), one small panel a model; SVG text."""
    columns = min(3, len(clouds))
    rows = -(-len(clouds) // columns)

    def draw(figure: Figure) -> list[Tip]:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        many = sum(len(c.values) for c in clouds) > RASTERISE_ABOVE
        tips = []
        for cloud, axes in zip(clouds, grid.flat, strict=False):
            style: dict[str, Any] = {"s": 16 if not many else 9, "alpha": 0.7, "linewidths": 0, "rasterized": many}
            axes.scatter(cloud.abscissae, cloud.values, color=KIND_COLOURS[cloud.kind], **style)
            tips += tips_of(axes, cloud.cases, cloud.abscissae, cloud.values, cloud.label)
            _running_median(axes, cloud)
            axes.set_title(cloud.label)
        for position, axes in enumerate(grid.flat):
            axes.set_visible(position < len(clouds))
            axes.tick_params(labelbottom=position + columns >= len(clouds))
        first = grid.flat[0]
        _log_axis(first.xaxis, [v for c in clouds for v in c.abscissae], lambda v: f"{v:g}")
        first.set_ylim(-0.03, 1.03)
        figure.supxlabel("tumour volume (mL)", fontsize=10)
        figure.supylabel(metric, fontsize=10)
        return tips

    return inline_svg(
        draw,
        slug,
        size=(1.0 + 2.4 * columns, 0.7 + 1.9 * rows),
        alt=f"{metric} against tumour volume, one panel a model",
    )


def curve_plot(lines: Sequence[Line], metric: str, slug: str, *, x_label: str) -> str:
    """Mean metric against something that was varied, one line a model; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        axes = figure.subplots()
        tips = []
        for line, style in zip(lines, line_styles(lines), strict=True):
            axes.plot(line.x, line.y, label=line.label, markersize=6, linewidth=1.8, **style)
            if line.low and len(lines) <= BANDS_UP_TO:
                axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.10, linewidth=0)
            names = [f"{x:g}: {number(y)}" for x, y in zip(line.x, line.y, strict=True)]
            tips += tips_of(axes, names, line.x, line.y, line.label)
        axes.set_xticks(sorted({x for line in lines for x in line.x}))
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(x_label)
        axes.set_ylabel(f"mean {metric}")
        figure.legend(loc="outside right upper", fontsize=9, handlelength=2.6)
        return tips

    return inline_svg(draw, slug, size=(8.2, 3.6), alt=f"Mean {metric}, one line a model, against: {x_label}")


def cost_plot(bubbles: Sequence[Bubble], metric: str, slug: str) -> str:
    """Mean metric against operations (logarithmic), bubble area by parameters, with reference sizes; SVG text."""

    def draw(figure: Figure) -> list[Tip]:
        axes = draw_bubbles(figure, bubbles, metric)
        notes = [f"{magnitude(b.macs)}MACs, {magnitude(b.parameters)} parameters" for b in bubbles]
        tips = [tips_of(axes, [n], [b.macs], [b.value], b.label) for b, n in zip(bubbles, notes, strict=True)]
        return [tip for of_one in tips for tip in of_one]

    return inline_svg(draw, slug, size=(8.2, 3.9), alt=f"Mean {metric} against operations, bubble area by parameters")


def draw_bubbles(figure: Figure, bubbles: Sequence[Bubble], metric: str) -> Axes:
    """The cost plot in a figure, with names that do not overlap and the sizes of 10, 50 and 100 million parameters."""
    axes = figure.subplots()
    macs, values = [b.macs for b in bubbles], [b.value for b in bubbles]
    areas = [_area(b.parameters) for b in bubbles]
    colours = [KIND_COLOURS[b.kind] for b in bubbles]
    axes.scatter(macs, values, s=areas, c=colours, alpha=0.55, edgecolors=colours, linewidths=1.2)
    _log_axis(axes.xaxis, macs, lambda v: magnitude(v).replace(".0", ""), margin=0.35)
    for bubble in bubbles:
        if bubble.low is not None and bubble.high is not None:
            axes.plot([bubble.macs] * 2, [bubble.low, bubble.high], color=INK, linewidth=1.0, alpha=0.7)
    ends = [end for b in bubbles for end in (b.low, b.value, b.high) if end is not None]
    low, high = min(ends), max(ends)
    room = max(0.08, 0.25 * (high - low))
    axes.set_ylim(max(-0.02, low - room), min(1.04, high + room))
    axes.set_xlabel("multiply-accumulate operations of the whole volume")
    axes.set_ylabel(f"mean {metric}")
    handles = [
        axes.scatter([], [], s=_area(n), facecolors="none", edgecolors=FAINT, label=magnitude(n).replace(".0", ""))
        for n in (10_000_000, 50_000_000, 100_000_000)
    ]
    figure.legend(
        handles=handles,
        title="parameters",
        loc="outside right upper",
        labelspacing=2.5,
        borderpad=1.2,
        handletextpad=1.4,
    )
    figure.canvas.draw()
    _place_labels(axes, bubbles, areas)
    return axes


#: Panels whose differences mean nothing without the zero.
_FROM_ZERO = ("learning rate", "samples per second")


def training_plot(curves: Mapping[str, Sequence[Line]], x_label: str, slug: str) -> str:
    """Training curves, one panel a quantity (losses, validation scores, ...), two in a row; SVG text."""
    rows = -(-len(curves) // 2)

    def draw(figure: Figure) -> list[Tip]:
        panels = figure.subplots(rows, min(2, len(curves)), squeeze=False, sharex=True).ravel()
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        for axes, (title, lines) in zip(panels, curves.items(), strict=False):
            for line, style in zip(lines, line_styles(lines), strict=True):
                axes.plot(line.x, line.y, label=line.label, linewidth=1.6, markersize=3.5, **style)
            axes.set_title(title)
            axes.set_xlabel(x_label)
            axes.tick_params(labelbottom=True)
            if title in _FROM_ZERO:
                axes.set_ylim(0, 1.08 * max(max(line.y) for line in lines) or None)
            if len(lines) > 1:
                axes.legend(fontsize=8.5)
        return []

    names = ", ".join(curves)
    return inline_svg(draw, slug, size=(8.2, 0.4 + 2.3 * rows), alt=f"Training curves: {names}")


def _spread(values: Sequence[float]) -> np.ndarray[Any, Any]:
    """Vertical offsets that keep near-equal values apart: neighbours in order of value fan out."""
    order = np.argsort(np.argsort(np.asarray(values), kind="stable"), kind="stable")
    fan = np.array([0.0, 0.12, -0.12, 0.24, -0.24])
    return fan[order % len(fan)] if len(values) > 1 else np.zeros(len(values))


def _running_median(axes: Any, cloud: Cloud) -> None:
    """A line through the medians of five groups of equal size; none below 15 cases."""
    if len(cloud.values) < 15:
        return
    order = np.argsort(cloud.abscissae, kind="stable")
    parts = np.array_split(order, 5)
    x = [float(np.median(np.asarray(cloud.abscissae)[p])) for p in parts]
    y = [float(np.median(np.asarray(cloud.values)[p])) for p in parts]
    axes.plot(x, y, color=INK, linewidth=1.6, alpha=0.8)


def _log_axis(axis: Any, values: Sequence[float], words: Callable[[float], str], margin: float = 0.12) -> None:
    """Logarithmic axis with ticks in words at 1, 3 and 10 (wide ranges: 1 and 10)."""
    low, high = np.log10(min(values)) - margin, np.log10(max(values)) + margin
    axes = axis.axes
    axes.set_xscale("log")
    axes.set_xlim(10**low, 10**high)
    steps = (1.0,) if high - low > 2.5 else (1.0, 3.0) if high - low > 0.9 else (1.0, 2.0, 3.0, 5.0, 7.0)
    decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    axis.set_ticks([s * 10.0**d for d in decades for s in steps if low <= np.log10(s * 10.0**d) <= high])
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(FuncFormatter(lambda v, _: words(float(f"{v:.6g}"))))


def line_styles(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Colour, marker and dash by position, so that no line is told by colour alone; baselines are grey and dashed."""
    styles, drawn = [], 0
    for number_, line in enumerate(lines):
        if line.kind == "null":
            styles.append({"color": KIND_COLOURS["null"], "linestyle": "--", "marker": _MARKERS[number_ % 8]})
            continue
        dash = ("-", "-.", ":")[drawn // len(PALETTE) % 3]
        styles.append({"color": PALETTE[drawn % 8], "linestyle": dash, "marker": _MARKERS[number_ % 8]})
        drawn += 1
    return styles


def _kind_legend(figure: Figure, kinds: Sequence[str]) -> None:
    present = [k for k in KIND_COLOURS if k in kinds]
    handles = [
        Line2D([], [], marker="o", linestyle="", color=KIND_COLOURS[k], label=KIND_WORDS[k], markersize=6)
        for k in present
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(present), fontsize=9, handletextpad=0.2)


def _area(parameters: int) -> float:
    """Marker area in square points: proportional to parameters, with a floor so that small ones can be seen."""
    return max(18.0, 9.0 * parameters / 1e6)


def _place_labels(axes: Any, bubbles: Sequence[Bubble], areas: Sequence[float]) -> None:
    """Write each name beside its bubble, moved up or down until it touches no name or bubble."""
    taken: list[tuple[float, float, float, float]] = []  # left, middle, width, half the height
    for bubble, area in zip(bubbles, areas, strict=True):
        x, y = axes.transData.transform((bubble.macs, bubble.value))
        taken.append((x - area**0.5 / 2, y, area**0.5, area**0.5 / 2))
    right_edge = axes.bbox.x1
    for index in sorted(range(len(bubbles)), key=lambda i: -bubbles[i].value):
        bubble, radius = bubbles[index], (areas[index] ** 0.5) / 2 + 4
        x, y = axes.transData.transform((bubble.macs, bubble.value))
        width = 6.2 * len(bubble.label)
        to_left = x + radius + width > right_edge
        left = x - radius - width if to_left else x + radius
        shift = _free_shift(taken, left, y, width)
        taken.append((left, y + shift, width, 6.0))
        axes.annotate(
            bubble.label,
            (bubble.macs, bubble.value),
            xytext=(-radius if to_left else radius, shift),
            textcoords="offset points",
            ha="right" if to_left else "left",
            va="center",
            fontsize=9,
        )


def _free_shift(taken: Sequence[tuple[float, float, float, float]], left: float, y: float, width: float) -> float:
    for step in range(40):
        shift = 6.0 * ((step + 1) // 2) * (1 if step % 2 else -1)
        if all(abs(y + shift - ty) >= 6 + half or left + width < tx or tx + tw < left for tx, ty, tw, half in taken):
            return shift
    return 0.0
