"""Tables as plain rows: what the page prints."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.splits import load_splits, training_fraction
from oncoseg.experiments.store import SPLITS, CellRecord, CellResult
from oncoseg.report.estimates import summary_of, why_no_interval
from oncoseg.report.groups import PRIMARY, Entrant, Group, Kind, base_case
from oncoseg.report.ranks import comparable, stability
from oncoseg.score import Cost, Score
from oncoseg.weights.entries import may_say_zero_shot

#: Metrics of the leaderboard after the primary one: heading, and the names it may have, best first.
_COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("IoU", ("iou",)),
    ("HD95", ("hd95_max", "hd95_pooled", "hd95")),
    ("NSD", ("sdice_surfel", "nsd_border", "nsd")),
    ("Sensitivity", ("sensitivity",)),
    ("Precision", ("precision",)),
    ("Volume error", ("rel_volume_diff", "volume_error", "abs_volume_diff")),
)
_FLAG_WORDS = ("contaminat", "training data", "leak")
#: What stands beside a model's name, by the status of the test data in its training.
_FLAGS = {"listed": "⚑ test data seen", "unknown": "⚑ test data seen? (unknown)"}
_FLAG = "⚑ test data seen?"


@dataclass(frozen=True)
class Shown:
    """One table cell: a number to sort by, what is printed, and a smaller second line."""

    value: float | None
    text: str
    note: str = ""


@dataclass(frozen=True)
class MetricColumn:
    """A metric's column: heading, full name, unit and direction (1 up, -1 down, 0 none)."""

    heading: str
    metric: str
    unit: str
    direction: int


@dataclass(frozen=True)
class LeaderboardRow:
    """One entrant in one table; `rank` is None with `unranked` saying why; `rank_interval` is a 95 % bootstrap."""

    rank: int | None
    unranked: str
    kind: Kind
    label: str
    title: str
    fidelity: str
    training: str
    parameters: Shown
    n: Shown
    primary: Summary
    metrics: tuple[Shown, ...]
    flags: tuple[str, ...]
    flag: str = ""
    rank_interval: str = ""


@dataclass(frozen=True)
class CostRow:
    """What one entrant costs on one volume."""

    label: str
    prompt: str
    parameters: int
    trainable_parameters: int
    macs: int | None
    mac_counter: str
    seconds_median: float | None
    repeats: int
    peak_memory_bytes: int | None
    volume: str
    device: str
    reason: str
    forward_macs: int | None = None
    calls: str = ""
    energy_joules: float | None = None
    energy_reason: str = ""


@dataclass(frozen=True)
class FailureRow:
    """A case or a cell that did not come to an end."""

    where: str
    case: str
    message: str


@dataclass(frozen=True)
class UndefinedRow:
    """How many scores of one metric are undefined for one reason."""

    table: str
    label: str
    metric: str
    reason: str
    count: int


def metric_columns(group: Group) -> list[MetricColumn]:
    """The leaderboard's metrics that the group has, without the primary one."""
    columns = []
    for heading, names in _COLUMNS:
        found = next((m for n in names for m in group.metrics if m.partition("@")[0] == n), None)
        if found is not None:
            columns.append(_column(heading, group.metrics[found]))
    return columns


def every_metric(group: Group) -> list[MetricColumn]:
    """All metrics of a group, for the full table."""
    return [_column(metric, score) for metric, score in group.metrics.items()]


def leaderboard(group: Group) -> list[LeaderboardRow]:
    """Rows of a group by mean Dice, best first; ties share the smaller rank.

    Only entrants scored on the same cases are ranked: those of the largest such set. The others keep their
    row without a rank. The interval of a rank says what other patients like these would make of it.
    """
    estimates = {e.label: summary_of(e, PRIMARY) for e in group.entrants}
    ranked, stable = comparable(group.entrants), stability(group)
    means = [estimates[e.label].mean or 0.0 for e in ranked]
    rows = []
    for entrant in sorted(group.entrants, key=lambda e: (-_or(estimates[e.label].mean, -1.0), e.label)):
        mean = estimates[entrant.label].mean
        rank = 1 + sum(other > mean for other in means) if entrant in ranked and mean is not None else None
        reason = "" if rank else "no defined Dice" if mean is None else "scored on other cases than the rest"
        row = _row(entrant, group, estimates[entrant.label], rank=rank, unranked=reason)
        held = stable.interval_of(entrant.label) if stable is not None and entrant in ranked else None
        rows.append(dataclasses.replace(row, rank_interval="" if held is None else f"{held[0]}–{held[1]}"))
    return rows


