"""A comparison as plain data, for programs: what `oncoseg statistics --json` prints."""

from __future__ import annotations

import dataclasses
from typing import Any

from oncoseg.config import plain
from oncoseg.evaluation.statistics import median_of
from oncoseg.report.comparing import GroupStatistics, Rules
from oncoseg.report.estimates import patient_values, summary_of
from oncoseg.report.groups import Group


def statistics_json(group: Group, held: GroupStatistics | None, rules: Rules) -> dict[str, Any]:
    """Everything that was computed for one table; undefined numbers are None with a reason beside them.

    `comparison` is None for fewer than two models scored on the same cases.
    """
    models = {
        e.label: {
            "kind": e.kind,
            "mean": plain(summary_of(e, rules.metric)),
            "median": plain(median_of(patient_values(e, rules.metric), seed=rules.seed)),
            "undefined": dict(e.undefined(rules.metric)),
        }
        for e in group.entrants
    }
    return {
        "table": plain(group.key),
        "unit": "patient",
        "rules": plain(rules),
        "models": models,
        "comparison": None if held is None else _comparison(held),
    }


def _comparison(held: GroupStatistics) -> dict[str, Any]:
    stable = plain(held.stable)
    # A thousand numbers that mean and interval stand for.
    del stable["tau"]
    return {
        "larger_is_better": held.larger_is_better,
        "not_compared": list(held.apart),
        "cases_not_shared": list(held.table.not_shared),
        "ranking": stable,
        "friedman": plain(held.friedman),
        "nemenyi": plain(held.nemenyi),
        "critical_difference": held.distance,
        "wilcoxon": plain(held.wilcoxon),
        "pairs": [plain(test) | {"n": test.n} for test in held.pairs],
        "patients_needed": {model: plain(n) | {"statement": n.statement} for model, n in held.needed.items()},
        "seeds": {model: dataclasses.asdict(s) for model, s in held.seeds.items()},
    }
