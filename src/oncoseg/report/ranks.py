"""The models of one table side by side: who may be ranked, and how stable the rank by mean is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from oncoseg.evaluation.comparison.ranking import Scheme, Stability, bootstrap_ranks
from oncoseg.evaluation.comparison.table import ScoreTable, Undefined, score_table
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case

#: Without a tumour in the reference a model that stays silent has no score and one that does not has one: such cases
#: rank nobody. What remains undefined is a miss, and comes last.
NO_TUMOUR = frozenset({"both_empty", "reference_empty"})
DEFAULT_UNDEFINED: Undefined = "worst"


def comparable(entrants: Sequence[Entrant], metric: str = PRIMARY) -> list[Entrant]:
    """Entrants scored on the same cases, those of the largest such set, with a defined mean."""
    common = _common_cases(entrants)
    return [e for e in entrants if scored(e) == common and summary_of(e, metric).mean is not None]


def scored(entrant: Entrant) -> frozenset[str]:
    """Cases that an entrant has scores of, defined or not."""
    return frozenset(base_case(s.case) for s in entrant.scores)


def table_of(entrants: Sequence[Entrant], metric: str = PRIMARY) -> ScoreTable | None:
    """Scores of entrants side by side; None for no entrant or no case with a tumour.

    Repeated draws and seeds of a case are averaged first. Cases without a tumour in the reference are left out.
    """
    silent = {base_case(s.case) for e in entrants for s in e.scores if s.metric == metric and s.reason in NO_TUMOUR}
    held = {e.label: {c: v for c, v in _by_case(e, metric).items() if c not in silent} for e in entrants}
    if not held or not all(held.values()) or not set.intersection(*map(set, held.values())):
        return None
    return score_table(held, patients={case: p for e in entrants for case, p in e.patients().items()})


def larger_is_better(group: Group, metric: str) -> bool | None:
    """Direction of a metric of a group; None for one without direction."""
    return group.metrics[metric].higher_is_better


@lru_cache(maxsize=256)
def stability(
    group: Group, scheme: Scheme = "mean", metric: str = PRIMARY, undefined: Undefined = DEFAULT_UNDEFINED
) -> Stability | None:
    """Ranks of a group's models with their intervals; None for fewer than two models or a metric without direction."""
    entrants = comparable(group.entrants, metric)
    if len(entrants) < 2 or metric not in group.metrics:
        return None
    table, better = table_of(entrants, metric), larger_is_better(group, metric)
    if table is None or better is None:
        return None
    return bootstrap_ranks(table, scheme=scheme, larger_is_better=better, undefined=undefined)


def _by_case(entrant: Entrant, metric: str) -> dict[str, float | None]:
    defined = entrant.by_case(metric)
    return {base_case(s.case): defined.get(base_case(s.case)) for s in entrant.scores if s.metric == metric}


def _common_cases(entrants: Sequence[Entrant]) -> frozenset[str]:
    counts = Counter(scored(e) for e in entrants)
    return max(counts, key=lambda cases: (counts[cases], len(cases), sorted(cases)), default=frozenset())