def human_rows(group: Group) -> list[LeaderboardRow]:
    """The human readers of the group's data set, all together and each alone; never ranked."""
    people = (*group.humans, *group.readers)
    return [_row(e, group, summary_of(e, PRIMARY), rank=None, unranked="human reader") for e in people]


def cost_rows(groups: Iterable[Group]) -> list[CostRow]:
    """One row for each different measurement with the prompts that share it, in the order of the groups."""
    prompts: dict[CostRow, dict[str, None]] = {}
    for group in groups:
        for entrant in group.entrants:
            for cell in entrant.cells:
                if cell.cost is not None:
                    prompts.setdefault(_cost_row(entrant.label, cell.cost), {})[cell.record.prompt] = None
    return [dataclasses.replace(row, prompt=", ".join(names)) for row, names in prompts.items()]


def case_failures(results: Iterable[CellResult]) -> list[FailureRow]:
    """Cases whose prediction ended in an error."""
    return [
        FailureRow(f"{cell.record.model} · {cell.record.dataset} · {cell.record.prompt}", p.case, p.error)
        for cell in results
        for p in cell.predictions
        if p.error is not None
    ]


def case_notes(results: Iterable[CellResult]) -> list[FailureRow]:
    """Notes on cases, each once, with the cases that carry it."""
    cases: dict[tuple[str, str], dict[str, None]] = {}
    for cell in results:
        for prediction in cell.predictions:
            for note in prediction.notes:
                if note != cell.record.dataset_info.get("warning"):
                    cases.setdefault((cell.record.dataset, note), {})[base_case(prediction.case)] = None
    return [
        FailureRow(
            dataset, ", ".join(list(names)[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else ""), note
        )
        for (dataset, note), names in cases.items()
    ]


def undefined_rows(groups: Iterable[Group]) -> list[UndefinedRow]:
    """Undefined scores, counted by table, entrant, metric and reason."""
    rows = []
    for group in groups:
        for entrant in group.entrants:
            counts = Counter((s.metric, s.reason or "") for s in entrant.scores if s.value is None)
            rows += [UndefinedRow(group.title, entrant.label, m, r, n) for (m, r), n in sorted(counts.items())]
    return rows


def notes_of(record: CellRecord) -> list[str]:
    """Notes of a cell about its model; the data set's own warning is told once for all."""
    return [note for note in record.notes if note != record.dataset_info.get("warning")]


def flags_of(record: CellRecord) -> tuple[str, ...]:
    """Notes of a cell that say that the model may have seen the test data in training."""
    listed = record.model_info.get("contamination") or []
    found = [str(n) for n in ([listed] if isinstance(listed, str) else listed)]
    found += [note for note in notes_of(record) if any(word in note.lower() for word in _FLAG_WORDS)]
    return tuple(dict.fromkeys(found))


def flag_of(entrant: Entrant) -> str:
    """What every table shows beside the name of a model that may have seen the test data; "" for clean ones."""
    if not any(flags_of(cell.record) for cell in entrant.cells):
        return ""
    return _FLAGS.get((entrant.record.seen or {}).get("status", ""), _FLAG)


def named(entrant: Entrant) -> Shown:
    """The first column of a table: the model's name, with its flag below."""
    return Shown(None, entrant.label, flag_of(entrant))


def number(value: float | None, unit: str = "") -> str:
    """A measured value with the digits that mean something: shares and mm with two, large ones with fewer."""
    if value is None:
        return "–"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:,.{digits}f}".replace("-", "−")
    return f"{text} {unit}" if unit else text


def bounds(summary: Summary) -> str:
    """The interval of a mean, or why there is none."""
    if summary.low is None or summary.high is None:
        return why_no_interval(summary)
    return f"{number(summary.low)} to {number(summary.high)}"


def magnitude(count: float | None) -> str:
    """A large count in words of k, M, G, T.

    Example:
        >>> magnitude(31_043_521)
        '31.0 M'
    """
    if count is None:
        return "–"
    for scale, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= scale:
            return f"{count / scale:.{1 if count / scale < 100 else 0}f} {letter}"
    return f"{count:g}"


