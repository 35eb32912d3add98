"""What a cell keeps beside its scores: lesions, calibration, several readers at once, where cases went."""

import pytest

from oncoseg.evaluation.scoring import PROBABILITY_METRICS
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.store import CALIBRATION, LESIONS, read_cell

DOUBTS = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\noptions={ mode="doubts" }\n'
SURE = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\n'
READERS = '[[cells]]\ndataset="balls"\nhuman_readers=true\n'


@pytest.fixture
def result(matrix_of, tmp_path):
    def run(text, **more):
        (cell,) = matrix_of(text, **more).plan()
        return read_cell(run_cell(cell, tmp_path))

    return run


def test_a_probability_is_scored_in_every_region(result):
    found = result(DOUBTS)
    brier = {s.metric: s.value for s in found.scores if s.case == "ball-0" and s.metric.startswith("brier")}
    assert brier == {f"brier@{region}": pytest.approx(0.01) for region in ("whole", "box", "boundary")}
    assert {s.metric for s in found.scores} >= set(PROBABILITY_METRICS)
    (first, *_) = found.calibration
    assert (first.case, first.reason) == ("ball-0", None)
    assert first.calibration("whole").voxels == 10 * 12 * 12
    assert 0 < first.uncertainty < 1


def test_an_output_of_0_and_1_has_no_calibration_and_says_so(result):
    found = result(SURE)
    assert {r.reason for r in found.calibration} == {"binary_output"}
    assert not {s.metric for s in found.scores} & set(PROBABILITY_METRICS)


def test_every_lesion_is_kept_with_what_is_known_of_it(result):
    found = result(DOUBTS)
    assert [(r.case, r.kind, r.found, r.dice) for r in found.lesions] == [
        (f"ball-{n}", "reference", True, 1) for n in range(3)
    ]
    (first, *_) = found.lesions
    assert first.contrast == pytest.approx(800, abs=15)
    assert (first.readers, first.marked_by) == (3, 3)
    assert 0.5 < first.agreement < 1
    assert first.score == pytest.approx(0.9)
    assert first.location in ("pleural", "inside lung")


def test_three_readers_are_compared_at_once(result):
    model, people = result(DOUBTS), result(READERS)
    names = {"dice_staple", "soft_dice", "soft_brier"}
    assert names <= {s.metric for s in model.scores}
    assert names <= {s.metric for s in people.scores}
    # The second reader drew the tumour itself, between the other two: the human ceiling is below 1.
    of_reader = {s.case: s.value for s in people.scores if s.metric == "soft_dice"}
    assert max(of_reader.values()) < 1
    assert {r.reason for r in people.calibration} == {"no_probability"}


def test_the_way_of_the_cases_is_counted(result):
    found = result(SURE, options='cases=["ball-0", "ball-2"]')
    assert found.record.flow == {
        "known": 3,
        "excluded": {"not named in the matrix": 1},
        "train": 0,
        "validation": 0,
        "test": 2,
    }


def test_a_run_from_before_they_were_kept_still_reads(result):
    folder = result(SURE).folder
    for name in (LESIONS, CALIBRATION):
        (folder / name).unlink()
    again = read_cell(folder)
    assert (again.lesions, again.calibration) == ([], [])
