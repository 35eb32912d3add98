import json
import os

import nibabel
import numpy as np
import pytest

from oncoseg.evaluation.scoring import DEFAULT_METRICS
from oncoseg.io.images import write_volume
from oncoseg.volume import Volume


def test_a_mask_against_itself_is_perfect(oncoseg, thorax):
    folder, *_ = thorax
    result = oncoseg("evaluate", folder / "tumour.nii.gz", folder / "tumour.nii.gz", "--json")
    assert result.code == 0
    found = {entry["name"]: entry for entry in json.loads(result.out)}
    assert list(found) == list(DEFAULT_METRICS)
    assert found["dice"] == {
        "name": "dice",
        "value": 1.0,
        "reason": None,
        "unit": "",
        "higher_is_better": True,
        "protocol": "case3d",
    }
    assert found["hd95_max"]["value"] == 0


def test_metrics_are_chosen_by_name(oncoseg, thorax):
    folder, *_ = thorax
    masks = [folder / "tumour.nii.gz"] * 2
    result = oncoseg("evaluate", *masks, "--json", "--metrics", "dice,nsd_border@2")
    assert [entry["name"] for entry in json.loads(result.out)] == ["dice", "nsd_border@2"]
    wrong = oncoseg("evaluate", *masks, "--metrics", "dise")
    assert (wrong.code, "Did you mean: dice" in wrong.err) == (2, True)


def test_undefined_is_null_with_a_reason(oncoseg, thorax):
    folder, _, mask = thorax
    write_volume(folder / "empty.nii.gz", mask.with_voxels(np.zeros(mask.shape, bool)))
    result = oncoseg("evaluate", folder / "tumour.nii.gz", folder / "empty.nii.gz", "--json")
    found = {entry["name"]: entry for entry in json.loads(result.out)}
    assert found["dice"]["value"] == 0
    assert (found["hd95_max"]["value"], found["hd95_max"]["reason"]) == (None, "prediction_empty")


def test_formats_may_differ_as_long_as_the_grid_is_one(oncoseg, thorax):
    folder, _, mask = thorax
    write_volume(folder / "tumour.nrrd", mask)
    result = oncoseg("evaluate", folder / "tumour.nii.gz", folder / "tumour.nrrd", "--json", "--metrics", "dice")
    assert json.loads(result.out)[0]["value"] == 1


def test_several_labels_ask_which_is_the_tumour(oncoseg, thorax):
    folder, _, mask = thorax
    labels = mask.voxels.astype(np.uint8) * 3
    labels[0, 0, :5] = 1
    write_volume(folder / "labels.nii.gz", mask.with_voxels(labels))
    asked = oncoseg("evaluate", folder / "labels.nii.gz", folder / "labels.nii.gz")
    assert (asked.code, "holds the labels 1, 3" in asked.err) == (2, True)
    chosen = ["--label", "3", "--json", "--metrics", "dice"]
    both = [folder / "labels.nii.gz", folder / "tumour.nii.gz"]
    binary = oncoseg("evaluate", *both, *chosen, "--prediction-label", "1")
    assert json.loads(binary.out)[0]["value"] == 1
    absent = oncoseg("evaluate", *both, *chosen)
    assert json.loads(absent.out)[0]["value"] == 0
    assert "holds label 1 and not 3: taken as no tumour" in absent.err


def bad(folder, mask, name):
    """Files that must be refused."""
    path = folder / f"bad-{name.replace(' ', '-')}.nii.gz"
    whole = (folder / "tumour.nii.gz").read_bytes()
    match name:
        case "missing":
            pass
        case "wrong extension":
            path = folder / "mask.png"
            path.write_bytes(whole)
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped byte":
            path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 0xFF]) + whole[-19:])
        case "empty file":
            path.write_bytes(b"")
        case "other grid":
            write_volume(
                path, Volume(mask.voxels, mask.affine + np.diag([0, 0, 0, 0]) + np.eye(4)[3] * [[5], [0], [0], [0]])
            )
        case "other shape":
            write_volume(path, mask.crop((0, 0, 0), (6, 40, 48)))
        case "not whole numbers":
            write_volume(path, mask.with_voxels(mask.voxels.astype(np.float32) * 0.5))
        case "not a number":
            values = np.where(mask.voxels, np.nan, 0).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), path)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "missing", "wrong extension", "truncated", "flipped byte", "empty file", "other grid", "other shape",
        "not whole numbers", "not a number",
    ],
)  # fmt: skip
def test_bad_masks_are_refused_by_name(oncoseg, thorax, name):
    folder, _, mask = thorax
    path = bad(folder, mask, name)
    before = sorted(os.listdir(folder))
    result = oncoseg("evaluate", folder / "tumour.nii.gz", path)
    assert result.code == 2, result
    assert path.name in result.err
    assert "Traceback" not in result.err
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("names", [",", ""])
def test_a_list_without_a_metric_is_refused(oncoseg, thorax, names):
    folder, *_ = thorax
    result = oncoseg("evaluate", folder / "tumour.nii.gz", folder / "tumour.nii.gz", "--metrics", names)
    assert (result.code, result.out) == (2, "")
    assert "names no metric" in result.err


def test_an_image_in_place_of_a_mask_is_called_one(oncoseg, thorax):
    folder, *_ = thorax
    for chosen in ([], ["--label", "40"]):
        result = oncoseg("evaluate", folder / "tumour.nii.gz", folder / "ct.nii.gz", *chosen)
        assert result.code == 2
        assert "ct.nii.gz" in result.err
        assert "an image, not a mask" in result.err


def test_all_rules_show_how_far_the_number_moves(oncoseg, thorax):
    folder, _, mask = thorax
    shifted = mask.with_voxels(np.roll(mask.voxels, 1, axis=2))
    write_volume(folder / "shifted.nii.gz", shifted)
    masks = [folder / "tumour.nii.gz", folder / "shifted.nii.gz"]
    shown = oncoseg("evaluate", *masks, "--protocol", "all")
    assert "dice moves by" in shown.out + shown.err
    found = json.loads(oncoseg("evaluate", *masks, "--protocol", "all", "--json").out)
    rules = {entry["protocol"] for entry in found}
    assert {"case3d", "tumour_slices", "all_slices_empty1", "official_medical_sam2"} <= rules
    assert "three_object_avg" not in rules  # needs lungs


def test_a_probability_is_scored_beside_its_mask(oncoseg, thorax):
    folder, _, mask = thorax
    soft = mask.with_voxels(np.where(mask.voxels, 0.8, 0.0).astype(np.float32))
    write_volume(folder / "soft.nii.gz", soft)
    masks = [folder / "tumour.nii.gz"] * 2
    result = oncoseg(
        "evaluate", *masks, "--metrics", "brier@box,brier@whole", "--probability", folder / "soft.nii.gz", "--json"
    )
    box, whole = (entry["value"] for entry in json.loads(result.out))
    assert box > whole > 0
    bare = json.loads(oncoseg("evaluate", *masks, "--metrics", "brier@box", "--json").out)
    assert (bare[0]["value"], bare[0]["reason"]) == (None, "no_probability")
