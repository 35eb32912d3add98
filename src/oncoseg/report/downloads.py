"""The page's numbers as CSV, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oncoseg.experiments.store import CellResult
from oncoseg.report.estimates import summary_of, why_no_interval
from oncoseg.report.groups import Group, level_of
from oncoseg.report.structures import METRICS, entrants_of, structure_summaries
from oncoseg.report.tables import CostRow, FailureRow, UndefinedRow, flag_of, leaderboard
from oncoseg.score import Ledger, Score


def scores_csv(results: Sequence[CellResult]) -> str:
    """Every score, one line a prediction and scoring protocol, one column a metric.

    Each line says what the model was given: types of prompts, their source, their number for the volume, and how far
    they were displaced. Undefined scores are empty; the last column names them with their reason.
    """
    metrics = list(dict.fromkeys(s.metric for cell in results for s in (*cell.scores, *cell.others)))
    head = ["cell", "model", "variant", "dataset", "prompt", "level", "fraction", "seed", "fold"]
    given = ["prompt_types", "prompt_source", "prompts", "jitter_mm", "jitter_px"]
    lines = [[*head, "protocol", "case", "patient", "roi", *given, *metrics, "undefined"]]
    for cell in results:
        ledgers = {p.case: p.ledger for p in cell.predictions}
        r = cell.record
        same = [r.key[:8], r.model, r.variant, r.dataset, r.prompt, level_of(cell), r.fraction, r.seed, r.fold]
        for place, scores in _by_prediction([*cell.scores, *cell.others]).items():
            values = {s.metric: f"{s.value:.6g}" for s in scores if s.value is not None}
            reasons = "; ".join(f"{s.metric}: {s.reason}" for s in scores if s.value is None)
            told = _given(ledgers.get(place[1]))
            lines.append([*map(str, same), *place, *told, *(values.get(m, "") for m in metrics), reasons])
    return _write_csv(lines)


def leaderboard_csv(groups: Iterable[Group]) -> str:
    """Every table of the leaderboard below each other, every metric with mean and interval."""
    place = ["dataset", "prompt", "level", "protocol", "roi", "rank", "model", "kind"]
    lines = [[*place, "metric", "mean", "low", "high", "median", "cases", "patients", "no_interval", "flag"]]
    for group in groups:
        key = group.key
        ranks = {row.label: row.rank for row in leaderboard(group)}
        for entrant in (*group.entrants, *group.humans):
            for metric in group.metrics:
                e = summary_of(entrant, metric)
                numbers = ["" if v is None else f"{v:.6g}" for v in (e.mean, e.low, e.high, e.median)]
                place = [key.dataset, key.prompt, str(key.level), key.protocol, key.roi]
                rank = ranks.get(entrant.label)
                lines.append([*place, str(rank or ""), entrant.label, entrant.kind, metric, *numbers])
                lines[-1] += [str(e.n), str(e.patients), why_no_interval(e), flag_of(entrant)]
    return _write_csv(lines)


def structures_csv(groups: Iterable[Group]) -> str:
    """The tables of other structures below each other, with mean and interval; "" where there are none."""
    lines = []
    for group in groups:
        key = group.key
        for entrant in entrants_of(group):
            for metric in (m for m in METRICS if m in group.metrics):
                for name, e in structure_summaries(entrant, metric, key.roi).items():
                    numbers = ["" if v is None else f"{v:.6g}" for v in (e.mean, e.low, e.high, e.median)]
                    place = [key.dataset, key.prompt, str(key.level), key.protocol, entrant.label, name, metric]
                    lines.append([*place, *numbers, str(e.n), str(e.patients), why_no_interval(e)])
    head = ["dataset", "prompt", "level", "protocol", "model", "structure", "metric"]
    head += ["mean", "low", "high", "median", "cases", "patients", "no_interval"]
    return _write_csv([head, *lines]) if lines else ""


def rows_csv(rows: Sequence[CostRow | FailureRow | UndefinedRow]) -> str:
    """Dataclass rows as CSV with their field names as head; "" for no rows."""
    if not rows:
        return ""
    names = [f.name for f in dataclasses.fields(rows[0])]
    return _write_csv([names, *(["" if (v := getattr(r, n)) is None else str(v) for n in names] for r in rows)])


def dicts_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the same names as CSV, undefined values empty; "" for no rows."""
    held = list(rows)
    if not held:
        return ""
    return _write_csv([list(held[0]), *([_written(value) for value in row.values()] for row in held)])


def _written(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _given(ledger: Ledger | None) -> list[str]:
    if ledger is None:
        return [""] * 5
    jitters = (f"{value:g}" for value in (ledger.jitter_mm, ledger.jitter_px))
    return [" + ".join(ledger.prompt_types), ledger.prompt_source, str(ledger.prompts), *jitters]


def _by_prediction(scores: Iterable[Score]) -> dict[tuple[str, str, str, str], list[Score]]:
    grouped: dict[tuple[str, str, str, str], list[Score]] = {}
    for score in scores:
        grouped.setdefault((score.protocol, score.case, score.patient, score.roi), []).append(score)
    return grouped


def _write_csv(lines: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()
