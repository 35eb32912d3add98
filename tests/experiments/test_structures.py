"""One prediction of a model that tells structures apart gives a mask and scores for each of them."""

import pytest

from oncoseg import registry
from oncoseg.errors import ConfigError
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.identity import identify
from oncoseg.experiments.store import read_cell
from oncoseg.io.images import read_mask
from oncoseg.score import read_scores

ALSO = 'also=["lung_right", "lung_left"]\n'
STRUCTURES = '[[cells]]\ndataset="balls"\nmodel="toy_structures"\n'
BRIGHT = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\n'


@pytest.fixture
def run(matrix_of, tmp_path):
    """`run(cells, options=...)` is the result of the only cell of a matrix."""

    def run(cells, **options):
        (cell,) = matrix_of(cells, **options).plan()
        return read_cell(run_cell(cell, tmp_path / "run"))

    return run


@pytest.fixture
def asked():
    """What the model was asked for, in turn."""
    calls = registry.load("models", "toy_structures").CALLS
    calls.clear()
    return calls


def test_every_structure_is_scored_from_one_prediction(run, asked):
    """The toy's labels are right where the tumour owns the voxels it shares with a lung: Dice 1 everywhere."""
    result = run(STRUCTURES, options=ALSO)
    assert asked == ["predict_labels"] * 3
    dice = {(s.case, s.roi): s.value for s in (*result.scores, *result.others) if s.metric == "dice"}
    cases = ("ball-0", "ball-1", "ball-2")
    assert dice == {(case, roi): 1.0 for case in cases for roi in ("tumour", "lung_right", "lung_left")}


def test_scores_of_the_roi_stay_apart_from_the_others(run):
    result = run(STRUCTURES, options=ALSO)
    assert {s.roi for s in result.scores} == {"tumour"}
    assert {s.roi for s in result.others} == {"lung_right", "lung_left"}
    assert len(read_scores(result.folder / "scores.jsonl")) == len(result.scores) + len(result.others)
    assert [p.roi for p in result.predictions] == ["tumour"] * 3


def test_masks_of_structures_lie_beside_that_of_the_roi_and_do_not_overlap(run):
    result = run(STRUCTURES, options=ALSO)
    masks = result.folder / "masks"
    assert len(list(masks.iterdir())) == 9
    names = ("ball-0.nii.gz", "ball-0.lung_right.nii.gz", "ball-0.lung_left.nii.gz")
    owners = sum(read_mask(masks / name).voxels.astype(int) for name in names)
    assert (owners == 1).all()


def test_notes_say_where_the_masks_come_from(run):
    notes = run(STRUCTURES, options='also=["lung_left", "heart"]\n').record.notes
    assert "Toy structures: the masks tumour, lung_left are labels of one prediction, in which the threshold has" in (
        " ".join(notes)
    )
    assert "Toy structures: not scored, as it tells lung_right, lung_left, tumour apart: heart." in notes


def test_a_model_of_one_class_scores_the_roi_alone(run):
    result = run(BRIGHT, options=ALSO)
    assert result.others == []
    assert {s.value for s in result.scores if s.metric == "dice"} == {1.0}
    assert result.record.notes == ["These are toys."]


def test_without_also_the_probability_is_asked_for(run, asked):
    result = run(STRUCTURES)
    assert asked == ["predict"] * 3
    assert {s.value for s in result.scores if s.metric == "dice"} == {0.0}


def test_a_structure_that_nobody_marked_is_noted(run):
    result = run(STRUCTURES, options=ALSO + 'options={ one_lung=["ball-1"] }')
    assert {s.case for s in result.others if s.roi == "lung_left"} == {"ball-0", "ball-2"}
    assert {s.case for s in result.scores} == {"ball-0", "ball-1", "ball-2"}
    assert result.predictions[1].notes == ["lung_left is not marked in the case, so it is not scored."]


def test_a_protocol_of_three_objects_gets_them(run):
    """`three_object_avg` is the mean over lungs and tumour; the lungs have no score of their own under it."""
    result = run(STRUCTURES, options=ALSO, overrides=['protocol=["case3d", "three_object_avg"]'])
    averaged = [s for s in result.scores if s.protocol == "three_object_avg" and s.metric == "dice"]
    assert [s.value for s in averaged] == [1.0, 1.0, 1.0]
    assert {s.protocol for s in result.others} == {"case3d"}


def test_the_key_knows_structures_only_where_they_are_asked_for(matrix_of):
    (plain,), (more,) = (matrix_of(STRUCTURES, options=text).plan() for text in ("", ALSO))
    first, second = (identify(cell, cell.dataset.open()) for cell in (plain, more))
    assert "also" not in first.configuration
    assert second.configuration == {**first.configuration, "also": ["lung_right", "lung_left"]}


@pytest.mark.parametrize(
    ("also", "complaint"),
    [("tumour", "is scored as roi"), ("../lung", "use letters"), ('a", "a', "a mask twice: a, a")],
)
def test_what_also_cannot_name(matrix_of, also, complaint):
    with pytest.raises(ConfigError, match=complaint):
        matrix_of(STRUCTURES, options=f'also=["{also}"]')
