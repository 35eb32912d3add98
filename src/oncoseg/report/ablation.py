"""Variants of one model on the same data with the same prompts: what each part is worth, and how much of it learns.

Shi et al. 2024 (arXiv 2403.05912), table 3. There every IoU is D / (2 - D) of the mean Dice D; here
IoU is averaged over cases like every other metric, and the derived value stands in a column of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncoseg.config import content_key
from oncoseg.experiments.store import CellRecord
from oncoseg.report.estimates import difference, summary_of
from oncoseg.report.groups import PRIMARY, Entrant, Group
from oncoseg.report.plots import Numbers
from oncoseg.report.tables import Shown, bounds, flag_of, magnitude, number

#: The metric beside the primary one.
IOU = "iou"


@dataclass(frozen=True, eq=False)
class AblationTable:
    """The rows of one model in one group.

    Attributes:
        title: data set, prompt and model.
        numbers: for the page, best mean Dice last.
        protocol: scoring rule.
        best: what differences are taken to; its label.
        patients: of the row with the fewest.
    """

    title: str
    numbers: Numbers
    protocol: str
    best: str
    patients: int


def ablation_tables(groups: Iterable[Group]) -> list[AblationTable]:
    """Every table with two or more variants of one model; fractions and sources of training are no variants."""
    return [_table(group, members) for group in groups for members in _variants(group)]


def ablation_rows(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """The rows of all tables as plain data, for downloads and for tables in a paper's layout.

    Returns:
        `dataset`, `prompt`, `level`, `protocol`, `model`, `variant` (in words: its name and options that not all rows
        share), `trained` (whether anything was trained here), `parameters`, `trainable` and `trainable_percent` as
        counted on the built network (None where it was not), `cases`, `patients`, mean `dice` and `iou` with the ends
        of their 95 % intervals (`dice_low` ...), `iou_from_dice`, D / (2 - D) of the mean Dice, and `flag`.
    """
    return [_row(group, e, members) for group in groups for members in _variants(group) for e in members]


def iou_from_dice(dice: float | None) -> float | None:
    """D / (2 - D): the IoU of one mask with that Dice, and not the mean IoU of several.

    Example:
        >>> round(100 * iou_from_dice(0.8217), 2)
        69.74
    """
    return None if dice is None else dice / (2 - dice)


def _variants(group: Group) -> Iterator[list[Entrant]]:
    """Entrants of one model that differ in variant or options, all trained on the same patients or on none."""
    members: defaultdict[str, list[Entrant]] = defaultdict(list)
    for entrant in group.entrants:
        record = entrant.record
        whole = record.fraction == 1 or not record.trained_here
        if entrant.kind == "model" and whole and not record.source:
            members[record.model].append(entrant)
    for same in members.values():
        if len({content_key(_settings(e.record)) for e in same}) > 1:
            yield sorted(same, key=lambda e: (summary_of(e, PRIMARY).mean or 0.0, e.label))


def _settings(record: CellRecord) -> dict[str, Any]:
    return {"variant": record.variant, **(record.configuration.get("options") or {})}


def in_words(record: CellRecord, beside: Sequence[CellRecord]) -> str:
    """What a row is: its variant, and the options that not all rows share."""
    settings = [_settings(r) for r in beside]
    shared = {k for k in settings[0] if all(k in s and s[k] == settings[0][k] for s in settings)}
    own = {k: v for k, v in _settings(record).items() if k not in shared and k != "variant"}
    parts = [f"{k.replace('_', ' ')} {v}" for k, v in own.items()]
    return ", ".join([record.variant or record.model, *parts])


def _counts(entrant: Entrant) -> tuple[int | None, int | None]:
    """Parameters and those that learn, of the network as built; in older runs the measured cost knows them."""
    record, cost = entrant.record, entrant.cells[0].cost
    trainable = record.trainable_built
    if trainable is None and cost is not None and cost.parameters:
        trainable = cost.trainable_parameters
    return record.parameters_built, trainable


def _row(group: Group, entrant: Entrant, beside: Sequence[Entrant]) -> dict[str, Any]:
    key, record = group.key, entrant.record
    parameters, trainable = _counts(entrant)
    dice, iou = summary_of(entrant, PRIMARY), summary_of(entrant, IOU)
    return {
        "dataset": key.dataset, "prompt": key.prompt, "level": key.level, "protocol": key.protocol,
        "model": record.model, "variant": in_words(record, [e.record for e in beside]), "trained": record.trained_here,
        "parameters": parameters, "trainable": trainable, "trainable_percent": _percent(trainable, parameters),
        "cases": dice.n, "patients": dice.patients,
        "dice": dice.mean, "dice_low": dice.low, "dice_high": dice.high,
        "iou": iou.mean, "iou_low": iou.low, "iou_high": iou.high, "iou_from_dice": iou_from_dice(dice.mean),
        "flag": flag_of(entrant),
    }  # fmt: skip


def _table(group: Group, members: Sequence[Entrant]) -> AblationTable:
    best = members[-1]
    rows = tuple(_cells(_row(group, e, members), e, best) for e in members)
    head = (
        "variant", "parameters", "tunable", "tunable %", "n", "Dice", "IoU (mean of cases)",
        "IoU derived: D / (2 − D)", "Dice − best",
    )  # fmt: skip
    return AblationTable(
        f"{group.title} · {best.record.model}",
        Numbers(head, rows),
        group.key.protocol,
        str(rows[-1][0].text),
        min(summary_of(e, PRIMARY).patients for e in members),
    )


def _cells(row: Mapping[str, Any], entrant: Entrant, best: Entrant) -> tuple[Shown, ...]:
    trained = "" if row["trained"] else "nothing was trained"
    note = "; ".join(word for word in (trained, row["flag"]) if word)
    percent = row["trainable_percent"]
    dice, iou = summary_of(entrant, PRIMARY), summary_of(entrant, IOU)
    less = None if entrant is best else difference(entrant, best, PRIMARY)
    return (
        Shown(None, row["variant"], note),
        Shown(row["parameters"], magnitude(row["parameters"])),
        Shown(row["trainable"], magnitude(row["trainable"])),
        Shown(percent, "–" if percent is None else f"{percent:.2f}"),
        Shown(row["cases"], str(row["cases"]), f"{row['patients']} patient{'s' if row['patients'] != 1 else ''}"),
        Shown(dice.mean, number(dice.mean), bounds(dice)),
        Shown(iou.mean, number(iou.mean), bounds(iou)),
        Shown(row["iou_from_dice"], number(row["iou_from_dice"])),
        Shown(None, "best") if less is None else Shown(less.mean, number(less.mean), bounds(less)),
    )


def _percent(part: int | None, whole: int | None) -> float | None:
    return 100 * part / whole if part is not None and whole else None
