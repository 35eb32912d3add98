"""Cells that learn from one data set and are scored on another."""

import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.local import run_matrix
from oncoseg.experiments.matrix import Block
from oncoseg.experiments.planning import survey
from oncoseg.experiments.specs import DatasetSpec, PromptSpec, SplitSpec
from oncoseg.experiments.store import SPLITS, read_cell
from oncoseg.experiments.transferring import transfer_matrix

SPLIT = "split = { test = 0.34, seed = 1 }"
HERE = f"options = {{ cases = 6 }}\n{SPLIT}\n"


def tables(options="cases = 6, first = 20, people = 'other'", more=SPLIT):
    return f'{HERE}[dataset.others]\nuse = "toy_balls"\noptions = {{ {options} }}\n{more}\n'


TRAINED = '[[cells]]\ndataset={}\nsource={}\nmodel="toy_network"\ntrain={{ steps=4, batch=2, validate_every=2 }}\n'
AWAY = TRAINED.format('"others"', '"balls"')


def test_a_model_learns_on_the_source_and_is_scored_on_the_test_side_of_the_target(matrix_of, tmp_path):
    (cell,) = matrix_of(AWAY, options=tables()).plan()
    result = read_cell(run_cell(cell, tmp_path))
    tested = {s.case for s in result.scores}
    assert len(tested) == 2
    assert all(int(case.removeprefix("ball-")) >= 20 for case in tested)
    assert (result.record.source, result.record.dataset) == ("balls", "others")
    assert result.record.trained_here
    assert result.record.trainable_built == 10
    assert any("saw no case of others" in note for note in result.record.notes)
    assert cell.label == "toy_network on others, trained on balls"


def test_its_training_is_the_one_of_the_cell_that_is_scored_at_home(matrix_of, tmp_path):
    summary = run_matrix(matrix_of(TRAINED.format('["balls", "others"]', '"balls"'), options=tables()), tmp_path)
    assert len(summary.having("finished")) == 2
    assert len(list((tmp_path / "trained").iterdir())) == 1
    assert {p.name for p in (tmp_path / SPLITS).iterdir()} == {"balls.json", "others.json"}


def test_the_target_as_its_own_source_is_the_usual_cell(matrix_of, tmp_path):
    (with_source,) = survey(matrix_of(TRAINED.format('"balls"', '"balls"'), options=tables()), tmp_path)
    usual = '[[cells]]\ndataset="balls"\nmodel="toy_network"\ntrain={ steps=4, batch=2, validate_every=2 }\n'
    (without,) = survey(matrix_of(usual, options=HERE), tmp_path)
    assert with_source.line.key == without.line.key


def test_the_source_and_its_split_are_part_of_the_key(matrix_of, tmp_path):
    keys = set()
    for split in (SPLIT, SPLIT.replace("seed = 1", "seed = 2")):
        matrix = matrix_of(TRAINED.format('"balls"', '"others"'), options=tables(more=split))
        (planned,) = survey(matrix, tmp_path)
        keys.add(planned.line.key)
    assert len(keys) == 2


def test_a_patient_on_both_sides_is_refused(matrix_of, tmp_path):
    (planned,) = survey(matrix_of(AWAY, options=tables("cases = 6, first = 3")), tmp_path)
    assert planned.line.status == "failed"
    assert "are trained on in balls and scored in others" in planned.line.reason


def test_names_that_only_look_alike_are_allowed_when_it_is_said(matrix_of, tmp_path):
    """Patients 3 to 5 are in both data sets; own_names says that these are other people, and the images are others."""
    options = tables("cases = 6, first = 3", f"own_names = true\n{SPLIT}")
    (planned,) = survey(matrix_of(AWAY, options=options), tmp_path)
    assert planned.line.status == "planned"


def test_an_image_on_both_sides_is_refused_whatever_its_patient_is_called(matrix_of, tmp_path):
    other_split = SPLIT.replace("seed = 1", "seed = 4")  # tests balls 2 and 4, of which the source trains on both
    (cell,) = matrix_of(AWAY, options=tables("cases = 6, people = 'other'", other_split)).plan()
    with pytest.raises(InputError, match="scored images are among those trained on: ball-"):
        run_cell(cell, tmp_path)
    assert not (tmp_path / "trained").exists()


def test_nothing_learned_has_no_source(matrix_of):
    (cell,) = matrix_of(AWAY + "fraction=[0.0]\n", options=tables()).plan()
    assert (cell.source_id, cell.source) == ("", None)


def test_a_source_whose_patients_are_all_tested_makes_no_sense(matrix_of):
    (cell,) = matrix_of(TRAINED.format('"balls"', '"others"'), options=tables(more="")).plan()
    assert cell.skipped.startswith("all patients of others are tested")


def test_a_source_without_a_training_or_a_table_is_refused(matrix_of):
    with pytest.raises(ConfigError, match="source says what is trained on"):
        matrix_of('[[cells]]\ndataset="balls"\nsource="others"\nmodel="toy_network"\n', options=tables())
    with pytest.raises(ConfigError, match=r"no \[dataset.elsewhere\]"):
        matrix_of(TRAINED.format('"balls"', '"elsewhere"'), options=tables())


def test_a_transfer_matrix_has_before_and_after_of_every_pair():
    datasets = {name: DatasetSpec("toy_balls", split=SplitSpec(0.3)) for name in ("a", "b")}
    matrix = transfer_matrix(datasets, [("a", "b"), ("b", "a")], ["toy_network"], train={"steps": 2})
    assert [(c.dataset_id, c.source_id) for c in matrix.plan()] == [("b", ""), ("b", "a"), ("a", ""), ("a", "b")]


def test_each_model_of_a_transfer_matrix_gets_a_prompt_that_it_takes():
    datasets = {name: DatasetSpec("phantom", split=SplitSpec(0.3)) for name in ("a", "b")}
    given = PromptSpec("random_click", then="uniform_error", rounds=2)
    for asked, expected in ((None, "centre_click"), (given, "random_click")):
        made = transfer_matrix(datasets, [("a", "b")], ["unet", "m_sam"], recipe="smoke", prompt=asked)
        assert [block.prompt[0].use for block in made.cells] == ["none", expected]
    with pytest.raises(ConfigError, match="Source and target are both 'a'"):
        transfer_matrix(datasets, [("a", "a")], ["unet"], recipe="smoke")


def test_blocks_without_a_source_are_as_they_were():
    assert Block(("a",), ("unet",)).source == ()
