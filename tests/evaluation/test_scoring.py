import subprocess
import sys

import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError, UnknownNameError
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import DEFAULT_METRICS, metric, metric_infos, metric_names, score_case
from oncoseg.volume import Volume


def test_one_score_a_metric_in_the_order_given(blobs):
    scores = score_case(*blobs, case="a", patient="p", metrics=["hd95_max", "dice"])
    assert [(s.metric, s.case, s.patient, s.roi, s.protocol) for s in scores] == [
        ("hd95_max", "a", "p", "tumour", "case3d"),
        ("dice", "a", "p", "tumour", "case3d"),
    ]
    assert [s.unit for s in scores] == ["mm", ""]
    assert [s.higher_is_better for s in scores] == [False, True]


def test_default_metrics_are_all_scored(blobs):
    assert [s.metric for s in score_case(*blobs, case="a", patient="p")] == list(DEFAULT_METRICS)


def test_distances_are_computed_once_for_all_metrics(blobs, monkeypatch):
    calls = []
    original = MaskPair.__dict__["distances"].func

    def counted(self):
        calls.append(1)
        return original(self)

    monkeypatch.setattr(MaskPair.__dict__["distances"], "func", counted)
    score_case(*blobs, case="a", patient="p")
    assert len(calls) == 1


def test_an_undefined_score_has_a_reason_and_no_number(blobs, nothing):
    (score,) = score_case(blobs[0], nothing, case="a", patient="p", metrics=["hd95_max"])
    assert (score.value, score.reason) == (None, "prediction_empty")


def test_a_probability_is_thresholded_by_the_protocol(blobs):
    reference = blobs[0]
    sure = reference.with_voxels(np.where(reference.voxels, 0.51, 0.5).astype(np.float32))
    (score,) = score_case(reference, sure, case="a", patient="p", metrics=["dice"])
    assert score.value == 1


def test_hounsfield_units_are_no_prediction(blobs):
    with pytest.raises(InputError, match="boolean mask or a probability"):
        score_case(blobs[0], blobs[0].with_voxels(np.full(blobs[0].shape, 40.0)), case="a", patient="p")


def test_a_prediction_on_another_grid_is_refused(blobs):
    with pytest.raises(GridMismatchError, match="case a: reference and prediction"):
        score_case(blobs[0], Volume.from_spacing(blobs[1].voxels, (1, 1, 1)), case="a", patient="p")


def test_a_protocol_answers_only_with_metrics_it_defines(blobs):
    scores = score_case(*blobs, case="a", patient="p", metrics=["dice", "hd"], protocol="pooled")
    assert [s.metric for s in scores] == ["dice"]
    lesions = score_case(*blobs, case="a", patient="p", metrics=["dice"], protocol="lesion")
    assert "lesion_f1" in [s.metric for s in lesions]


def test_parameters_are_part_of_the_name():
    assert metric("nsd_border@2").name == "nsd_border@2"
    assert metric("sdice_surfel@1.050").name == "sdice_surfel@1.05"


def test_an_unknown_metric_suggests_near_ones():
    with pytest.raises(UnknownNameError, match=r"Unknown metric 'hd95'\. Did you mean: hd"):
        metric("hd95")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nsd_border", "needs its tolerance in mm: write nsd_border@2"),
        ("nsd_border@", "needs its tolerance in mm"),
        ("nsd_border@x", "tolerance in mm must be a number >= 0"),
        ("nsd_border@-1", "tolerance in mm must be a number >= 0"),
        ("sdice_surfel@nan", "tolerance in mm must be a number >= 0"),
        ("dice@2", "takes no parameter; write 'dice'"),
    ],
)
def test_wrong_parameters_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        metric(name)


def test_every_metric_is_listed_with_its_facts():
    assert [info.name for info in metric_infos()] == metric_names()


def test_scoring_imports_without_torch_or_scipy():
    code = "import sys, oncoseg.evaluation.scoring; print({'torch', 'scipy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
