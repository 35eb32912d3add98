"""Tables written by hand become cells; what is wrong is said before anything runs."""

import pytest

from oncoseg.config import fill, plain
from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.experiments.identity import folder_name, identify
from oncoseg.experiments.matrix import Cell

PAIR = """
[[cells]]
dataset = "balls"
model = ["toy_bright", "toy_bright.boxed"]
prompt = ["none", "box", { use = "box", jitter_mm = 5.0, repeats = 3 }]
"""


def test_lists_are_multiplied_out(matrix_of):
    cells = matrix_of('[[cells]]\ndataset="balls"\nmodel=["toy_bright"]\nseed=[0, 1]\nfold=[0]').plan()
    assert [(c.seed, c.label) for c in cells] == [(0, "toy_bright on balls"), (1, "toy_bright on balls, seed 1")]


def test_a_cell_named_twice_is_planned_once(matrix_of):
    block = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\n'
    assert len(matrix_of(block + block).plan()) == 1


def test_impossible_combinations_stay_with_their_reason(matrix_of):
    skipped = {c.label: c.skipped for c in matrix_of(PAIR).plan()}
    assert skipped["toy_bright on balls"] is None
    assert skipped["toy_bright on balls, box"] == "toy_bright takes no prompt, and box makes box"
    assert skipped["toy_bright.boxed on balls"] == "toy_bright.boxed needs a prompt (box) and the cell gives none"
    assert skipped["toy_bright.boxed on balls, box jitter 5 mm"] is None


def test_training_without_training_patients_is_skipped(matrix_of):
    cell = matrix_of('[[cells]]\ndataset="balls"\nmodel="toy_network"\ntrain={steps=1}').plan()[0]
    assert "none is left for training" in cell.skipped


def test_a_cell_survives_the_way_to_a_child_process(matrix_of):
    for cell in matrix_of(PAIR).plan():
        assert plain(fill(Cell, plain(cell), "cell")) == plain(cell)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ('[[cells]]\ndataset="balls"\nmodel="toy_bright"\nfractoin=[1.0]', "'fractoin'. Did you mean: fraction"),
        ('[[cells]]\ndataset="bals"\nmodel="toy_bright"', "Did you mean: balls"),
        ('[[cells]]\ndataset="balls"', "give model"),
        ('[[cells]]\ndataset="balls"\nmodel="toy_bright"\nfraction=0.5', "give train"),
        ('[[cells]]\ndataset="balls"\nmodel="toy_network"\ntrain={stpes=5}', "Did you mean: steps"),
        ('[[cells]]\ndataset="balls"\nmodel="toy_network"\ntrain={steps=5, seed=1}', "seed = "),
        ('[[cells]]\ndataset="balls"\nmodel="toy_bright"\nprompt={use="box", jiter_mm=1}', "Did you mean: jitter_mm"),
        ('[[cells]]\ndataset="balls"\nmodel="toy_bright"\nprompt={use="box", repeats=0}', "repeats is 0"),
        ("", "at least one"),
    ],
)
def test_mistakes_are_named_with_the_way_out(matrix_of, cells, message):
    with pytest.raises(ConfigError, match=message):
        matrix_of(cells)


def test_unknown_names_suggest_near_ones(matrix_of):
    with pytest.raises(UnknownNameError, match="toy_bright"):
        matrix_of('[[cells]]\ndataset="balls"\nmodel="toy_brihgt"').plan()
    with pytest.raises(UnknownNameError, match="dice"):
        matrix_of('[[cells]]\ndataset="balls"\nmodel="toy_bright"', overrides=['metrics=["dcie"]'])


def test_settings_override_the_file(matrix_of):
    matrix = matrix_of(PAIR, overrides=["dataset.balls.options.cases=7", "seed=3"])
    assert matrix.dataset["balls"].options == {"cases": 7}
    assert {c.seed for c in matrix.plan()} == {3}


def _key(cell):
    return identify(cell, cell.dataset.open()).key


def test_keys_are_stable_and_differ_in_what_decides_the_result(matrix_of):
    cells = [c for c in matrix_of(PAIR).plan() if not c.skipped]
    assert [_key(c) for c in cells] == [_key(c) for c in matrix_of(PAIR).plan() if not c.skipped]
    assert len({_key(c) for c in cells}) == len(cells)
    other_data = matrix_of(PAIR, overrides=["dataset.balls.options.cases=7"]).plan()[0]
    assert _key(other_data) != _key(cells[0])


def test_keys_do_not_depend_on_where_files_lie(matrix_of, tmp_path):
    keys = set()
    for place in ("here", "there"):
        (tmp_path / place / "marker").mkdir(parents=True)
        block = f'[[cells]]\ndataset="balls"\nmodel="toy_bright"\noptions={{marker="{tmp_path / place / "marker"}"}}'
        keys.add(_key(matrix_of(block).plan()[0]))
    assert len(keys) == 1


def test_folders_are_readable_and_end_in_the_key(matrix_of):
    cell = matrix_of(PAIR).plan()[-1]
    assert folder_name(cell, "0123456789") == "toy_bright.boxed-on-balls-box-jitter-5-mm-01234567"
