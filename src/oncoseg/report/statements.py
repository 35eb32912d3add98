"""What a run shows and what it cannot show, in plain sentences made from the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.evaluation.statistics import FEW, Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report import degradation
from oncoseg.report.estimates import difference, summary_of, why_no_interval
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case, by_dataset, is_human
from oncoseg.report.plan import Plan
from oncoseg.report.tables import flags_of, leaderboard, notes_of, number


def what_was_run(results: Sequence[CellResult], plan: Plan) -> str:
    """One sentence of counts."""
    models = {(c.record.model, c.record.variant) for c in results if not is_human(c)}
    prompts = {c.record.prompt for c in results if not is_human(c)}
    places = sorted({c.record.dataset for c in results})
    predictions = [(c.record.dataset, p) for c in results for p in c.predictions]
    cases = {(d, base_case(p.case)) for d, p in predictions}
    patients = {(d, p.patient) for d, p in predictions}
    cells = count(len(results), "cell")
    if plan.planned is not None:
        cells = f"{len(results)} of {count(plan.planned, 'cell')}"
    readers = " and human readers" if any(is_human(c) for c in results) else ""
    return (
        f"{count(len(models), 'model')}{readers} on {count(len(places), 'data set')} ({', '.join(places)}) with "
        f"{count(len(prompts), 'kind')} of prompt: {cells} finished, {count(len(predictions), 'prediction')} of "
        f"{count(len(cases), 'case')} of {count(len(patients), 'patient')}."
    )


def what_it_shows(groups: Sequence[Group]) -> list[str]:
    """For each table: the best model, and whether it beats what the prompt alone is worth.

    Tables of prompts that were made worse are told in one sentence an axis.
    """
    sentences = []
    for same in by_dataset(groups):
        worse = degradation.worse_prompts(same)
        sentences += [_finding(g) for g in same if not g.key.jitter_mm and g.key.prompt not in worse]
        sentences += degradation.sentences(same)
    return [sentence for sentence in sentences if sentence]


def what_it_cannot_show(results: Sequence[CellResult], groups: Sequence[Group], plan: Plan) -> list[str]:
    """Limits, most important first."""
    limits = [*_data_limits(results), *_size_limits(groups)]
    if len({g.key.level for g in groups}) > 1:
        limits.append(
            "Tables of different ledger levels cannot be compared: the models were told different amounts "
            "about the answer."
        )
    if any(g.humans for g in groups):
        limits.append(
            "The human ceiling is measured against another reference (the other readers' consensus) than the models, "
            "so it is a yardstick and not a rival."
        )
    smaller = sorted(
        {
            e.label
            for g in groups
            for e in g.entrants
            if e.record.parameters_built and e.record.parameters_built < (e.record.model_info.get("parameters") or 0)
        }
    )
    if smaller:
        limits.append(f"Built smaller than in the paper, so not the published model: {', '.join(smaller)}.")
    lost = len(plan.missing)
    if lost:
        limits.append(f"{count(lost, 'cell')} of the plan {_have(lost)} no result; see Failures.")
    failed = sum(p.error is not None for c in results for p in c.predictions)
    if failed:
        limits.append(f"{count(failed, 'prediction')} failed and {_have(failed)} no score; see Failures.")
    return limits


def count(number_: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number_:,} {noun}" + ("" if number_ == 1 else "s")


def _finding(group: Group) -> str:
    by_label = {e.label: e for e in group.entrants}
    rows = [r for r in leaderboard(group) if r.rank is not None]
    best = next((r for r in rows if r.kind == "model"), None) or next((r for r in rows if r.kind == "classical"), None)
    if best is None or best.primary.mean is None:
        return ""
    null = next((r for r in rows if r.kind == "null"), None)
    classic = next((r for r in rows if r.kind == "classical"), None)
    rival = classic if best.kind == "model" and classic and (classic.rank or 0) < (best.rank or 0) else None
    if best.primary.patients == 1:
        beside = f", the null baseline {null.label} {number(null.primary.mean)}" if null else ""
        beside += f", the classical {rival.label} {number(rival.primary.mean)}" if rival else ""
        return f"{group.title}: {best.label} scores Dice {number(best.primary.mean)}{beside}, on 1 patient."
    among = "models" if best.kind == "model" else "classical methods"
    text = f"{group.title}: {best.label} has the highest mean Dice of the {among}, {number(best.primary.mean)}"
    text += f" ({_interval(best.primary)}, {count(best.primary.patients, 'patient')})."
    text += f" The classical {rival.label} has a higher one, {number(rival.primary.mean)}." if rival else ""
    return f"{text} {_against_null(by_label[best.label], by_label[null.label])}" if null else text


def _against_null(model: Entrant, null: Entrant) -> str:
    gap = difference(model, null, PRIMARY)
    baseline = f"the null baseline {null.label} ({number(summary_of(null, PRIMARY).mean)})"
    if gap is None or gap.mean is None:
        return f"It shares no case with {baseline}."
    if gap.low is None or gap.high is None:
        return f"It differs from {baseline} by {_signed(gap.mean)} ({_interval(gap)})."
    numbers = f"paired difference {_signed(gap.mean)}, 95 % interval {_signed(gap.low)} to {_signed(gap.high)}"
    if gap.low > 0:
        return f"It beats {baseline}, which sees no image: {numbers}."
    if gap.high < 0:
        return f"It is worse than {baseline}, which sees no image: {numbers}."
    return f"It is not shown to beat {baseline}, which sees no image: {numbers}."


def _interval(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return f"no interval: {why_no_interval(summary)}"
    return f"95 % interval {number(summary.low)} to {number(summary.high)}"


def _data_limits(results: Sequence[CellResult]) -> list[str]:
    limits: dict[str, None] = {}
    for cell in results:
        info = cell.record.dataset_info
        if info.get("synthetic"):
            limits[f"{cell.record.dataset} is synthetic: its numbers say nothing about patients."] = None
        if info.get("warning"):
            limits[f"{cell.record.dataset}: {info['warning']}"] = None
    for cell in results:
        for note in dict.fromkeys((*flags_of(cell.record), *notes_of(cell.record))):
            limits[f"{cell.record.dataset}, {cell.record.model}: {note}"] = None
    return list(limits)


def _size_limits(groups: Sequence[Group]) -> list[str]:
    sizes: dict[str, int] = {}
    for group in groups:
        for entrant in group.entrants:
            patients = summary_of(entrant, PRIMARY).patients
            sizes[group.key.dataset] = max(sizes.get(group.key.dataset, 0), patients)
    limits = [f"{name} has 1 patient: no statement about other patients." for name, n in sizes.items() if n == 1]
    few = [f"{name} ({n})" for name, n in sizes.items() if 1 < n < FEW]
    if few:
        limits.append(
            f"Fewer than {FEW} patients: {', '.join(few)}. Intervals are too narrow and "
            "small differences cannot be told from chance."
        )
    return limits


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _have(number_: int) -> str:
    return "has" if number_ == 1 else "have"
