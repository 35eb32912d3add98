"""A cell leaves everything behind that a report needs, and nothing it should not know."""

import json

import pytest
import torch

from oncoseg.contracts import Entry
from oncoseg.errors import InputError
from oncoseg.experiments.cell import ChangedError, _status, run_cell
from oncoseg.experiments.identity import weights_hash
from oncoseg.experiments.matrix import HUMAN_READER
from oncoseg.experiments.sides import chosen_entries
from oncoseg.experiments.specs import DatasetSpec, ModelSpec
from oncoseg.experiments.store import MASKS, is_finished, read_cell
from oncoseg.io.images import read_mask
from oncoseg.weights.catalogue import digest_of
from oncoseg.weights.trained import About, write_checkpoint

BOXED = '[[cells]]\ndataset="balls"\nmodel="toy_bright.boxed"\nprompt={ use="box", jitter_mm=3.0, repeats=2 }\n'
AUTOMATIC = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\n'


def _only(matrix):
    (cell,) = matrix.plan()
    return cell


def test_an_automatic_cell_owes_nothing_to_the_reference(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of(AUTOMATIC)), tmp_path))
    assert [p.case for p in result.predictions] == ["ball-0", "ball-1", "ball-2"]
    assert {p.level for p in result.predictions} == {0}
    assert {s.value for s in result.scores if s.metric == "dice"} == {1.0}
    assert result.record.prompt == "none"
    assert result.record.jitter_mm is None
    assert result.record.notes == ["These are toys."]


def test_draws_are_predictions_of_their_own_with_the_same_patient(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of(BOXED)), tmp_path))
    assert [p.case for p in result.predictions][:2] == ["ball-0~1", "ball-0~2"]
    assert result.predictions[0].patient == result.predictions[1].patient == "patient-0"
    assert result.predictions[0].prompts != result.predictions[1].prompts
    ledger = result.predictions[0].ledger
    assert (ledger.boxes, ledger.prompt_source, ledger.jitter_mm, ledger.level) == (1, "jittered", 3.0, 2)
    assert result.record.jitter_mm == 3.0
    assert result.record.cases == 3


def test_masks_and_pictures_lie_beside_the_scores(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of(BOXED)), tmp_path))
    for prediction in result.predictions:
        mask = read_mask(result.folder / prediction.mask)
        volume = mask.voxels.sum() * mask.voxel_volume_mm3
        assert volume == pytest.approx(prediction.volume_prediction_mm3)
        shown = result.gallery(prediction.case)
        assert result.whole(shown).references["tumour"].sum() == shown.reference.sum()
        assert shown.reference.any()
        assert len(shown.boxes) == 1


def test_another_model_gets_the_same_prompts(matrix_of, tmp_path):
    other = BOXED + "options={ level=-100.0 }\n"
    first, second = (read_cell(run_cell(_only(matrix_of(text)), tmp_path)) for text in (BOXED, other))
    assert first.record.key != second.record.key
    assert [p.prompts for p in first.predictions] == [p.prompts for p in second.predictions]


def test_one_bad_case_is_recorded_and_the_others_go_on(matrix_of, tmp_path):
    matrix = matrix_of(AUTOMATIC, options='options={ broken=["ball-1"] }')
    result = read_cell(run_cell(_only(matrix), tmp_path))
    errors = {p.case: p.error for p in result.predictions}
    assert errors == {"ball-0": None, "ball-1": "ball-1.nii.gz is cut off", "ball-2": None}
    assert {s.case for s in result.scores} == {"ball-0", "ball-2"}


def test_a_cell_in_which_every_case_fails_is_not_finished(matrix_of, tmp_path):
    with pytest.raises(InputError, match="all 3 cases failed"):
        run_cell(_only(matrix_of(AUTOMATIC + 'options={ mode="fails" }')), tmp_path)
    assert not any(is_finished(folder) for folder in tmp_path.iterdir())


def test_a_model_that_looks_for_the_reference_finds_none(matrix_of, tmp_path):
    with pytest.raises((InputError, AttributeError), match="masks"):
        run_cell(_only(matrix_of(AUTOMATIC + 'options={ mode="peeks" }')), tmp_path)


def test_an_empty_reference_is_undefined_and_its_silence_counted(matrix_of, tmp_path):
    matrix = matrix_of(BOXED.replace("repeats=2", "repeats=1"), options='options={ empty=["ball-2"] }')
    result = read_cell(run_cell(_only(matrix), tmp_path))
    last = result.predictions[-1]
    assert (last.case, last.volume_prediction_mm3, last.ledger.silent_slices) == ("ball-2", 0.0, 10)
    assert "no prompt" in last.notes[-1]
    dice = next(s for s in result.scores if s.case == "ball-2" and s.metric == "dice")
    assert (dice.value, dice.reason) == (None, "both_empty")


def test_readers_are_scored_against_the_others(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of('[[cells]]\ndataset="balls"\nhuman_readers=true')), tmp_path))
    assert result.record.model == HUMAN_READER
    assert [p.case for p in result.predictions][:3] == ["ball-0~reader_1", "ball-0~reader_2", "ball-0~reader_3"]
    assert {p.ledger.prompt_source for p in result.predictions} == {"human reader"}
    values = [s.value for s in result.scores if s.metric == "dice"]
    assert len(values) == 9
    assert 0.3 < min(values) < max(values) <= 1


