"""What users' corrections gain: Dice against the number of corrections, and how many prompts it takes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oncoseg.config import content_key
from oncoseg.evaluation.interactive import AREA, CLICKS, FAILURE, TARGETS
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report import figures
from oncoseg.report.estimates import summary_of, summary_of_cases
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case, model_identity
from oncoseg.report.plots import METRIC, Numbers, Plot
from oncoseg.report.tables import Shown, bounds, named, number
from oncoseg.score import Round

#: Round of an answer to no prompt at all.
UNPROMPTED = -1
_ROUND_WORDS = {UNPROMPTED: "no prompt", 0: "first prompts"}


def unprompted(groups: Iterable[Group]) -> dict[str, Entrant]:
    """What models that take prompts answer without any, by a key that the same model has with prompts."""
    return {
        but_prompts(entrant): entrant
        for group in groups
        for entrant in group.entrants
        if _is_unprompted(entrant) and entrant.record.model_info.get("prompts")
    }


def rounds_plot(group: Group, silent: Mapping[str, Entrant] | None = None) -> Plot | None:
    """Mean Dice after each correction, one line a model; None where nobody corrected.

    Args:
        group: whose rounds.
        silent: `unprompted` of the groups of the same data; a line then begins with the answer to no prompt.
    """
    held = {e.label: after_each_round(e, group.key.roi) for e in group.entrants}
    held = {label: after for label, after in held.items() if after}
    if not held:
        return None
    for entrant in group.entrants:
        zero = (silent or {}).get(but_prompts(entrant))
        if zero is not None and entrant.label in held and group.key.protocol in zero.protocols:
            held[entrant.label] = {UNPROMPTED: summary_of(zero, PRIMARY), **held[entrant.label]}
    kinds = {e.label: e.kind for e in group.entrants}
    order = sorted(held, key=lambda label: (kinds[label] == "null", -(held[label][max(held[label])].mean or 0), label))
    numbers = sorted({n for after in held.values() for n in after})
    # Rounds are counted from the first prompts, or, where there are answers to none, from those.
    origin = min(numbers[0], 0)
    lines = [_line(label, kinds[label], held[label], origin) for label in order]
    head = ("model", *(_ROUND_WORDS.get(n, f"after {n}") for n in numbers))
    entrants = {e.label: e for e in group.entrants}
    rows = tuple((named(entrants[label]), *(_shown(held[label].get(n)) for n in numbers)) for label in order)
    caption = (
        "Each correction is placed on the errors of the prediction before it, so this is what a user could reach who "
        "knows the reference. A case that is right stays as it is."
    )
    caption += " 0: no prompt at all; 1: the first prompts alone." if origin else " 0: the first prompts alone."
    if any(line.low for line in lines) and len(lines) <= figures.BANDS_UP_TO:
        caption += " Band: 95 % interval over patients."
    x_label = "rounds of prompts" if origin else "corrections after the first prompts"
    svg = figures.curve_plot(lines, METRIC, f"{group.slug}-rounds", x_label=x_label)
    return Plot(svg, caption, Numbers(head, rows))


def clicks_table(group: Group) -> Numbers | None:
    """Prompts to reach each target with failures, and the area under Dice against corrections; None without rounds."""
    interactive = [e for e in group.entrants if AREA in {s.metric for s in e.scores}]
    if not interactive:
        return None
    rows = []
    for entrant in interactive:
        cells = [named(entrant)]
        for target in TARGETS:
            needed = summary_of(entrant, CLICKS.format(target))
            cells += [_shown(needed), _failures(entrant, target)]
        rounds = _rounds(entrant, group.key.roi)
        answers = [r.seconds for r in rounds if r.number and r.prompts]
        waited = statistics.median(answers) if answers else None
        given = [max(r.given for r in rounds if r.case == case) for case in {r.case for r in rounds}]
        cells += [
            _shown(summary_of(entrant, AREA)),
            Shown(statistics.fmean(given), f"{statistics.fmean(given):.1f}") if given else Shown(None, "–"),
            Shown(waited, "–" if waited is None else f"{waited:.3g} s"),
        ]
        rows.append(tuple(cells))
    head: tuple[str, ...] = ("model",)
    for target in TARGETS:
        head += (f"NoC@{target} (prompts)", f"Dice {target / 100:.2f} not reached")
    return Numbers((*head, "area under Dice", "prompts given (mean)", "answer to a correction (median)"), tuple(rows))


def rows(results: Iterable[CellResult]) -> Iterator[dict[str, Any]]:
    """Every round of every prediction as plain data, for the download."""
    for cell in results:
        r = cell.record
        for one in cell.rounds:
            yield {
                "cell": r.key[:8], "model": r.model, "variant": r.variant, "dataset": r.dataset, "prompt": r.prompt,
                "case": one.case, "patient": one.patient, "roi": one.roi, "round": one.number, "given": one.given,
                "dice": one.dice, "reason": one.reason, "seconds": one.seconds,
            }  # fmt: skip


def _is_unprompted(entrant: Entrant) -> bool:
    asked = entrant.record.configuration.get("prompt")
    return (asked.get("use") if isinstance(asked, Mapping) else entrant.record.prompt) in ("", "none")


def but_prompts(entrant: Entrant) -> str:
    """Key of a model and of how much of the image it is shown."""
    asked = entrant.record.configuration.get("prompt")
    shown = {k: v for k, v in asked.items() if k.startswith("around_")} if isinstance(asked, Mapping) else {}
    return content_key([model_identity(entrant.record), shown])


def _rounds(entrant: Entrant, roi: str) -> list[Round]:
    return [r for cell in entrant.cells for r in cell.rounds if r.roi == roi]


def after_each_round(entrant: Entrant, roi: str) -> dict[int, Summary]:
    """Round -> Dice over patients; draws and seeds of one case averaged, undefined ones left out.

    Round 0 is the answer to the first prompts; empty where nobody corrected.
    """
    values: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    patients = {}
    for one in _rounds(entrant, roi):
        if one.dice is not None:
            values[one.number][base_case(one.case)].append(one.dice)
            patients[base_case(one.case)] = one.patient
    return {
        number_: summary_of_cases({c: statistics.fmean(v) for c, v in sorted(cases.items())}, patients)
        for number_, cases in sorted(values.items())
    }


def _line(label: str, kind: str, after: dict[int, Summary], origin: int) -> figures.Line:
    """A curve over rounds counted from `origin`."""
    low, high = ([getattr(s, side) for s in after.values()] for side in ("low", "high"))
    banded = None not in low and None not in high
    y = tuple(s.mean or 0.0 for s in after.values())
    return figures.Line(
        label, kind, tuple(float(n - origin) for n in after), y, *((tuple(low), tuple(high)) if banded else ())
    )


def _shown(summary: Summary | None) -> Shown:
    if summary is None:
        return Shown(None, "–")
    return Shown(summary.mean, number(summary.mean), bounds(summary))


def _failures(entrant: Entrant, target: int) -> Shown:
    """Predictions that never reached a target; they count in the mean with all their prompts."""
    values = [s.value for s in entrant.scores if s.metric == FAILURE.format(target) and s.value is not None]
    failed = int(sum(values))
    return Shown(failed, f"{failed} of {len(values)}")
