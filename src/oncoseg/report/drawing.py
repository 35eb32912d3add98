"""Figures for papers by name: drawn from a finished run, saved as PNG, SVG, words and numbers.

The files of `oncoseg.report.paper_figures` hold one figure each. Equal results give equal bytes: nothing in a figure
depends on the clock, the machine or chance.
"""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oncoseg import registry
from oncoseg.config import fill
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult, read_run
from oncoseg.files import write_text, written_whole
from oncoseg.report.figures import PALETTE
from oncoseg.report.naming import names_in_words

Kind = Literal["png", "svg", "txt", "csv"]
#: What `save` writes unless told otherwise; words and numbers are the figure's text alternative.
KINDS: tuple[Kind, ...] = ("png", "svg", "txt", "csv")
DOTS_PER_INCH = 200
INK, FAINT, GRID = "#1a1a1a", "#5f6670", "#dcdfe3"
#: Colour, marker and dash of the n-th model, so that nothing is told by colour alone.
MARKERS, DASHES = "osD^vPX*", ("-", "--", "-.", ":")
_STYLE: dict[str, Any] = {
    # One pixel a point, as `figures` places names.
    "figure.dpi": 72,
    # Outlines of letters: the file looks the same where the font is missing.
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


class PaperFigure(Figure):
    """A figure that can say what it shows.

    Attributes:
        title: of the figure, without numbers.
        words: what is drawn, from how many cases, by which rule, with the numbers: the text alternative.
        numbers: everything that is drawn, one row a mark; all rows have the same keys.
    """

    title: str = ""
    words: str = ""
    numbers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Selection:
    """What every figure lets one choose.

    Attributes:
        dataset: id of the data set in the matrix; "" for all, or for the only one.
        models: labels of the report's tables, in the order they are to have; empty for all.
        prompts: labels of prompts; empty for all.
        names: what is printed in place of a label or of a data set's id. Labels that end in a piece of a key have
            words already, see `oncoseg.report.naming`.
    """

    dataset: str = ""
    models: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def named(self, label: str) -> str:
        """What is printed for a label."""
        return self.names.get(label, label)


def names() -> list[str]:
    """The figures there are, as they are called."""
    return [name.replace("_", "-") for name in registry.names("figures")]


def title_of(name: str) -> str:
    """What a figure shows, in one sentence; raises UnknownNameError."""
    title: str = _module(name).TITLE
    return title


def choices_of(name: str) -> list[str]:
    """What one may choose of a figure, each as `name=default`; raises UnknownNameError."""
    empty: dict[Any, str] = {(): "[]", "": '""', None: "none"}
    shown = []
    for one in fields(_module(name).Choices):
        value = one.default if one.default is not MISSING else {}
        shown.append(f"{one.name}={empty.get(value, value) if not isinstance(value, dict) else '{}'}")
    return shown


def draw(name: str, run: Path | Sequence[CellResult], **choices: Any) -> PaperFigure:
    """Draw a figure.

    Args:
        name: of `names`.
        run: folder of a run, or its finished cells.
        choices: of the figure, see `Choices` in its file.

    Raises:
        UnknownNameError: for another figure, model, prompt or data set; suggests near ones.
        ConfigError: for a choice that the figure does not have.
        InputError: when the run holds nothing that the figure could show; says what it needs.
    """
    module = _module(name)
    chosen: Any = fill(module.Choices, choices, f"figure {name}")
    results = read_run(run) if isinstance(run, Path) else list(run)
    if not results:
        raise InputError(f"figure {name}: no finished cell was given.")
    chosen = replace(chosen, names={**names_in_words(results), **chosen.names})
    with mpl.rc_context(_STYLE):
        figure: PaperFigure = module.draw(results, chosen)
    figure.title = module.TITLE
    return figure


def save(figure: PaperFigure, stem: Path, kinds: Sequence[Kind] = KINDS) -> list[Path]:
    """Write `stem`.png (200 dots an inch), .svg, .txt (the words) and .csv (the numbers), each whole or not at all.

    Returns:
        The files, in the order of `kinds`.

    Raises:
        InputError: when one cannot be written.
    """
    written = []
    for kind in kinds:
        target = stem.parent / f"{stem.name}.{kind}"
        if kind == "txt":
            write_text(target, f"{figure.title}\n\n{figure.words}\n")
        elif kind == "csv":
            write_text(target, _csv(figure.numbers))
        else:
            _picture(figure, target, kind)
        written.append(target)
    return written


def note(figure: Figure, sentences: str) -> None:
    """Write small print under a figure, broken to its width."""
    lines = note_lines(sentences, float(figure.get_figwidth()))
    figure.supxlabel("\n".join(lines), fontsize=7.5, color=FAINT, x=0.01, ha="left")


def note_lines(sentences: str, inches: float) -> list[str]:
    """The lines of a note under a figure of some width."""
    kept = re.sub(r" ([<=]) ", "\u00a0\\1\u00a0", sentences).replace("* P", "*\u00a0P")
    return textwrap.wrap(kept, max(40, int(inches * 16.2)))


def line_style(position: int) -> dict[str, Any]:
    """Colour, marker and dash of the n-th line."""
    return {
        "color": PALETTE[position % len(PALETTE)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": DASHES[position // len(PALETTE) % len(DASHES)],
    }


def draw_means(axes: Axes, x: Sequence[float], summaries: Sequence[Summary], *, label: str, style: Any) -> None:
    """Means as a line, their intervals as bars; nothing where there is no mean, no bar where there is no interval."""
    held = [(at, s, s.mean) for at, s in zip(x, summaries, strict=True) if s.mean is not None]
    if held:
        low = [mean - (mean if s.low is None else s.low) for _, s, mean in held]
        high = [(mean if s.high is None else s.high) - mean for _, s, mean in held]
        axes.errorbar([at for at, _, _ in held], [mean for _, _, mean in held], yerr=[low, high], label=label,
                      markersize=4.5, linewidth=1.5, elinewidth=1.0, capsize=2, **style)  # fmt: skip


def from_zero(axes: Axes) -> None:
    """Take values below 0, which no score has, off an axis of scores; all of it is shown where every score is 0."""
    low, high = axes.get_ylim()
    ends = axes.dataLim.y0, axes.dataLim.y1
    if ends == (0.0, 0.0):
        axes.set_ylim(-0.02, 1.0)
    elif low < 0:
        axes.set_ylim(-0.03 * high, high)


def _module(name: str) -> ModuleType:
    if name.replace("-", "_") not in registry.names("figures"):
        raise UnknownNameError("figure", name, names())
    return registry.load("figures", name)


def _picture(figure: PaperFigure, target: Path, kind: Kind) -> None:
    said = {"Title": figure.title, "Description": figure.words}
    bare: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({**_STYLE, "svg.hashsalt": figure.title}), written_whole(target) as temporary:
        figure.savefig(temporary, format=kind, dpi=DOTS_PER_INCH, metadata={**bare, **said})


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
