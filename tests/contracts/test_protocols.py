"""What every file on the protocols shelf must state; a newcomer is tested without a new test."""

from dataclasses import fields

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.evaluation.protocol import ANY_PROMPT, ScoredCase, protocol
from oncoseg.evaluation.scoring import metric, score_case, score_cases
from oncoseg.score import Ledger
from oncoseg.volume import Volume

NAMES = registry.names("protocols")
TABLE = {  # every row of the registry of named protocols
    "case3d",
    "nnunet_summary",
    "pooled",
    "lesion",
    "tumour_slices",
    "all_slices_empty1",
    "all_slices_silenced",
    "first_quarter",
    "official_medical_sam2",
    "crop128",
    "official_msam",
    "three_object_avg",
    "instance_avg",
    "background_avg",
    "lung_slices_empty1",
}


@pytest.fixture(params=NAMES)
def rule(request):
    return protocol(request.param)


def tumour(shift=0):
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[4:16, 4 + shift : 12 + shift, 4:16] = True
    return Volume.from_spacing(mask, (3.0, 1.0, 1.0))


def case(rule, reference, prediction):
    objects = {} if rule.objects == ("*",) else {name: (reference, prediction) for name in rule.needs}
    return ScoredCase("a", reference, prediction, objects)


def named(rule):
    return rule.metrics[0] if rule.metrics else "dice"


def test_every_row_of_the_registry_is_on_the_shelf():
    assert set(NAMES) >= TABLE


def test_it_states_its_rule_in_words(rule):
    for words in (rule.summary, rule.aggregation, rule.citation, rule.region, rule.grid):
        assert len(words) > 5
    assert rule.summary.endswith(".")
    assert set(rule.prompt_sources) <= set(ANY_PROMPT)
    assert rule.prompt_sources
    assert rule.name in NAMES
    assert not set(rule.aliases) & set(NAMES)


def test_what_it_takes_from_the_reference_are_fields_of_the_ledger(rule):
    assert set(rule.from_reference) <= {f.name for f in fields(Ledger)}


def test_a_rule_that_cuts_by_the_reference_says_so(rule):
    cuts = rule.crop != "none" or rule.tumour_slices_only or rule.silenced or bool(rule.minimum_voxels)
    assert not cuts or rule.from_reference


def test_a_perfect_prediction_scores_1(rule):
    reference = tumour()
    assert score_cases([case(rule, reference, reference)], protocol=rule.name, metric_name=named(rule)).value == 1


def test_predicting_nothing_is_not_perfect(rule):
    reference = tumour()
    nothing = reference.with_voxels(np.zeros(reference.shape, dtype=bool))
    found = score_cases([case(rule, reference, nothing)], protocol=rule.name, metric_name=named(rule))
    assert found.value < 1
    assert found.missed > 0


def test_a_worse_prediction_scores_less(rule):
    reference = tumour()
    near, far = (
        score_cases([case(rule, reference, tumour(shift))], protocol=rule.name, metric_name=named(rule)).value
        for shift in (0, 6)
    )
    assert far < near


def test_an_empty_case_never_scores_0(rule):
    nothing = tumour().with_voxels(np.zeros((20, 20, 20), dtype=bool))
    found = score_cases([case(rule, nothing, nothing)], protocol=rule.name, metric_name=named(rule))
    right = (rule.both_empty == "one" and not found.left_out) or rule.background
    assert found.value == 1 if right else found.value is None
    assert found.value is not None or found.reason


def test_a_miss_never_improves_its_mean(rule):
    reference = tumour()
    nothing = reference.with_voxels(np.zeros(reference.shape, dtype=bool))
    first = case(rule, reference, tumour(4))
    missed = ScoredCase("b", reference, nothing, {k: (r, nothing) for k, (r, _) in first.objects.items()})
    alone, both = (
        score_cases(cases, protocol=rule.name, metric_name=named(rule)).value for cases in ([first], [first, missed])
    )
    assert both <= alone


def test_one_case_gives_scores_that_name_the_rule(rule):
    given = case(rule, tumour(), tumour(1))
    scores = score_case(
        given.reference, given.prediction, case="a", patient="p", protocol=rule.name, objects=given.objects
    )
    assert scores
    assert {score.protocol for score in scores} == {rule.name}
    assert all(metric(score.metric).unit == score.unit for score in scores)


def test_only_the_reproductions_are_called_official(rule):
    assert rule.published == rule.name.startswith("official_")
