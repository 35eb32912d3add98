"""What is left of a model on another data set than it learned on: before, after, their difference and its rate.

*Before* is the model trained **and** scored on the target; *after* is the same model trained on the source and scored
on the same cases of the target. Delta = after - before, and rate = 100 delta / before. Shi et al. 2024 (arXiv
2403.05912) do not say so; it is what their transfer tables compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from oncoseg.evaluation.statistics import Summary
from oncoseg.report.estimates import difference, summary_of
from oncoseg.report.groups import PRIMARY, Entrant, Group, model_identity, model_label
from oncoseg.report.plots import Numbers
from oncoseg.report.tables import Shown, bounds, flag_of, number


@dataclass(frozen=True, eq=False)
class TransferTable:
    """The page's table.

    Attributes:
        numbers: one row a source, target, model and prompt.
        alone: what was trained elsewhere and has nothing to be compared with, in sentences.
        rules: scoring rules of the rows.
        few: fewest patients of a row.
    """

    numbers: Numbers
    alone: list[str]
    rules: list[str]
    few: int


@dataclass(frozen=True, eq=False)
class _Pair:
    """The same model, learned here and there, on the cases that both have a Dice for."""

    group: Group
    before: Entrant
    after: Entrant


def transfer_rows(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Every pair as plain data, for downloads and for tables in a paper's layout.

    Returns:
        `source`, `target`, `model`, `prompt`, `level`, `protocol`, `roi`, `cases`, `patients`; of `before`, `after` and
        `delta` the mean Dice and the ends of its 95 % interval over patients (`before_low` ...; None where there is
        none), the delta's paired; `rate_percent`, None where nothing was right before; `flag`.
    """
    return [_row(pair) for pair in _pairs(groups)]


def transfer_table(groups: Sequence[Group]) -> TransferTable | None:
    """The table of a report; None where nothing was trained on another data set than it is scored on."""
    pairs, alone = list(_pairs(groups)), _alone(groups)
    if not pairs and not alone:
        return None
    head = ("source → target", "model", "prompts", "n", "before", "after", "Δ", "rate")
    rows = tuple(_cells(pair) for pair in pairs)
    patients = min((summary_of(pair.after, PRIMARY).patients for pair in pairs), default=0)
    return TransferTable(Numbers(head, rows), alone, sorted({p.group.key.protocol for p in pairs}), patients)


def _pairs(groups: Iterable[Group]) -> Iterator[_Pair]:
    """Each entrant that learned elsewhere with the one that learned here: equal prompts, equal everything else."""
    for group in groups:
        for after in _from_elsewhere(group):
            before = _at_home(group, after)
            if before is not None:
                common = before.by_case(PRIMARY).keys() & after.by_case(PRIMARY).keys()
                if common:
                    yield _Pair(group, before.on_cases(common), after.on_cases(common))


def _from_elsewhere(group: Group) -> list[Entrant]:
    return [e for e in group.entrants if e.record.source]


def _at_home(group: Group, after: Entrant) -> Entrant | None:
    """The entrant that differs by what it learned on alone; None when the run has none."""
    wanted = model_identity(after.record, without=("source",))
    same = (e for e in group.entrants if e.record.trained_here and not e.record.source)
    return next((e for e in same if model_identity(e.record) == wanted), None)


def _alone(groups: Iterable[Group]) -> list[str]:
    """Entrants that learned elsewhere and that cannot be paired."""
    return [
        f"{after.label}, scored on {group.title}: no cell trained on {group.key.dataset} with the same prompts."
        for group in groups
        for after in _from_elsewhere(group)
        if _at_home(group, after) is None
    ]


def _row(pair: _Pair) -> dict[str, Any]:
    key, record = pair.group.key, pair.after.record
    before, after, delta = _summaries(pair)
    found = {"before": before, "after": after, "delta": delta}
    values = {name: summary.mean for name, summary in found.items()}
    ends = {f"{name}_{end}": getattr(s, end) for name, s in found.items() for end in ("low", "high")}
    return {
        "source": record.source, "target": key.dataset, "model": model_label(record), "prompt": key.prompt,
        "level": key.level, "protocol": key.protocol, "roi": key.roi, "cases": after.n, "patients": after.patients,
        **values, **ends, "rate_percent": _rate(before, delta), "flag": flag_of(pair.after),
    }  # fmt: skip


def _summaries(pair: _Pair) -> tuple[Summary, Summary, Summary]:
    """Before, after and their paired difference; a pair has common cases, so there is one."""
    delta = difference(pair.after, pair.before, PRIMARY)
    if delta is None:
        raise ValueError("A pair without a common case.")
    return summary_of(pair.before, PRIMARY), summary_of(pair.after, PRIMARY), delta


def _rate(before: Summary, delta: Summary) -> float | None:
    return 100 * delta.mean / before.mean if before.mean and delta.mean is not None else None


def _cells(pair: _Pair) -> tuple[Shown, ...]:
    before, after, delta = _summaries(pair)
    key, record, rate = pair.group.key, pair.after.record, _rate(before, delta)
    prompt = "none" if key.prompt in ("", "none") else key.prompt
    patients = f"{after.patients} patient{'s' if after.patients != 1 else ''}"
    return (
        Shown(None, f"{record.source} → {key.dataset}", "" if key.roi == "tumour" else key.roi),
        Shown(None, model_label(record), flag_of(pair.after)),
        Shown(None, prompt, f"ledger level {key.level}"),
        Shown(after.n, str(after.n), patients),
        *(Shown(s.mean, number(s.mean), bounds(s)) for s in (before, after)),
        Shown(delta.mean, _signed(delta.mean), bounds(delta)),
        Shown(rate, "–" if rate is None else f"{_signed(rate)} %"),
    )


def _signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value > 0 else text
