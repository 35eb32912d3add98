"""From a matplotlib figure to SVG inside the page.

Text stays text and takes the page's colours, so one file serves light and dark pages. Nothing in a figure
depends on the clock or on chance: equal numbers give equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

#: Stand-ins that become CSS variables of the page.
INK, FAINT, GRID, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--line)", PAPER: "var(--paper)"}
#: Above this many points they get no tooltips.
TOOLTIPS_UP_TO = 600
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


#: Axes, position in their data, text.
Tip = tuple[Any, float, float, str]


def inline_svg(draw: Callable[[Figure], list[Tip]], slug: str, *, size: tuple[float, float], alt: str) -> str:
    """What `draw` draws, as SVG text for the page.

    Args:
        draw: draws into the figure and returns the points that get a tooltip.
        slug: distinct within the page.
        size: inches (width, height); the figure is no wider on the page than 105 pixels an inch.
        alt: what the figure shows, for those who do not see it.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": slug}):
        figure = Figure(figsize=size, dpi=72, layout="constrained")
        places = draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", dpi=144, metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue(), slug, alt=alt, hits=_hits(figure, places), size=size)


def _hits(figure: Figure, tips: Sequence[Tip]) -> str:
    """Transparent circles that carry a browser's own tooltip."""
    if len(tips) > TOOLTIPS_UP_TO:
        return ""
    height = float(figure.bbox.height)
    circles = []
    for axes, value_x, value_y, text in tips:
        x, y = axes.transData.transform((value_x, value_y))
        circles.append(
            f'<circle class="hit" cx="{x:.1f}" cy="{height - y:.1f}" r="5"><title>{escape(text)}</title></circle>'
        )
    return "".join(circles)


#: Three and more markers in a row that look alike.
_SAME_STYLE = re.compile(r'<use [^>]*? style="([^"]*)"/>\n(?:<use [^>]*? style="\1"/>\n){2,}')


def _styled_once(run: re.Match[str]) -> str:
    style = f' style="{run[1]}"'
    return f"<g{style}>\n{run[0].replace(style, '')}</g>\n"


def _inline(svg: str, slug: str, *, alt: str, hits: str, size: tuple[float, float]) -> str:
    """Make matplotlib's file a part of the page: own ids, page colours, no prologue, style or metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"|font-family: [^;"]*;? ?', "", svg)
    svg = re.sub(r'<g id="[^"]*">\s*<path [^>]*style="fill: none"/>\s*</g>', "", svg)
    # Coordinates, not the numbers on the axes.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", tag[0]), svg)
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg))
    referenced = {name for pair in used for name in pair if name}
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{slug}-{m[1]}"' if m[1] in referenced else "", svg)
    svg = re.sub(r'href="#([^"]*)"', rf'href="#{slug}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{slug}-\1)", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r"\n\s*", "\n", svg).replace("<defs>\n</defs>\n", "")
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"', "", svg)
    svg = _SAME_STYLE.sub(_styled_once, svg)
    # Groups that lost their name hold one element each, most of them twice.
    for _ in range(2):
        svg = re.sub(r"<g>\n(<(?!g\b)[^>]*/>|<text[^>]*>[^<]*</text>)\n</g>", r"\1", svg)
    widest = round(105 * size[0])
    style = f"max-width:{widest}px;min-width:{min(widest, 560)}px"
    head = f'<svg class="plot" role="img" aria-label="{escape(alt)}" style="{style}"'
    return svg.strip().replace("<svg", head, 1).removesuffix("</svg>") + hits + "</svg>"


def tips_of(axes: Any, names: Sequence[str], x: Any, y: Any, label: str) -> list[Tip]:
    """A tooltip for each point of one row or line."""
    return [
        (axes, float(a), float(b), f"{label} · {name}" if name else label)
        for name, a, b in zip(names, x, y, strict=True)
    ]