def _row(entrant: Entrant, group: Group, primary: Summary, *, rank: int | None, unranked: str) -> LeaderboardRow:
    record = entrant.record
    return LeaderboardRow(
        rank=rank,
        unranked=unranked,
        kind=entrant.kind,
        label=entrant.label,
        title=str(record.model_info.get("title") or record.model),
        fidelity=str(record.model_info.get("fidelity", "")),
        training=_training(entrant.cells[0]),
        parameters=_parameters(record),
        n=_counted(entrant),
        primary=primary,
        metrics=tuple(_mean(entrant, column) for column in metric_columns(group)),
        flags=tuple(dict.fromkeys(f for cell in entrant.cells for f in flags_of(cell.record))),
        flag=flag_of(entrant),
    )


def _training(cell: CellResult) -> str:
    record = cell.record
    if record.trained_here:
        count = _training_patients(cell)
        share = f"{record.fraction:.0%} of the training patients"
        return (
            f"trained here on {share}" if count is None else f"trained here on {count} patients ({record.fraction:.0%})"
        )
    name = record.model_info.get("weights")
    if not name and record.seen is None:
        return ""
    weights = f"weights {name}, not trained here" if name else "weights of its user, not trained here"
    status = (record.seen or {}).get("status")
    return f"zero-shot: {weights}" if may_say_zero_shot(status, trained_here=record.trained_here) else weights


def _training_patients(cell: CellResult) -> int | None:
    """Number of patients a cell was trained on; None when the run holds no split of its data set."""
    record, learned = cell.record, cell.record.source or cell.record.dataset
    source = cell.folder.parent / SPLITS / f"{learned}.json"
    if not source.exists():
        return None
    folds = load_splits(source).folds
    if record.fold >= len(folds):
        return None
    return len(training_fraction(folds[record.fold].train, record.fraction, 0))


def _parameters(record: CellRecord) -> Shown:
    paper = record.model_info.get("parameters")
    built = record.parameters_built
    if built is None or built == paper:
        return Shown(paper, magnitude(paper) if paper else "0")
    return Shown(built, magnitude(built), f"paper: {magnitude(paper)}" if paper else "")


def _counted(entrant: Entrant) -> Shown:
    defined, of_case = entrant.by_case(PRIMARY), entrant.patients()
    patients = len({of_case[case] for case in defined})
    all_cases = len(entrant.cases)
    text = f"{len(defined)}" if len(defined) == all_cases else f"{len(defined)} of {all_cases}"
    notes = [f"{patients} patient{'s' if patients != 1 else ''}"]
    if len(entrant.predictions) > all_cases:
        notes.append(f"{len(entrant.predictions)} predictions")
    notes += [f"{n} {reason}" for reason, n in sorted(entrant.undefined(PRIMARY).items())]
    if entrant.failed:
        notes.append(f"{entrant.failed} failed")
    return Shown(len(defined), text, "; ".join(notes))


def _mean(entrant: Entrant, column: MetricColumn) -> Shown:
    values = list(entrant.by_case(column.metric).values())
    mean = summary_of(entrant, column.metric).mean if values else None
    undefined = entrant.undefined(column.metric)
    missed, other = undefined.pop("prediction_empty", 0), sum(undefined.values())
    notes = [f"{missed} miss{'es' if missed > 1 else ''}"] if missed else []
    notes += [f"{other} undefined"] if other else []
    total = sum(s.metric == column.metric for s in entrant.scores)
    note = f"n = {total - missed - other} of {total}; {'; '.join(notes)}" if notes else ""
    return Shown(mean, number(mean, column.unit), note)


def _cost_row(label: str, cost: Cost) -> CostRow:
    shape = " × ".join(map(str, cost.shape))
    return CostRow(
        label=label,
        prompt="",
        parameters=cost.parameters,
        trainable_parameters=cost.trainable_parameters,
        macs=cost.macs,
        mac_counter=cost.mac_counter,
        seconds_median=cost.seconds_median,
        repeats=cost.repeats,
        peak_memory_bytes=cost.peak_memory_bytes,
        volume=f"{cost.case} ({shape})" if cost.case else "–",
        device=f"{cost.device}, {cost.threads} thread{'s' if cost.threads != 1 else ''}",
        reason=cost.reason or "",
        forward_macs=cost.forward_macs,
        calls=", ".join(f"{part.calls} × {part.part} ({magnitude(part.macs)})" for part in cost.parts),
        energy_joules=cost.energy_joules,
        energy_reason=cost.energy_reason or "",
    )


def _column(heading: str, score: Score) -> MetricColumn:
    direction = 0 if score.higher_is_better is None else 1 if score.higher_is_better else -1
    return MetricColumn(heading, score.metric, score.unit, direction)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
