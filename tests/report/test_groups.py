from dataclasses import replace

import pytest

from oncoseg.experiments.store import read_run
from oncoseg.report.groups import by_jitter, ledger_words, level_of, make_groups
from oncoseg.score import Ledger


@pytest.fixture
def groups_of(tmp_path, write_cell):
    """`groups_of(planned, ...)` are the tables of a run with these cells."""

    def write(*cells):
        for cell in cells:
            write_cell(tmp_path, cell)
        return make_groups(read_run(tmp_path))

    return write


def test_data_sets_prompts_and_levels_never_share_a_table(groups_of, planned):
    informed = Ledger(prompt_source="oracle", boxes=9, z_extent_known=True)
    groups = groups_of(
        planned("a"),
        planned("b"),
        planned("b", dataset="lung"),
        planned("a", prompt="click"),
        planned("c", ledger=informed),
    )
    assert sorted([e.label for e in g.entrants] for g in groups) == [["a"], ["a", "b"], ["b"], ["c"]]
    for group in groups:
        assert {e.record.dataset for e in group.entrants} == {group.key.dataset}
        assert {level_of(c) for e in group.entrants for c in e.cells} == {group.key.level}


def test_seeds_of_one_model_are_one_row(groups_of, planned):
    (group,) = groups_of(planned(seed=0), planned(seed=1))
    (entrant,) = group.entrants
    assert len(entrant.cells) == 2
    assert len(entrant.predictions) == 8
    assert len(entrant.by_case("dice")) == 4


def test_training_fractions_are_different_rows(groups_of, planned):
    (group,) = groups_of(planned(trained=True, fraction=0.25), planned(trained=True, fraction=1.0))
    assert [e.label for e in group.entrants] == ["lite_medsam", "lite_medsam (25% of training)"]


def test_draws_of_a_case_are_averaged(groups_of, planned):
    (group,) = groups_of(planned(draws=3))
    (entrant,) = group.entrants
    values = [s.value for s in entrant.scores if s.metric == "dice" and s.case.startswith("c1~")]
    assert len(values) == 3
    assert entrant.by_case("dice")["c1"] == pytest.approx(sum(values) / 3)


def test_one_informed_prediction_taints_the_cell(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned())
    (cell,) = read_run(tmp_path)
    cell.predictions[0] = replace(cell.predictions[0], ledger=Ledger(prompt_source="oracle", z_extent_known=True))
    assert level_of(cell) == 3


def test_a_silenced_case_without_tumour_does_not_raise_the_level(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned(missed=("c1",)))
    (cell,) = read_run(tmp_path)
    cell.predictions[0] = replace(cell.predictions[0], ledger=Ledger(prompt_source="oracle", silent_slices=9))
    cell.scores[:] = [replace(s, value=None, reason="both_empty") if s.case == "c1" else s for s in cell.scores]
    assert level_of(cell) == 2


def test_human_readers_stand_beside_the_tables_of_their_data_set_only(groups_of, planned):
    human = {"prompt": "none", "jitter_mm": None, "ledger": Ledger(prompt_source="human reader"), "draws": 4}
    groups = groups_of(
        planned(), planned(prompt="click"), planned(dataset="lung"), planned("human reader", 0.9, **human)
    )
    assert [(g.key.dataset, len(g.humans), len(g.readers)) for g in groups] == [
        ("lung", 0, 0),
        ("phantom", 1, 4),
        ("phantom", 1, 4),
    ]
    assert all(e.kind != "human" for g in groups for e in g.entrants)


def test_human_readers_alone_have_a_table(groups_of, planned):
    human = {"prompt": "none", "jitter_mm": None, "ledger": Ledger(prompt_source="human reader"), "draws": 2}
    (group,) = groups_of(planned("human reader", 0.9, **human))
    assert group.entrants == ()
    assert [e.label for e in group.readers] == ["reader 1", "reader 2"]


def test_jitter_levels_of_a_model_are_found(groups_of, planned):
    groups = groups_of(planned(), planned(prompt="box jitter 5 mm", jitter_mm=5.0), planned("other"))
    assert {label: list(at) for label, at in by_jitter(groups).items()} == {"lite_medsam": [0.0, 5.0]}


def test_ledger_is_told_in_words(groups_of, planned):
    ledger = Ledger(prompt_source="jittered", boxes=1, prompted_slices=9, jitter_mm=5.0, crop_centre_known=True)
    (group,) = groups_of(planned(ledger=ledger))
    assert ledger_words(group.entrants[0].predictions) == [
        "prompt source: jittered",
        "1 box a case",
        "9 prompted slices a case",
        "prompts displaced by up to 5 mm",
        "image cropped round the reference",
    ]


def test_jitter_levels_are_compared_on_the_cases_they_share(groups_of, planned):
    groups = groups_of(planned(), planned(prompt="box jitter 5 mm", jitter_mm=5.0, cases=("c2", "c3")))
    levels = by_jitter(groups)["lite_medsam"]
    assert [sorted(e.by_case("dice")) for e in levels.values()] == [["c2", "c3"], ["c2", "c3"]]


def test_a_jitter_curve_never_mixes_prompts(groups_of, planned):
    slices = Ledger(prompt_source="oracle", boxes=9, z_extent_known=True)
    tight, whole = Ledger(prompt_source="jittered", boxes=1), Ledger(prompt_source="automatic", boxes=1)
    groups = groups_of(
        planned(),
        planned(prompt="box jitter 5 mm", jitter_mm=5.0, ledger=tight),
        planned(prompt="box per slice", ledger=slices),
        planned(prompt="whole image", ledger=whole),
    )
    assert {label: [e.record.prompt for e in at.values()] for label, at in by_jitter(groups).items()} == {
        "lite_medsam": ["box", "box jitter 5 mm"]
    }
    displaced = planned(prompt="box jitter 5 mm per slice", jitter_mm=5.0, ledger=slices)
    assert sorted(by_jitter(groups_of(displaced))) == ["lite_medsam, box", "lite_medsam, box per slice"]
