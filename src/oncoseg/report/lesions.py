"""Single lesions: how many were found in each stratum and how well drawn, the FROC curve, merged and split ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from oncoseg.evaluation.findings import LesionRecord
from oncoseg.evaluation.froc import RATES, Candidate, Froc, froc
from oncoseg.evaluation.strata import (
    AGREEMENT_CLASSES,
    CONTRAST_CLASSES,
    LOCATIONS,
    UNKNOWN,
    VOLUME_CLASSES,
    agreement_class,
    contrast_class,
    volume_class,
)
from oncoseg.report.evidence_figures import froc_plot
from oncoseg.report.groups import Entrant, Group, base_case
from oncoseg.report.plots import Numbers, Plot
from oncoseg.report.tables import Shown, named, number


@dataclass(frozen=True)
class Stratum:
    """A way of sorting lesions: its heading, the rows in their order, and which row a lesion is in."""

    heading: str
    classes: tuple[str, ...]
    of: Callable[[LesionRecord], str]


_CONTRAST = "contrast with the shell of 5 mm"
STRATA = (
    Stratum("volume", VOLUME_CLASSES, lambda r: volume_class(r.volume_mm3)),
    Stratum("place", LOCATIONS, lambda r: r.location),
    Stratum(_CONTRAST, CONTRAST_CLASSES, lambda r: contrast_class(r.contrast)),
    Stratum("agreement of readers", AGREEMENT_CLASSES, lambda r: agreement_class(r.agreement)),
)


@dataclass(frozen=True)
class LesionPart:
    """One group's lesions."""

    title: str
    slug: str
    rule: str
    totals: Numbers
    strata: tuple[tuple[str, Numbers], ...]
    curve: Plot | None


def lesion_parts(groups: Iterable[Group]) -> list[LesionPart]:
    """Every group whose cells kept single lesions, in their order."""
    parts = []
    for group in groups:
        held = {e.label: _records(e, group.key.roi) for e in (*group.entrants, *group.humans)}
        entrants = [e for e in (*group.entrants, *group.humans) if held[e.label]]
        if any(r.kind == "reference" for records in held.values() for r in records):
            rules = sorted({r.rule for records in held.values() for r in records})
            strata = tuple(
                (s.heading, table) for s in _strata(group) if (table := _stratum(s, entrants, held)) is not None
            )
            slug = f"{group.slug}-lesions"
            parts.append(
                LesionPart(
                    group.title, slug, ", ".join(rules), _totals(entrants, held), strata, _curve(entrants, held, slug)
                )
            )
    return parts


def curve_of(entrant: Entrant, records: Sequence[LesionRecord]) -> Froc | None:
    """The FROC curve of one row; None where its predicted lesions have no score."""
    scans = sum(p.error is None for p in entrant.predictions)
    lesions = sum(r.kind == "reference" for r in records)
    predicted = [r for r in records if r.kind == "false" or r.found]
    scores = [(r.score, r.kind == "reference") for r in predicted]
    if not lesions or not scans or not scores or any(score is None for score, _ in scores):
        return None
    return froc([Candidate(score or 0.0, true) for score, true in scores], lesions=lesions, scans=scans)


def _strata(group: Group) -> list[Stratum]:
    """Those that mean something for the images: the classes of contrast are in HU."""
    some = (group.entrants or group.humans)[0]
    return [s for s in STRATA if s.heading != _CONTRAST or some.record.dataset_info.get("modality", "CT") == "CT"]


def _records(entrant: Entrant, roi: str) -> list[LesionRecord]:
    """Of the predictions of a row: readers and levels share cells."""
    names = {p.case for p in entrant.predictions}
    return [r for cell in entrant.cells for r in cell.lesions if r.roi == roi and r.case in names]


def _totals(entrants: Sequence[Entrant], held: dict[str, list[LesionRecord]]) -> Numbers:
    rows = []
    for entrant in entrants:
        lesions = [r for r in held[entrant.label] if r.kind == "reference"]
        false = sum(r.kind == "false" for r in held[entrant.label])
        scans = max(sum(p.error is None for p in entrant.predictions), 1)
        curve = curve_of(entrant, held[entrant.label])
        touched, merged, split = (sum(getattr(r, name) for r in lesions) for name in ("touched", "merged", "split"))
        rows.append(
            (
                named(entrant),
                Shown(len(lesions), str(len(lesions))),
                *_found(lesions),
                Shown(touched, str(touched)),
                Shown(false / scans, number(false / scans), f"{false} in {scans}"),
                Shown(merged, str(merged)),
                Shown(split, str(split)),
                Shown(curve.score, number(curve.score)) if curve else Shown(None, "–", "no scores"),
            )
        )
    head = (
        "model",
        "lesions",
        "found",
        "Dice given found",
        "touched",
        "false per scan",
        "merged",
        "split",
        "FROC score",
    )
    return Numbers(head, tuple(rows))


def _stratum(stratum: Stratum, entrants: Sequence[Entrant], held: dict[str, list[LesionRecord]]) -> Numbers | None:
    """One row a class, empty ones included; None where nothing is known of any lesion."""
    sorted_in = {e.label: [(stratum.of(r), r) for r in held[e.label] if r.kind == "reference"] for e in entrants}
    known = {name for pairs in sorted_in.values() for name, _ in pairs}
    if known <= {UNKNOWN}:
        return None
    rows = []
    for name in stratum.classes:
        distinct = {(base_case(r.case), r.number) for pairs in sorted_in.values() for each, r in pairs if each == name}
        cells: list[Shown] = [Shown(None, name), Shown(len(distinct), str(len(distinct)))]
        for entrant in entrants:
            inside = [r for each, r in sorted_in[entrant.label] if each == name]
            rate, dice = _found(inside)
            words = "" if dice.value is None else f"Dice {dice.text} when found"
            cells.append(Shown(rate.value, f"{rate.text} ({rate.note})" if inside else "–", words))
        rows.append(tuple(cells))
    return Numbers((stratum.heading, "lesions", *(e.label for e in entrants)), tuple(rows))


def _found(lesions: Sequence[LesionRecord]) -> tuple[Shown, Shown]:
    """Share found, and mean Dice of the found ones."""
    if not lesions:
        return Shown(None, "–"), Shown(None, "–")
    dice = [r.dice for r in lesions if r.found and r.dice is not None]
    rate = len(dice) / len(lesions)
    drawn = Shown(statistics.fmean(dice), number(statistics.fmean(dice))) if dice else Shown(None, "–")
    return Shown(rate, number(rate), f"{len(dice)} of {len(lesions)}"), drawn


def _curve(entrants: Sequence[Entrant], held: dict[str, list[LesionRecord]], slug: str) -> Plot | None:
    curves = {e.label: curve for e in entrants if (curve := curve_of(e, held[e.label])) is not None}
    if not curves:
        return None
    rows = tuple(
        (
            Shown(None, label),
            *(Shown(c.at(rate), number(c.at(rate))) for rate in RATES),
            Shown(c.score, number(c.score)),
        )
        for label, c in curves.items()
    )
    caption = (
        "A predicted lesion's score is the largest probability within it. Lesions are those of the mask: a curve ends "
        "at the mask's own operating point and is level from there on. Score: mean of the seven rates (LUNA16)."
    )
    head = ("model", *(f"at {rate:g}" for rate in RATES), "score")
    return Plot(froc_plot(curves, f"{slug}-froc"), caption, Numbers(head, rows))
