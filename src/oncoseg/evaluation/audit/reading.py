"""Tables from files: one value a line (long), or one method a line and one metric a column (wide).

Delimiter (comma, semicolon, tab, bar), decimal comma, percent signs, standard deviations behind the value, and bold or
underlined cells (Markdown, HTML, LaTeX) are recognised.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from oncoseg.errors import InputError
from oncoseg.evaluation.audit.cells import AVERAGES, TableCell, table_cells, understood
from oncoseg.evaluation.published import Printed
from oncoseg.files import require_file

#: Heads of label columns -> field of `Printed`.
_LABELS = {
    "paper": "paper",
    "table": "table",
    "dataset": "dataset",
    "data": "dataset",
    "data set": "dataset",
    "method": "method",
    "model": "method",
    "network": "method",
    "setting": "setting",
    "prompt": "setting",
    "protocol": "setting",
    "target": "target",
    "roi": "target",
    "structure": "target",
}
_VALUES = ("value", "mean")
_TARGETS = frozenset({"lung", "lungs", "tumor", "tumour", "gtv", "lesion", "lesions", "liver", "kidney", "pancreas"})
_TARGETS |= AVERAGES | {"left", "right", "l", "t", "heart", "background", "organ"}
_NO_METRIC = frozenset({"n", "rank", "cases", "patients", "epochs", "year", "level", "kind", "fold", "seed"})
_NOT_COUNTED = frozenset({"", "-", "–", "—", "n/a", "na", "nan", "none", "null", "n.r.", "nr", "✗", "/"})
_DELIMITERS = ";\t|,"
_MARKS = (
    ("best", re.compile(r"^(?:\*\*(.+)\*\*|<b>(.+)</b>|\\textbf\{(.+)\})$")),
    ("second", re.compile(r"^(?:__(.+)__|<u>(.+)</u>|\\underline\{(.+)\}|_(.+)_)$")),
)
_NUMBER = re.compile(r"^([-−+]?(?:\d+\.?\d*|\.\d+))\s*(%?)\s*(?:(?:±|\+/?-|\()\s*(\d+\.?\d*|\.\d+)\s*%?\)?)?$")
_THOUSANDS = re.compile(r"^[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$")
_WAY_OUT = (
    "A long table has the columns method, metric and value; a wide one a column of methods and columns named after "
    "metrics (Dice, IoU, ...), or --metric says what they hold. docs/reference/audit.md shows both."
)


class Read(NamedTuple):
    """A cell's text taken apart."""

    value: float
    decimals: int
    percent: bool
    sd: float | None
    mark: str


def read_table(source: Path, *, metric: str | None = None, percent: bool | None = None) -> tuple[TableCell, ...]:
    """Read a table of results.

    Args:
        source: CSV, TSV or a Markdown table.
        metric: what columns hold whose heads name no metric, e.g. "Dice".
        percent: whether shares are printed in percent; None finds out from heads and values.

    Raises:
        InputError: when the file cannot be read, or no column holds a metric; names line and column of a value that
            is no number.
    """
    require_file(source)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text: {error}. Save it as CSV in UTF-8.") from error
    lines, delimiter = _lines(text)
    if len(lines) < 2:
        raise InputError(f"{source} holds no row below its head. {_WAY_OUT}")
    head = [h.strip().lower() for h in lines[0]]
    value = next((v for v in _VALUES if v in head), None)
    long = "metric" in head and value is not None
    found = _long(source, lines, delimiter) if long else _wide(source, lines, delimiter, metric=metric)
    if not found:
        raise InputError(f"{source} holds no value that could be checked. {_WAY_OUT}")
    scaled = table_cells([p for p, _ in found], percent=percent or (True if _all_percent(found) else percent))
    return tuple(replace(c, sd=r.sd, mark=r.mark) for c, (_, r) in zip(scaled, found, strict=True))


def _lines(text: str) -> tuple[list[list[str]], str]:
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not rows:
        return [], ","
    delimiter = max(_DELIMITERS, key=lambda d: (rows[0].count(d), -_DELIMITERS.index(d)))
    if delimiter == "|":
        rows = [row.strip().strip("|") for row in rows if not re.fullmatch(r"[\s|:-]+", row)]
    return [[cell.strip() for cell in row] for row in csv.reader(rows, delimiter=delimiter)], delimiter


