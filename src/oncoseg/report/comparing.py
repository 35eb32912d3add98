"""Everything that is computed to compare the models of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.consensus import Consensus, consensus
from oncoseg.evaluation.comparison.friedman import (
    Friedman,
    Pairwise,
    critical_difference,
    friedman,
    nemenyi,
    pairwise_wilcoxon,
)
from oncoseg.evaluation.comparison.multiplicity import CORRECTION_WORDS, Correction
from oncoseg.evaluation.comparison.paired import Choice, PairedTest, all_pairs, differences_of
from oncoseg.evaluation.comparison.power import POWER, PatientsNeeded, patients_needed
from oncoseg.evaluation.comparison.ranking import (
    SCHEME_WORDS,
    SCHEMES,
    Ranking,
    Scheme,
    Stability,
    bootstrap_ranks,
    rank_models,
)
from oncoseg.evaluation.comparison.seeds import SeedSummary, over_seeds
from oncoseg.evaluation.comparison.table import UNDEFINED_WORDS, ScoreTable, Undefined
from oncoseg.evaluation.protocol import protocol
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case
from oncoseg.report.ranks import DEFAULT_UNDEFINED, comparable, larger_is_better, table_of


@dataclass(frozen=True)
class Rules:
    """How models are compared.

    Attributes:
        metric: of the scores.
        scheme: of the ranking.
        undefined: what an undefined score means for the ranking; tests leave such cases out.
        choose: the paired test.
        correction: for the number of pairs.
        resamples: of the ranking's bootstrap.
        power: of the study whose size is asked for.
        seed: of every bootstrap.

    Raises:
        InputError: for a choice that does not exist.
    """

    metric: str = PRIMARY
    scheme: Scheme = "mean"
    undefined: Undefined = DEFAULT_UNDEFINED
    choose: Choice = "shapiro"
    correction: Correction = "holm"
    resamples: int = 1_000
    power: float = POWER
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "scheme": SCHEME_WORDS,
            "undefined": UNDEFINED_WORDS,
            "choose": ("shapiro", "t", "wilcoxon"),
            "correction": CORRECTION_WORDS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                shown = "test" if name == "choose" else name
                raise InputError(f"{shown} '{getattr(self, name)}' is not known. Choose from: {', '.join(known)}.")
        if self.resamples < 1:
            raise InputError(f"{self.resamples} resamples give no interval; take 1,000.")


@dataclass(frozen=True, eq=False)
class GroupStatistics:
    """The models of one table against each other.

    Attributes:
        group: the table.
        rules: how it was done.
        larger_is_better: direction of the metric.
        table: the scores that were compared.
        apart: models scored on other cases than the rest, or without a defined mean; not compared.
        friedman, nemenyi, distance: of three and more models; None for two. `distance`: Nemenyi's critical difference.
        wilcoxon: one test for every pair, on patients that all models share.
        pairs: every pair on the patients that the two share, the better ranked first, tested by `rules.choose`.
        stable: the ranking with its stability.
        needed: model -> patients to tell it from the first in the ranking.
        seeds: model -> mean over its trainings, where there are several.
    """

    group: Group
    rules: Rules
    larger_is_better: bool
    table: ScoreTable
    apart: tuple[str, ...]
    friedman: Friedman | None
    nemenyi: Pairwise | None
    distance: float | None
    wilcoxon: Pairwise
    pairs: tuple[PairedTest, ...]
    stable: Stability
    needed: Mapping[str, PatientsNeeded]
    seeds: Mapping[str, SeedSummary]

    @property
    def ranking(self) -> Ranking:
        """The ranking of all patients."""
        return self.stable.ranking


def compare_group(group: Group, rules: Rules | None = None) -> GroupStatistics | None:
    """Compare the models of a table; None for fewer than two comparable models or no case with a tumour.

    Raises:
        InputError: for a metric that the table does not have, or one without direction.
    """
    rules = rules or Rules()
    if rules.metric not in group.metrics:
        raise InputError(f"{group.title} has no metric '{rules.metric}', only {', '.join(group.metrics)}.")
    better = larger_is_better(group, rules.metric)
    if better is None:
        raise InputError(f"'{rules.metric}' has no better side, so models cannot be ranked by it.")
    entrants = comparable(group.entrants, rules.metric)
    table = table_of(entrants, rules.metric)
    if table is None or len(entrants) < 2:
        return None
    held = table.complete()
    several = len(entrants) > 2
    stable = bootstrap_ranks(
        table,
        scheme=rules.scheme,
        larger_is_better=better,
        undefined=rules.undefined,
        resamples=rules.resamples,
        seed=rules.seed,
    )
    first = stable.ranking.order[0]
    others = stable.ranking.order[1:]
    return GroupStatistics(
        group=group,
        rules=rules,
        larger_is_better=better,
        table=table,
        apart=tuple(e.label for e in group.entrants if e not in entrants),
        friedman=friedman(held, larger_is_better=better) if several else None,
        nemenyi=nemenyi(held) if several else None,
        distance=critical_difference(len(entrants), held.n) if several and held.n else None,
        wilcoxon=pairwise_wilcoxon(held, correction=rules.correction),
        pairs=tuple(
            all_pairs(
                table, models=stable.ranking.order, choose=rules.choose, correction=rules.correction, seed=rules.seed
            )
        ),
        stable=stable,
        needed={
            m: patients_needed(differences_of(table, first, m), power=rules.power, seed=rules.seed) for m in others
        },
        seeds={e.label: found for e in entrants if (found := _over_seeds(e, rules)) is not None},
    )


def rankings_of(group: Group, metrics: Sequence[str], rules: Rules | None = None) -> dict[str, dict[str, int]]:
    """Rule -> model -> rank: other schemes, other metrics (by mean), other scoring rules (by mean of the metric).

    Only rankings of the same models as the first one, which is that of `rules`, are given.
    """
    rules = rules or Rules()
    found: dict[str, dict[str, int]] = {}
    for scheme in (rules.scheme, *(s for s in SCHEMES if s != rules.scheme)):
        _keep(found, f"{rules.metric}, by {_BY[scheme]}", _ranked(group, group.entrants, rules, scheme=scheme))
    for metric in metrics:
        if metric != rules.metric:
            _keep(found, metric, _ranked(group, group.entrants, rules, metric=metric))
    for name in dict.fromkeys(p for e in group.entrants for p in e.protocols):
        if name != group.key.protocol and _has_cases(name):
            under = [e.under(name) for e in group.entrants]
            _keep(found, f"{rules.metric}, {name}", _ranked(group, under, rules))
    return found


def consensus_of(groups: Sequence[Group]) -> list[tuple[str, Consensus]]:
    """Prompt in words with the consensus over data sets: models that were ranked alike on several of them."""
    alike: dict[tuple[int, float, str, str], list[Group]] = {}
    for group in groups:
        key = group.key
        alike.setdefault((key.level, key.jitter_mm, key.prompt, key.protocol), []).append(group)
    found = []
    for (level, _, prompt, _), members in alike.items():
        labels = [{e.label for e in comparable(g.entrants)} for g in members]
        common = set.intersection(*labels)
        if len(members) < 2 or len(common) < 2:
            continue
        ranks = {}
        for group in members:
            entrants = [e for e in group.entrants if e.label in common]
            ranks[f"{group.key.dataset} ({group.key.roi})"] = _ranked(group, entrants, Rules())
        whole = {task: held for task, held in ranks.items() if held is not None}
        if len(whole) > 1:
            words = "no prompt" if prompt in ("", "none") else f"prompt: {prompt}"
            found.append((f"{words}, ledger level {level}", consensus(whole)))
    return found


_BY = {"mean": "mean", "median": "median", "rank": "ranks of patients", "test": "tests won"}


def _keep(found: dict[str, dict[str, int]], label: str, ranks: dict[str, int] | None) -> None:
    if ranks is not None and (not found or set(ranks) == set(next(iter(found.values())))):
        found[label] = ranks


def _ranked(
    group: Group,
    entrants: Sequence[Entrant],
    rules: Rules,
    *,
    metric: str | None = None,
    scheme: Scheme | None = None,
) -> dict[str, int] | None:
    metric = metric or rules.metric
    held = comparable(entrants, metric)
    table, better = table_of(held, metric), larger_is_better(group, metric)
    if table is None or better is None:
        return None
    # Other metrics and scoring rules are compared by their means, which is what tables print.
    ranking = rank_models(table, scheme=scheme or "mean", larger_is_better=better, undefined=rules.undefined)
    return {m: rank for m, rank in zip(ranking.models, ranking.ranks, strict=True) if rank is not None} or None


def _has_cases(name: str) -> bool:
    """Whether a scoring rule gives every case a number; one ratio over all cases does not. Unknown rules do."""
    try:
        return protocol(name).pool != "voxels"
    except InputError:
        return True


def _over_seeds(entrant: Entrant, rules: Rules) -> SeedSummary | None:
    scores: dict[int, dict[str, list[float]]] = {}
    keys = {(s.roi, s.protocol) for s in entrant.scores}
    for cell in entrant.cells:
        for score in cell.scores:
            if score.metric == rules.metric and score.value is not None and (score.roi, score.protocol) in keys:
                scores.setdefault(cell.record.seed, {}).setdefault(base_case(score.case), []).append(score.value)
    if len(scores) < 2 or not set.intersection(*map(set, scores.values())):
        return None
    means = {seed: {case: sum(v) / len(v) for case, v in held.items()} for seed, held in scores.items()}
    return over_seeds(means, patients=entrant.patients(), seed=rules.seed)
