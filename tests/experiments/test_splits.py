import json
from collections import Counter
from itertools import pairwise

import pytest

from oncoseg.contracts import Entry
from oncoseg.errors import InputError
from oncoseg.experiments.splits import (
    FRACTIONS,
    Split,
    Splits,
    cases_of,
    hold_out,
    k_folds,
    load_splits,
    require_fit,
    save_splits,
    training_fraction,
)

#: 23 patients, every third one with two cases.
ENTRIES = [Entry(f"P{n:02}_{c}", f"P{n:02}") for n in range(23) for c in range(2 if n % 3 == 0 else 1)]
PATIENTS = sorted({e.patient for e in ENTRIES})
STRATA = {p: "large" if n % 4 == 0 else "small" for n, p in enumerate(PATIENTS)}


def test_a_patient_on_both_sides_is_an_error_that_names_the_patient():
    with pytest.raises(InputError, match="Patient 'P07' is in train and in test"):
        Split(train=("P01", "P07"), test=("P07",))


def test_folds_test_every_patient_once():
    folds = k_folds(ENTRIES, 5, seed=3).folds
    assert Counter(p for f in folds for p in f.test) == Counter(PATIENTS)
    assert {len(f.test) for f in folds} == {4, 5}
    assert all(f.patients == set(PATIENTS) for f in folds)


def test_folds_hold_every_stratum_alike():
    folds = k_folds(ENTRIES, 3, seed=3, strata=STRATA).folds
    assert [sum(STRATA[p] == "large" for p in f.test) for f in folds] == [2, 2, 2]


def test_validation_is_taken_from_the_patients_that_are_not_tested():
    for fold in k_folds(ENTRIES, 4, seed=0, validation_share=0.2).folds:
        assert len(fold.validation) == round(0.2 * (len(PATIENTS) - len(fold.test)))


def test_hold_out_has_the_share_asked_for():
    (split,) = hold_out(ENTRIES, 0.3, seed=1, validation_share=0.25, strata=STRATA).folds
    assert (len(split.test), len(split.validation), len(split.train)) == (7, 4, 12)
    assert 1 <= sum(STRATA[p] == "large" for p in split.test) <= 3


def test_one_seed_gives_the_same_split_and_another_seed_a_different_one():
    assert hold_out(ENTRIES, 0.3, seed=1) == hold_out(ENTRIES[::-1], 0.3, seed=1)
    assert hold_out(ENTRIES, 0.3, seed=1).folds != hold_out(ENTRIES, 0.3, seed=2).folds


def test_fractions_are_nested():
    chosen = [set(training_fraction(PATIENTS, f, seed=9)) for f in FRACTIONS]
    assert [len(c) for c in chosen] == [0, 6, 12, 17, 23]
    assert all(small <= large for small, large in pairwise(chosen))


def test_a_small_fraction_keeps_one_patient():
    assert len(training_fraction(["a", "b", "c"], 0.01, seed=0)) == 1


def test_cases_follow_their_patients():
    assert cases_of(["P03", "P01"], ENTRIES) == ["P01_0", "P03_0", "P03_1"]


def test_a_split_file_comes_back_as_it_was_written(tmp_path):
    splits = k_folds(ENTRIES, 5, seed=3, validation_share=0.1)
    save_splits(tmp_path / "splits.json", splits)
    assert load_splits(tmp_path / "splits.json") == splits


def test_a_changed_split_file_says_so(tmp_path):
    save_splits(tmp_path / "splits.json", k_folds(ENTRIES, 5, seed=3))
    content = json.loads((tmp_path / "splits.json").read_text())
    content["folds"][0]["train"].pop()
    (tmp_path / "splits.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"splits\.json was changed after it was written"):
        load_splits(tmp_path / "splits.json")


def test_a_published_split_needs_no_hash_and_no_seed(tmp_path):
    (tmp_path / "splits.json").write_text('{"folds": [{"train": ["b", "a"], "test": ["c"]}]}')
    assert load_splits(tmp_path / "splits.json") == Splits((Split(train=("a", "b"), test=("c",)),))


def test_a_leaking_split_file_names_file_and_patient(tmp_path):
    (tmp_path / "splits.json").write_text('{"folds": [{"train": ["b", "a"], "test": ["a"]}]}')
    with pytest.raises(InputError, match=r"splits\.json: Patient 'a'"):
        load_splits(tmp_path / "splits.json")


@pytest.mark.parametrize("text", ["[]", '{"folds": []}', '{"fold": []}', '{"folds": [{"train": ["a"]}]}'])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(InputError, match=r"splits\.json"):
        load_splits(tmp_path / "splits.json")


def test_patients_the_data_set_does_not_have_are_named():
    with pytest.raises(InputError, match=r"splits\.json names 1 patients .*X"):
        require_fit(Splits((Split(train=("P01",), test=("X",)),)), ENTRIES, "splits.json")
    require_fit(k_folds(ENTRIES, 2, seed=0), ENTRIES, "splits.json")


def test_impossible_splits_are_refused():
    with pytest.raises(InputError, match="cannot be split into 30 folds"):
        k_folds(ENTRIES, 30, seed=0)
    with pytest.raises(InputError, match="leave 23 to train on and 0 to test"):
        hold_out(ENTRIES, 0.0, seed=0)
    with pytest.raises(InputError, match="share from 0 to 1"):
        training_fraction(PATIENTS, 25, seed=0)
    with pytest.raises(InputError, match="has no stratum"):
        k_folds(ENTRIES, 2, seed=0, strata={"P00": "x"})
