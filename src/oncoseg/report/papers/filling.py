"""A layout filled from the cells of a run: means over patients with intervals, and why a place is empty."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oncoseg.evaluation.published import Printed
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.lungs import LEFT, RIGHT
from oncoseg.experiments.matrix import Cell
from oncoseg.experiments.reproducing import Scale
from oncoseg.experiments.specs import ModelSpec
from oncoseg.experiments.store import CellResult
from oncoseg.report.estimates import summary_of_cases, why_no_interval
from oncoseg.report.groups import base_case
from oncoseg.report.papers.layout import FACTS, Layout, Line, Place, Wanted

NEVER = (
    "Smoke scale: networks as small as possible, trained for seconds, mostly on phantoms. Nothing in this table may be "
    "compared with what is printed; it shows that every cell runs."
)


@dataclass(frozen=True, eq=False)
class Ran:
    """A cell of a matrix and what became of it.

    Attributes:
        cell: as planned.
        result: None when it is not finished.
        reason: why it is not.
    """

    cell: Cell
    result: CellResult | None
    reason: str = ""


@dataclass(frozen=True)
class Filled:
    """One place of a table.

    Attributes:
        place: where.
        value, low, high: ours with its 95 % interval, in the unit of the printed table; None where there is none.
        n: patients behind it; 0 for facts.
        of: patients that were tried.
        reason: why there is no value, or no interval.
        text: in place of a number, for facts in words.
    """

    place: Place
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    of: int = 0
    reason: str = ""
    text: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the printed value; None where one of them is missing."""
        printed = self.place.printed
        return None if printed is None or self.value is None else self.value - printed.value


@dataclass(frozen=True)
class FilledRow:
    """One row: its places, in the order of the columns, and what reached its models from the reference."""

    line: Line
    places: tuple[Filled, ...]
    prompt: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Derived:
    """IoU that was averaged case by case beside IoU that was made from the mean Dice, D / (2 - D), ours and printed."""

    row: Line
    column: Line
    ours: float | None
    ours_derived: float | None
    printed: float | None
    printed_derived: float | None


@dataclass(frozen=True)
class FilledTable:
    """A table in the paper's layout.

    Attributes:
        layout: of the table.
        scale: of the run.
        rows: filled.
        notes: what must stand with it, the most important first.
        derived: IoU from the mean Dice, apart from the table.
    """

    layout: Layout
    scale: Scale
    rows: tuple[FilledRow, ...]
    notes: tuple[str, ...] = ()
    derived: tuple[Derived, ...] = ()


class _Values(NamedTuple):
    """Case -> value and case -> patient; what was tried; why there is nothing."""

    by_case: Mapping[str, float]
    patients: Mapping[str, str]
    tried: int
    reason: str


def fill_layout(layout: Layout, ran: Sequence[Ran], scale: Scale) -> FilledTable:
    """Fill a table from the cells of its matrices.

    Args:
        layout: of scores or facts.
        ran: the cells of the layout's matrices, in any state; none where only facts are wanted.
        scale: that they were run in.
    """
    filled: defaultdict[int, list[Filled]] = defaultdict(list)
    for place in layout.places():
        filled[id(place.row)].append(_filled(place, ran, layout.rule))
    rows = tuple(_row(line, filled[id(line)], ran) for line in layout.rows)
    notes = [NEVER] if scale == "smoke" and layout.kind == "scores" else []
    notes += [note for one in ran for note in _leaks(one)]
    return FilledTable(layout, scale, rows, (*dict.fromkeys(notes), *layout.notes), tuple(_derived(rows)))


def meant(wanted: Wanted, ran: Iterable[Ran]) -> list[Ran]:
    """The cells that a place is filled from."""
    return [one for one in ran if wanted.is_of(one.cell)]


def _filled(place: Place, ran: Sequence[Ran], rule: str) -> Filled:
    wanted = place.wanted
    if wanted.measure in FACTS:
        return _fact(place)
    if wanted.measure == "GMACs":
        return _operations(place, meant(wanted, ran))
    if wanted.how in ("before", "after", "mean"):
        values = _values(_at(wanted), ran, rule)
        return _estimated(place, values)
    before, after = (_values(_at(dataclasses.replace(wanted, how=how)), ran, rule) for how in ("before", "after"))
    if not before.by_case or not after.by_case:
        return Filled(place, reason=before.reason or after.reason)
    if wanted.how == "delta":
        both = sorted(before.by_case.keys() & after.by_case.keys())
        change = {case: after.by_case[case] - before.by_case[case] for case in both}
        return _estimated(place, _Values(change, after.patients, after.tried, after.reason))
    first, second = (summary_of_cases(v.by_case, v.patients) for v in (before, after))
    if not first.mean or second.mean is None:
        return Filled(place, n=first.n, of=after.tried, reason="before is 0")
    rate = 100 * (second.mean - first.mean) / first.mean
    return Filled(place, rate, n=first.patients, of=after.tried, reason="no interval: a ratio of means")


def _at(wanted: Wanted) -> Wanted:
    """Where a transfer looks: before, at the target's own training."""
    return dataclasses.replace(wanted, source="") if wanted.how == "before" else wanted


def _fact(place: Place) -> Filled:
    wanted = place.wanted
    info = ModelSpec(wanted.model).info
    learns = 0 if wanted.fraction == 0 else info.trainable_parameters
    numbers = {
        "parameters": info.parameters,
        "trainable_parameters": learns,
        "trainable_percent": 100 * learns / info.parameters if info.parameters else None,
    }
    if wanted.measure in numbers:
        value = numbers[wanted.measure]
        return Filled(place, None if value is None else value * wanted.times)
    words = {
        "zero_shot": "with released weights" if info.prompts else "no",
        "prompt": " or ".join(info.prompts) or "none",
        "training": "possible" if info.prompts and info.trainable else "needed" if info.trainable else "none",
    }
    return Filled(place, text=words[wanted.measure])


