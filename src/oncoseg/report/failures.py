"""What went wrong, first: where cases went, who was found and how well drawn then, the worst cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncoseg.report.estimates import summary_of_cases
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case
from oncoseg.report.plots import Numbers
from oncoseg.report.tables import Shown, bounds, named, number

#: Rows of the table of worst cases.
WORST = 12
_DISTANCES = ("hd95_max", "hd95_pooled", "hd95")


@dataclass(frozen=True)
class Step:
    """One box of the flow of cases: a count, and what left the flow here."""

    label: str
    count: int
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailurePart:
    """One group's failures."""

    title: str
    slug: str
    flow: tuple[Step, ...]
    models: Numbers
    found: Numbers
    worst: Numbers


def failure_parts(groups: Iterable[Group]) -> list[FailurePart]:
    """Every group's failures, in the order of the groups; groups without a defined Dice are left out."""
    return [
        FailurePart(g.title, f"{g.slug}-failures", flow(g), fates(g), found_and_drawn(g), worst_cases(g))
        for g in groups
        if any(e.by_case(PRIMARY) for e in (*g.entrants, *g.humans))
    ]


def flow(group: Group) -> tuple[Step, ...]:
    """Where the cases of the data set went before any was predicted; empty for runs that did not keep it."""
    cells = [c for e in (*group.entrants, *group.humans) for c in e.cells if c.record.flow]
    if not cells:
        return ()
    first = cells[0].record.flow
    excluded = {str(reason): int(n) for reason, n in first.get("excluded", {}).items()}
    known, left = int(first["known"]), int(first["known"]) - sum(excluded.values())
    trained = max(int(c.record.flow["train"]) for c in cells)
    validated = max(int(c.record.flow["validation"]) for c in cells)
    tested = len({case for e in (*group.entrants, *group.humans) for case in e.cases})
    lost = tuple(f"{n} left out: {reason}" for reason, n in excluded.items())
    aside = [f"{trained} to train on"] if trained else []
    aside += [f"{validated} to choose by"] if validated else []
    return (
        Step("cases known to the data set", known, lost),
        Step("cases used", left, tuple(aside)),
        Step("cases to be predicted", tested),
    )


def fates(group: Group) -> Numbers:
    """What became of the predictions of each row: failed, undefined, scored."""
    rows = []
    for entrant in (*group.entrants, *group.humans):
        undefined = entrant.undefined(PRIMARY)
        words = "; ".join(f"{n} {reason}" for reason, n in sorted(undefined.items()))
        scored = len(entrant.predictions) - entrant.failed - sum(undefined.values())
        counts = (len(entrant.predictions), entrant.failed, sum(undefined.values()), scored)
        notes = ("", "", words, "")
        rows.append((named(entrant), *(Shown(n, str(n), note) for n, note in zip(counts, notes, strict=True))))
    return Numbers(("model", "predictions", "failed", "Dice undefined", "Dice defined"), tuple(rows))


def found_and_drawn(group: Group) -> Numbers:
    """Detection apart from delineation: a case is found when the prediction meets the reference in any voxel.

    A missed case has no distance; the last columns give the distance of the found ones with the number of misses
    beside it, and the mean where a miss costs the diagonal of the image.
    """
    metric = next((m for name in _DISTANCES for m in group.metrics if m.partition("@")[0] == name), None)
    rows = []
    for entrant in (*group.entrants, *group.humans):
        dice = entrant.by_case(PRIMARY)
        hit = {case: value for case, value in dice.items() if value > 0}
        rate = summary_of_cases({case: float(case in hit) for case in dice}, entrant.patients())
        drawn = summary_of_cases(hit, entrant.patients()) if hit else None
        cells = [
            named(entrant),
            Shown(rate.mean, number(rate.mean), f"{len(hit)} of {len(dice)}"),
            Shown(None, "–") if drawn is None else Shown(drawn.mean, number(drawn.mean), bounds(drawn)),
            Shown(sum(dice.values()) / max(len(dice), 1), number(sum(dice.values()) / max(len(dice), 1))),
        ]
        rows.append((*cells, *(_distances(entrant, metric, len(dice) - len(hit)) if metric else ())))
    head = ("model", "found", "Dice given found", "Dice, a miss 0")
    more = (f"{metric}, defined", f"{metric}, a miss costs the diagonal") if metric else ()
    return Numbers((*head, *more), tuple(rows))


def worst_cases(group: Group) -> Numbers:
    """The cases of lowest Dice over all models, the worst first; misses with their volume on top."""
    volumes = {
        base_case(p.case): p.volume_reference_mm3 / 1000
        for e in group.entrants
        for p in e.predictions
        if p.volume_reference_mm3
    }
    found = sorted(
        (value, -volumes.get(case, 0.0), case, entrant.label)
        for entrant in group.entrants
        if entrant.kind != "null"
        for case, value in entrant.by_case(PRIMARY).items()
    )
    missed = Counter(case for value, _, case, _ in found if value == 0)
    models = sum(e.kind != "null" for e in group.entrants)
    rows = [
        (
            Shown(None, case),
            Shown(None, label),
            Shown(value, number(value), "missed" if value == 0 else ""),
            Shown(-volume, number(-volume, "mL") if volume else "–"),
            Shown(missed[case], f"{missed[case]} of {models}"),
        )
        for value, volume, case, label in found[:WORST]
    ]
    return Numbers(("case", "model", "Dice", "tumour volume", "missed by"), tuple(rows))


def _distances(entrant: Entrant, metric: str, misses: int) -> tuple[Shown, Shown]:
    defined = entrant.by_case(metric)
    plain = summary_of_cases(defined, entrant.patients()) if defined else None
    first = Shown(None, "–", f"{misses} misses")
    if plain is not None:
        first = Shown(plain.mean, number(plain.mean, "mm"), f"n = {len(defined)}; {misses} missed")
    prices = _prices(entrant, metric)
    values = {**defined, **{case: price for case, price in prices.items() if case not in defined and price is not None}}
    if not values or None in prices.values():
        return first, Shown(None, "–", "diagonal not kept" if prices else "")
    priced = summary_of_cases(values, entrant.patients())
    return first, Shown(priced.mean, number(priced.mean, "mm"), f"n = {len(values)}")


def _prices(entrant: Entrant, metric: str) -> dict[str, float | None]:
    """Case -> diagonal of its image, for cases with an undefined distance because one mask is empty."""
    empty = {s.case for s in _undefined(entrant, metric) if s.reason in ("prediction_empty", "reference_empty")}
    return {base_case(p.case): p.diagonal_mm for p in entrant.predictions if p.case in empty}


def _undefined(entrant: Entrant, metric: str) -> Sequence:
    return [s for s in entrant.scores if s.metric == metric and s.value is None]