TRAINED = '[[cells]]\ndataset="balls"\nmodel="toy_network"\ntrain={ steps=6, batch=2, validate_every=3 }\nseed=[0]\n'
SPLIT = "options={ cases=6 }\nsplit={ test=0.34, validation=0.25, seed=1 }"


def test_a_training_cell_trains_on_other_patients_than_it_tests(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of(TRAINED, options=SPLIT)), tmp_path))
    assert result.record.trained_here
    assert result.record.cases == 2
    assert result.record.parameters_built == 10
    assert [line["step"] for line in result.training] == [3, 6]
    assert "checkpoint" in result.record.provenance.hashes


def test_cells_that_differ_in_scoring_only_share_a_training(matrix_of, tmp_path):
    for threshold in ("0.5", "0.4"):
        run_cell(_only(matrix_of(TRAINED + f"threshold={threshold}\n", options=SPLIT)), tmp_path)
    assert len(list((tmp_path / "trained").iterdir())) == 1
    assert len(list(tmp_path.glob("*/cell.json"))) == 2


def test_fraction_zero_scores_the_untrained_model(matrix_of, tmp_path):
    result = read_cell(run_cell(_only(matrix_of(TRAINED + "fraction=[0.0]\n", options=SPLIT)), tmp_path))
    assert not result.record.trained_here
    assert result.record.fraction == 0.0
    assert any("random weights" in note for note in result.record.notes)
    assert not (tmp_path / "trained").exists()


def test_cost_is_measured_once_for_cells_that_share_it(matrix_of, tmp_path):
    both = matrix_of(BOXED.replace("prompt=", 'prompt=["box", ').replace("}\n", "}]\n"), overrides=["cost=true"])
    costs = [read_cell(run_cell(cell, tmp_path)).cost for cell in both.plan()]
    assert costs[0] == costs[1]
    assert costs[0].seconds_median is not None
    assert len(list((tmp_path / "costs").iterdir())) == 1


def test_prompts_that_show_the_model_more_are_measured_on_their_own(matrix_of, tmp_path):
    cells = BOXED.replace("prompt=", 'prompt=["box", { use="box", per="slice" }, ').replace("}\n", "}]\n")
    for cell in matrix_of(cells, overrides=["cost=true"]).plan():
        run_cell(cell, tmp_path)
    assert len(list((tmp_path / "costs").iterdir())) == 2


def test_a_case_whose_name_looks_like_a_draw_is_refused(tmp_path):
    spec = DatasetSpec("phantom", options={"cases": 1})

    class Named:
        def entries(self):
            return [Entry("scan~1", "ann"), Entry("scan~2", "bob")]

    with pytest.raises(InputError, match=r"'scan~1'.*Rename"):
        chosen_entries(spec, Named())


def test_a_finished_cell_is_not_run_again(matrix_of, tmp_path):
    cell = _only(matrix_of(AUTOMATIC))
    folder = run_cell(cell, tmp_path)
    before = (folder / "cell.json").stat().st_mtime_ns
    assert run_cell(cell, tmp_path) == folder
    assert (folder / "cell.json").stat().st_mtime_ns == before


def test_results_name_no_folder_of_this_machine(matrix_of, tmp_path):
    place = tmp_path / "secret" / "marker"
    place.mkdir(parents=True)
    folder = run_cell(_only(matrix_of(AUTOMATIC + f'options={{ marker="{place}" }}')), tmp_path)
    text = (folder / "cell.json").read_text() + (folder / "predictions.jsonl").read_text()
    assert "secret" not in text
    assert json.loads((folder / "cell.json").read_text())["configuration"]["options"]["marker"] == "marker"
    assert (folder / MASKS).is_dir()


def test_a_cell_that_is_no_longer_what_was_planned_is_refused(matrix_of, tmp_path):
    with pytest.raises(ChangedError, match="Run the same command again"):
        run_cell(_only(matrix_of(AUTOMATIC)), tmp_path, key="0" * 64)
    assert not list(tmp_path.glob("toy*"))


def test_weights_that_were_trained_on_the_scored_data_set_are_flagged(matrix_of, tmp_path):
    run_cell(_only(matrix_of(TRAINED, options=SPLIT)), tmp_path / "first")
    (checkpoint,) = (tmp_path / "first" / "trained").glob("*/checkpoint.safetensors")
    again = f'[[cells]]\ndataset="balls"\nmodel="toy_network"\nweights="{checkpoint}"\n'
    same = read_cell(run_cell(_only(matrix_of(again, options="options={ cases=6 }")), tmp_path / "run"))
    assert "in its training data is listed" in same.record.notes[-1]
    assert same.record.seen["status"] == "listed"
    other = read_cell(run_cell(_only(matrix_of(again)), tmp_path / "run"))
    assert "in its training data is unknown" in other.record.notes[-1]


def test_weights_that_began_with_others_that_saw_the_data_set_are_flagged(tmp_path):
    digest = digest_of("lite-medsam")
    for began, expected in ((digest, "suspected"), ("0" * 64, "unknown"), (None, "unknown")):
        target = tmp_path / f"{expected}-{str(began)[:3]}.safetensors"
        write_checkpoint(target, {"a": torch.ones(1)}, About("lite_medsam", "", {}, dataset="others", began=began))
        found = _status(target, "lung1", "this one")
        assert found.status == expected
        assert ("began with lite-medsam" in found.source) == (expected == "suspected")


def test_random_weights_begin_with_nothing():
    assert weights_hash(ModelSpec("lite_medsam")) == digest_of("lite-medsam")
    assert weights_hash(ModelSpec("lite_medsam", {"random_weights": True})) is None
