"""How far a number moves with the scoring rule alone: the same predictions under every rule that was run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oncoseg.errors import InputError
from oncoseg.evaluation.protocol import protocol
from oncoseg.report.estimates import summary_of
from oncoseg.report.evidence_figures import spread_plot
from oncoseg.report.groups import PRIMARY, Entrant, Group
from oncoseg.report.plots import Numbers, Plot
from oncoseg.report.tables import Shown, named, number


@dataclass(frozen=True)
class SpreadPart:
    """One group under several rules."""

    title: str
    slug: str
    sentence: str
    plot: Plot


def spread_parts(groups: Iterable[Group]) -> list[SpreadPart]:
    """Every group that was scored under several rules, in their order."""
    parts = []
    for group in groups:
        means = {e.label: means_by_rule(e) for e in group.entrants}
        means = {label: found for label, found in means.items() if len(found) > 1}
        if means:
            parts.append(_part(group, means))
    return parts


def means_by_rule(entrant: Entrant) -> dict[str, float]:
    """Rule -> mean Dice of the row; `pooled` is one ratio over the volumes of all its predictions."""
    found = {}
    for name in entrant.protocols:
        mean = _pooled(entrant) if _pools_voxels(name) else summary_of(entrant.under(name), PRIMARY).mean
        if mean is not None:
            found[name] = mean
    return found


def _part(group: Group, means: dict[str, dict[str, float]]) -> SpreadPart:
    rules = list(dict.fromkeys(rule for found in means.values() for rule in found))
    widest = max(means, key=lambda label: max(means[label].values()) - min(means[label].values()))
    held = means[widest]
    low, high = min(held, key=lambda r: held[r]), max(held, key=lambda r: held[r])
    best = {rule: max((found[rule], label) for label, found in means.items() if rule in found)[1] for rule in rules}
    winners = list(dict.fromkeys(best.values()))
    sentence = f"{widest} scores {number(held[low])} ({low}) or {number(held[high])} ({high}) for the same predictions."
    if len(means) > 1:
        sentence += (
            f" {winners[0]} is best under every rule."
            if len(winners) == 1
            else f" The best model depends on the rule: {', '.join(winners)}."
        )
    entrants = {e.label: e for e in group.entrants}
    rows = tuple(
        (
            named(entrants[label]),
            *(Shown(found.get(rule), number(found.get(rule))) for rule in rules),
            Shown(max(found.values()) - min(found.values()), number(max(found.values()) - min(found.values()))),
        )
        for label, found in means.items()
    )
    caption = (
        "Every dot is the same predictions under another rule. Slices are averaged within a case first; pooled is one "
        "ratio over the volumes of all predictions."
    )
    slug = f"{group.slug}-spread"
    return SpreadPart(
        group.title, slug, sentence, Plot(spread_plot(means, slug), caption, Numbers(("model", *rules, "spread"), rows))
    )


def _pools_voxels(name: str) -> bool:
    try:
        return protocol(name).pool == "voxels"
    except InputError:
        return False


def _pooled(entrant: Entrant) -> float | None:
    """Dice of all predictions together: the common volume follows from each case's Dice and both volumes."""
    volumes = {p.case: (p.volume_reference_mm3 or 0.0) + (p.volume_prediction_mm3 or 0.0) for p in entrant.predictions}
    dice = {s.case: s.value or 0.0 for s in entrant.scores if s.metric == PRIMARY}
    total = sum(volumes.get(case, 0.0) for case in dice)
    return sum(value * volumes.get(case, 0.0) for case, value in dice.items()) / total if total else None
