"""Every agreed value of the shared mask pairs and lesion cases."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import metric

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "metrics"
PAIRS = sorted(FOLDER.glob("p_*.json"))


def decode(shape, runs):
    flat = np.zeros(math.prod(shape), dtype=bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = True
    return flat.reshape(shape)


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_agreed_values_of_a_mask_pair(path):
    case = json.loads(path.read_text())
    masks = [decode(case["shape"], case[side]["rle"]) for side in ("ref", "pred")]
    pair = MaskPair.from_arrays(*masks, case["spacing"])
    counts = pair.counts
    assert {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn} == case["counts"]
    for name, agreed in case["agree"].items():
        measured, want = metric(name)(pair), agreed["value"]
        if want == "nan":
            assert (measured.value, bool(measured.reason)) == (None, True), name
        else:
            tolerance = 2e-5 if name.startswith("sdice_surfel") else 1e-6
            assert measured.value == pytest.approx(want, rel=tolerance, abs=tolerance), name


def test_the_shared_folder_holds_the_pairs_it_promises(shared):
    assert len(list((shared / "cases" / "metrics").glob("p_*.json"))) == 50


def test_lesion_cases(shared):
    cases = json.loads((shared / "cases" / "metrics" / "_lesion_cases.json").read_text())
    assert len(cases) == 9
    for case in cases:
        masks = [decode(case["shape"], case[side]) for side in ("ref_rle", "pred_rle")]
        pair, want = MaskPair.from_arrays(*masks, case["spacing"]), case["values"]
        found = pair.matched()
        assert (found.references, found.predictions, found.found) == (want["n_ref"], want["n_pred"], want["tp"])
        assert metric("lesion_f1")(pair).value == pytest.approx(want["rq"], abs=1e-5), case["id"]
        assert metric("lesion_pq")(pair).value == pytest.approx(want["pq"], abs=1e-5), case["id"]
        assert metric("lesion_sensitivity")(pair).value == pytest.approx(want["lesion_sensitivity"], abs=1e-5)
        assert metric("lesion_precision")(pair).value == pytest.approx(want["lesion_precision"], abs=1e-5)
        assert metric("false_lesions")(pair).value == want["fp"]
        assert metric("missed_lesions")(pair).value == want["fn"]
        assert metric("lesion_sq")(pair).value == pytest.approx(want["sq_iou"], abs=1e-5)
        assert metric("lesion_sq_dice")(pair).value == pytest.approx(want["sq_dice"], abs=1e-5)
        assert metric("merged_lesions")(pair).value == (case["id"] == "p_lesion_merged")
        assert metric("split_lesions")(pair).value == (case["id"] == "p_lesion_split_one")


def test_calibration_cases(shared):
    cases = json.loads((shared / "cases" / "metrics" / "_calibration_cases.json").read_text())
    assert len(cases) == 4
    names = {"ece_foreground": "ece_10", "mce": "mce_10", "brier": "brier", "nll": "nll"}
    for case in cases:
        label = np.array([case["label"]], dtype=bool)
        pair = MaskPair.from_arrays(label, label, (1, 1), probability=np.array([case["prob"]]))
        for ours, theirs in {**names, "ece_top_label": "ece_top_label_10"}.items():
            assert metric(f"{ours}@whole")(pair).value == pytest.approx(case["values"][theirs], abs=1e-9), case["id"]


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_a_band_of_border_voxels_alone_is_the_boundary_iou_of_metrics_reloaded(path):
    case = json.loads(path.read_text())
    theirs = case["single_source"].get("biou_default")
    if theirs is None or not isinstance(theirs["value"], float) or case["degenerate"]:
        pytest.skip("no value of MetricsReloaded")
    masks = [decode(case["shape"], case[side]["rle"]) for side in ("ref", "pred")]
    found = metric("boundary_iou@0")(MaskPair.from_arrays(*masks, case["spacing"]))
    assert found.value == pytest.approx(theirs["value"], abs=1e-6)