def _long(source: Path, lines: Sequence[Sequence[str]], delimiter: str) -> list[tuple[Printed, Read]]:
    head = [h.lower() for h in lines[0]]
    value_column = next(v for v in _VALUES if v in head)
    found = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise InputError(f"{source}:{number} has {len(line)} cells, its head {len(head)}. {_WAY_OUT}")
        row = dict(zip(head, line, strict=True))
        read = _number(row[value_column], delimiter, f"{source}:{number}, column {value_column}")
        if read is not None:
            decimals = int(row["printed_decimals"]) if row.get("printed_decimals", "").isdigit() else read.decimals
            found.append((_printed(row, row["metric"], read.value, decimals), read))
    return found


def _wide(
    source: Path, lines: Sequence[Sequence[str]], delimiter: str, *, metric: str | None
) -> list[tuple[Printed, Read]]:
    head = lines[0]
    labels = {n: _LABELS[h.lower()] for n, h in enumerate(head) if h.lower() in _LABELS}
    if "method" not in labels.values():
        labels.setdefault(0, "method")
    columns = {n: _column(h, metric) for n, h in enumerate(head) if n not in labels}
    known = {n: column for n, column in columns.items() if column is not None}
    if not known:
        raise InputError(f"No column of {source} is named after a metric ({', '.join(head)}). {_WAY_OUT}")
    found = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise InputError(f"{source}:{number} has {len(line)} cells, its head {len(head)}. {_WAY_OUT}")
        row: dict[str, str] = {}
        for n, name in labels.items():
            row[name] = ", ".join(part for part in (row.get(name, ""), line[n]) if part)
        for n, (dataset, target, name) in known.items():
            read = _number(line[n], delimiter, f"{source}:{number}, column {head[n]}")
            if read is not None:
                own = {"dataset": row.get("dataset") or dataset, "target": row.get("target") or target}
                found.append((_printed({**row, **own}, name, read.value, read.decimals), read))
    return found


def _column(head: str, metric: str | None) -> tuple[str, str, str] | None:
    """Data set, target and metric that a column's head names; None for a column that holds no metric."""
    words = [w for w in re.split(r"[\s,;:/()\[\]_]+", head) if w]
    known = [w for w in words if understood(w).name not in ("", "other")]
    if not known and (metric is None or head.strip().lower() in _NO_METRIC):
        return None
    rest = [w for w in words if w not in known and not re.fullmatch(r"%|percent|in|↑|↓|\(%\)", w, re.IGNORECASE)]
    stages = [w for w in rest if understood(w).stage]
    targets = [w for w in rest if w.lower() in _TARGETS]
    others = [w for w in rest if w not in targets and w not in stages]
    name = "_".join([*(known or [metric or ""]), *stages])
    if re.search(r"%|percent", head, re.IGNORECASE):
        name += "_percent"
    return (" ".join(others), " ".join(targets), name) if targets else ("", " ".join(others), name)


def _printed(row: Mapping[str, str], metric: str, value: float, decimals: int) -> Printed:
    labels = dict.fromkeys(("paper", "table", "dataset", "method", "setting", "target"), "")
    for head, text in row.items():
        field = head if head in labels else _LABELS.get(head)
        if field is not None and text:
            labels[field] = text if not labels[field] else f"{labels[field]}, {text}"
    return Printed(**labels, metric=metric, value=value, decimals=decimals)  # type: ignore[arg-type]


def _number(text: str, delimiter: str, where: str) -> Read | None:
    """A cell's number; None for cells that say there is none."""
    cleaned, mark = text.strip(), ""
    for name, pattern in _MARKS:
        if match := pattern.match(cleaned):
            cleaned, mark = next(g for g in match.groups() if g is not None).strip(), name
            break
    if cleaned.lower() in _NOT_COUNTED:
        return None
    if delimiter != ",":
        cleaned = cleaned.replace(",", ".")
    elif _THOUSANDS.match(cleaned):
        cleaned = cleaned.replace(",", "")
    match = _NUMBER.match(cleaned)
    if match is None:
        raise InputError(f"{where}: '{text}' is no number. Leave the cell empty, or write - where there is none.")
    digits, sign, sd = match.groups()
    decimals = len(digits.partition(".")[2])
    return Read(float(digits.replace("−", "-")), decimals, bool(sign), float(sd) if sd else None, mark)


def _all_percent(found: Sequence[tuple[Printed, Read]]) -> bool:
    return all(read.percent for _, read in found)