def _operations(place: Place, cells: Sequence[Ran]) -> Filled:
    costs = [one.result.cost for one in cells if one.result is not None and one.result.cost is not None]
    counted = [cost.macs for cost in costs if cost.macs is not None]
    if not counted:
        reasons = [cost.reason for cost in costs if cost.reason] + [one.reason for one in cells if one.reason]
        return Filled(place, reason=reasons[0] if reasons else "not measured")
    return Filled(place, counted[0] / 1e9)


def _estimated(place: Place, values: _Values) -> Filled:
    if not values.by_case:
        return Filled(place, of=values.tried, reason=values.reason or "no defined value")
    summary: Summary = summary_of_cases(values.by_case, values.patients)
    times = place.wanted.times
    mean, low, high = (None if v is None else v * times for v in (summary.mean, summary.low, summary.high))
    return Filled(place, mean, low, high, summary.patients, values.tried, why_no_interval(summary))


def _values(wanted: Wanted, ran: Sequence[Ran], rule: str) -> _Values:
    """Values of a structure, or of the mean of several, case by case."""
    if wanted.of == "tumour":
        return _of_roi(wanted, ran, rule, "")
    parts = [_of_roi(wanted, ran, rule, roi) for roi in (LEFT, RIGHT)]
    parts += [_of_roi(wanted, ran, rule, "")] if wanted.of == "average" else []
    cases = sorted(set.intersection(*(set(part.by_case) for part in parts)))
    means = {case: sum(part.by_case[case] for part in parts) / len(parts) for case in cases}
    reason = next((part.reason for part in parts if part.reason), "")
    return _Values(means, parts[0].patients, max(part.tried for part in parts), reason)


def _of_roi(wanted: Wanted, ran: Sequence[Ran], rule: str, roi: str) -> _Values:
    """Of one structure; where a model finds one alone, from the cells of the data set `<id>_<roi>`."""
    cells = meant(wanted, ran)
    elsewhere = meant(dataclasses.replace(wanted, dataset=f"{wanted.dataset}_{roi}"), ran) if roi else []
    cells = elsewhere or cells
    if not cells:
        return _Values({}, {}, 0, "not in the matrix")
    finished = [one.result for one in cells if one.result is not None]
    if not finished:
        return _Values({}, {}, 0, cells[0].reason or "not run")
    drawn: defaultdict[str, list[float]] = defaultdict(list)
    patients: dict[str, str] = {}
    for result in finished:
        for case, patient, value in _scored(result, wanted.measure, rule, "" if elsewhere else roi):
            patients[case] = patient
            drawn[case] += [] if value is None else [value]
    means = {case: sum(values) / len(values) for case, values in drawn.items() if values}
    return _Values(means, patients, len(set(patients.values())), "" if means else "no defined value")


def _scored(result: CellResult, measure: str, rule: str, roi: str) -> Iterable[tuple[str, str, float | None]]:
    if measure.startswith("stage@"):
        number = int(measure.partition("@")[2])
        last: dict[str, tuple[str, str, float | None]] = {}
        for one in result.rounds:  # a user who saw nothing to correct stopped: the answer stays
            if one.number <= number:
                last[one.case] = (base_case(one.case), one.patient, one.dice)
        yield from last.values()
        return
    for score in result.others if roi else result.scores:
        if score.metric == measure and score.protocol == rule and (not roi or score.roi == roi):
            yield base_case(score.case), score.patient, score.value


def _row(line: Line, places: Sequence[Filled], ran: Sequence[Ran]) -> FilledRow:
    wanted = {repr(p.place.wanted): _at(p.place.wanted) for p in places if p.place.wanted.measure not in FACTS}
    cells = {id(one): one for each in wanted.values() for one in meant(each, ran)}
    results = [one.result for one in cells.values() if one.result is not None]
    ledgers = [p.ledger for result in results for p in result.predictions if p.error is None]
    sources = sorted({f"{ledger.prompt_source}, level {ledger.level}" for ledger in ledgers if ledger.prompts})
    prompts = sorted({result.record.prompt for result in results} - {"none"})
    prompt = f"{'; '.join(prompts)} ({'; '.join(sources)})" if prompts else "none" if results else ""
    return FilledRow(line, tuple(places), prompt, line.flags)


def _leaks(one: Ran) -> list[str]:
    notes = [] if one.result is None else one.result.record.notes
    return [note for note in notes if "are trained on too (leakage)" in note]


def _derived(rows: Sequence[FilledRow]) -> Iterable[Derived]:
    """For every place of IoU whose Dice stands in the same row."""
    for row in rows:
        dice = {_but_measure(p.place.wanted): p for p in row.places if p.place.wanted.measure == "dice"}
        for found in row.places:
            twin = dice.get(_but_measure(found.place.wanted))
            if found.place.wanted.measure == "iou" and twin is not None:
                times = found.place.wanted.times
                yield Derived(
                    row.line,
                    found.place.column,
                    found.value,
                    _from_dice(twin.value, times),
                    _printed(found.place.printed),
                    _from_dice(_printed(twin.place.printed), times),
                )


def _but_measure(wanted: Wanted) -> str:
    return repr(dataclasses.replace(wanted, measure=""))


def _printed(cell: Printed | None) -> float | None:
    return None if cell is None else cell.value


def _from_dice(dice: float | None, times: float) -> float | None:
    return None if dice is None else dice / (2 - dice / times)
