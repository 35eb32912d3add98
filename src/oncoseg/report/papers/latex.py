"""A table as LaTeX, to be taken up by `input`; needs the packages booktabs and graphicx."""

from __future__ import annotations

from oncoseg.report.papers.filling import FilledTable
from oncoseg.report.papers.grid import Grid, GridCell, grid_of, numbered_reasons, scored_by

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": r"$-$",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "³": r"$^{3}$",
    "²": r"$^{2}$",
    "–": "--",
    "<": r"$<$",
    ">": r"$>$",
}


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it is.

    Example:
        >>> print(escaped("50 % of A_1"))
        50 \% of A\_1
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def as_latex(table: FilledTable, told: tuple[str, ...] = ()) -> str:
    """The table with its caption, its notes below.

    Args:
        table: filled.
        told: sentences that stand below the notes.
    """
    grid = grid_of(table)
    columns = "l" * len(grid.stub) + "".join("l" if c.part == "words" else "r" for c in grid.columns)
    layout = table.layout
    rows = [_row(grid, number) for number in range(len(grid.labels))]
    notes = [*table.notes, *scored_by(table), *numbered_reasons(grid), *told]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{escaped(layout.title)}. Ours beside the published values of {escaped(layout.paper)}.}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *_head(grid),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\footnotesize {escaped(note)}" for note in (*notes, *_flagged(grid))),
            r"\end{table*}",
            "",
        ]
    )


def _head(grid: Grid) -> list[str]:
    """One line a level of heads, with rules below heads that stand over several columns."""
    levels = len(grid.columns[0].heads) if grid.columns else 0
    lines = []
    for level in range(levels):
        last = level == levels - 1
        cells = [escaped(head) if last else "" for head in grid.stub]
        rules, place = [], len(grid.stub) + 1
        for text, count in grid.spans(level):
            cells.append(escaped(text) if count == 1 else rf"\multicolumn{{{count}}}{{c}}{{{escaped(text)}}}")
            rules += [rf"\cmidrule(lr){{{place}-{place + count - 1}}}"] if count > 1 and text else []
            place += count
        lines.append(" & ".join(cells) + r" \\" + " ".join(rules))
    return lines


def _row(grid: Grid, number: int) -> str:
    labels = [escaped(label) for label in grid.labels[number]]
    labels[-1] += _mark(grid, number)
    return " & ".join([*labels, *(_cell(cell) for cell in grid.cells[number])]) + r" \\"


def _cell(cell: GridCell) -> str:
    return escaped(cell.text) + (rf" {{\scriptsize {escaped(cell.note)}}}" if cell.note else "")


def _all_flags(grid: Grid) -> list[str]:
    return list(dict.fromkeys(flag for flags in grid.flags for flag in flags))


def _mark(grid: Grid, number: int) -> str:
    places = [_all_flags(grid).index(flag) + 1 for flag in grid.flags[number]]
    return rf"\textsuperscript{{{','.join(map(str, places))}}}" if places else ""


def _flagged(grid: Grid) -> list[str]:
    return [f"[{place}] {flag}." for place, flag in enumerate(_all_flags(grid), start=1)]
