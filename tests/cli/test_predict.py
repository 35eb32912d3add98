import json
import os
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from oncoseg.io.images import read_image, read_mask, write_volume
from oncoseg.prompt import tight_box


def slicer(box):
    """A box as people type it: column, row, slice."""
    return ",".join(str(n) for n in [*box.start[::-1], *box.stop[::-1]])


def test_a_box_in_voxels_of_slicer_gives_a_mask_on_the_grid_of_the_image(oncoseg, thorax):
    folder, image, mask = thorax
    box = tight_box(mask)
    result = oncoseg("predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--box", slicer(box))
    assert result.code == 0, result.err
    found = read_mask(folder / "p.nii.gz")
    assert found.same_grid(image)
    expected = np.zeros(image.shape, bool)
    expected[box.region] = True
    assert np.array_equal(found.voxels, expected)


def test_the_same_box_in_millimetres_gives_the_same_mask(oncoseg, thorax):
    folder, image, mask = thorax
    box = tight_box(mask)
    click = [int(v) for v in np.argwhere(mask.voxels)[0]]
    corner = ",".join(f"{v:.6f}" for v in image.index_to_mm(click))
    low = ",".join(f"{v:.4f}" for v in np.concatenate([image.index_to_mm(box.start), image.index_to_mm(box.stop)]))
    result = oncoseg("predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nrrd", "--mm", f"--box={low}")
    assert result.code == 0, result.err
    assert read_mask(folder / "p.nrrd").voxels[tuple(click)], corner


def test_a_prompt_file_is_the_same_as_typing(oncoseg, thorax):
    folder, _, mask = thorax
    box = tight_box(mask)
    (folder / "prompts.json").write_text(json.dumps([{"type": "box", "start": box.start, "stop": box.stop}]))
    oncoseg("predict", "ellipsoid", folder / "ct.nii.gz", "--out", folder / "a.nii.gz", "--box", slicer(box))
    oncoseg(
        "predict", "ellipsoid", folder / "ct.nii.gz", "--out", folder / "b.nii.gz", "--prompts", folder / "prompts.json"
    )
    assert (folder / "a.nii.gz").exists()
    assert np.array_equal(read_mask(folder / "a.nii.gz").voxels, read_mask(folder / "b.nii.gz").voxels)


def test_a_prompt_from_a_reference_is_said_and_counted(oncoseg, thorax):
    folder, _, mask = thorax
    result = oncoseg(
        "predict", "region_growing", folder / "ct.nii.gz", "--out", folder / "p.nii.gz",
        "--reference", folder / "tumour.nii.gz", "--prompt", "box",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "1 box, oracle, level 2" in result.err
    found = read_mask(folder / "p.nii.gz").voxels
    assert 2 * (found & mask.voxels).sum() / (found.sum() + mask.voxels.sum()) > 0.9


def test_probabilities_are_written_as_numbers(oncoseg, thorax):
    folder, image, mask = thorax
    arguments = ["--probabilities", "--out", folder / "p.nii.gz", "--box", slicer(tight_box(mask))]
    assert oncoseg("predict", "ellipsoid", folder / "ct.nii.gz", *arguments).code == 0
    found = read_image(folder / "p.nii.gz")
    assert found.voxels.dtype == np.float32 or set(np.unique(found.voxels)) <= {0, 1}
    assert found.same_grid(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "filled_bx", "{ct}", "--out", "{out}", "--box", "1,1,1,5,5,5"], "Did you mean: filled_box"),
        (["predict", "filled_box", "{no}", "--out", "{out}", "--box", "1,1,1,5,5,5"], "does not exist"),
        (["predict", "filled_box", "{ct}", "--out", "{out}"], "needs a prompt"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--box", "1,1,1,5,5"], "must be 6 numbers"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--box", "1,1,1,5,5,99"], "leaves the volume"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--box", "5,5,5,1,1,1"], "half open"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--click", "5,5,5"], "takes no click"),
        (["predict", "empty", "{ct}", "--out", "{out}", "--box", "1,1,1,5,5,5"], "takes none"),
        (["predict", "empty", "{ct}", "--out", "{out}.png"], "suffix is none of"),
        (["predict", "empty", "{ct}", "--out", "{out}", "--set", "a=1"], "unknown key 'a'"),
        (["predict", "unet.primakof", "{ct}", "--out", "{out}"], "Did you mean: primakov"),
        (["predict", "unet", "{ct}", "--out", "{out}", "--weights", "{no}"], "do not exist"),
        (["predict", "unet", "{ct}", "--out", "{out}"], "knows nothing yet"),
        (["predict", "empty", "{ct}", "--out", "{out}", "--reference", "{ct}"], "go together"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--prompt", "box"], "go together"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--prompt", "lung_box"], "found nothing to point at"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--prompt", "replay"], "--prompts FILE.json"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--scribble", "1,1;2,2"], "--scribble '1,1' must be 3"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--scribble", "1,1,1;99,1,1"], "outside the volume"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--scribble", "-"], "with semicolons"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--scribble", "1,1,1;5,5,1"], "takes no scribble"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--mask", "{ct}"], "takes no mask"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--mask", "{no}"], "does not exist"),
        (["predict", "filled_box", "{ct}", "--out", "{out}", "--mm", "--box", "9000,0,0,9001,1,1"], ""),
        (["predict", "empty", "{ct}", "--out", "{ct}/below.nii.gz"], "not a folder"),
    ],
)
def test_wrong_requests_are_refused_with_the_way_out(oncoseg, thorax, arguments, message):
    folder, *_ = thorax
    places = {"ct": folder / "ct.nii.gz", "no": folder / "no.nii.gz", "out": folder / "out.nii.gz"}
    before = sorted(os.listdir(folder))
    result = oncoseg(*[a.format(**places) for a in arguments])
    assert result.code == 2, result
    assert message in result.err
    assert "Traceback" not in result.err
    assert sorted(os.listdir(folder)) == before


def test_empty_reference_gives_no_prompt(oncoseg, thorax):
    folder, _, mask = thorax
    write_volume(folder / "empty.nii.gz", mask.with_voxels(np.zeros(mask.shape, bool)))
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz",
        "--reference", folder / "empty.nii.gz", "--prompt", "box",
    )  # fmt: skip
    assert result.code == 2
    assert "empty.nii.gz is empty" in result.err
    assert not (folder / "p.nii.gz").exists()


def test_a_pickle_with_code_is_refused_and_never_run(oncoseg, thorax):
    import pickle

    folder, *_ = thorax
    marker = folder / "ran"

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    (folder / "evil.pth").write_bytes(pickle.dumps({"model": Harm()}))
    result = oncoseg(
        "predict", "unet", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--weights", folder / "evil.pth"
    )
    assert result.code == 2
    assert "evil.pth" in result.err
    assert not marker.exists()


def test_a_folder_with_the_name_of_a_model_does_not_hide_it(oncoseg, thorax, monkeypatch):
    folder, _, mask = thorax
    monkeypatch.chdir(folder)
    (folder / "ellipsoid").mkdir()
    arguments = ["--out", "p.nii.gz", "--box", slicer(tight_box(mask))]
    assert oncoseg("predict", "ellipsoid", "ct.nii.gz", *arguments).code == 0


@pytest.mark.parametrize(
    "typed",
    [
        ["--box", "10,10,4,18,18,nan"],
        ["--box", "10,10,4,18,18,inf"],
        ["--click", "10,10,nan"],
        ["--mm", "--box", "0,0,nan,9,9,9"],
        ["--mm", "--click", "0,0,inf"],
    ],
)
def test_a_prompt_that_is_no_number_is_refused(oncoseg, thorax, typed):
    folder, _, _ = thorax
    result = oncoseg("predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", *typed)
    assert result.code == 2
    assert typed[-1] in result.err
    assert "Warning" not in result.err
    assert not (folder / "p.nii.gz").exists()


def test_a_box_outside_the_volume_is_named_as_it_was_typed(oncoseg, thorax):
    folder, _, _ = thorax
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--box", "1,2,3,10,11,99"
    )
    assert result.code == 2
    assert "--box '1,2,3,10,11,99'" in result.err


@pytest.mark.parametrize(
    "content",
    [
        "[[1, 2, 3]]",
        '[{"type": "click", "index": [Infinity, 1, 1]}]',
        '[{"type": "click", "space": "mm", "position_mm": [NaN, 1, 1]}]',
        '[{"type": "box", "space": "mm", "start": [1, 1], "stop": [9, 9]}]',
    ],
)
def test_a_prompt_file_with_odd_entries_is_refused_by_name(oncoseg, thorax, content):
    folder, _, _ = thorax
    (folder / "odd.json").write_text(content)
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--prompts", folder / "odd.json"
    )
    assert result.code == 2
    assert "odd.json: Prompt 1 of 1" in result.err


def test_a_prompt_file_that_is_no_json_is_named_once(oncoseg, thorax):
    folder, _, _ = thorax
    (folder / "odd.json").write_text("{nope")
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--prompts", folder / "odd.json"
    )
    assert (result.code, result.err.count("odd.json")) == (2, 1)


def test_scribbles_and_masks_are_typed(oncoseg, thorax, monkeypatch):
    """A model that keeps what it was given, in the order of the command."""
    from oncoseg.models import filled_box
    from oncoseg.prompt import MaskPrompt, Scribble

    folder, image, mask = thorax
    seen = []

    class Keeping:
        info = replace(filled_box.INFOS[0], prompts=("scribble", "mask"))

        def predict(self, image, prompts=()):
            seen.extend(prompts)
            return image.with_voxels(np.zeros(image.shape, np.float32))

    monkeypatch.setattr(filled_box, "build", lambda *a, **k: Keeping())
    (folder / "prompts.json").write_text(json.dumps([{"type": "mask", "file": "tumour.nii.gz", "lesion": 2}]))
    start, stop = (",".join(f"{v:.4f}" for v in image.index_to_mm(i)) for i in ((6, 20, 18), (6, 22, 18)))
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--scribble", "18,20,6;18,22,6;-",
        "--mask", folder / "tumour.nii.gz", "--prompts", folder / "prompts.json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "1 scribble + 2 masks, user, level 1" in result.err
    scribble, rough, listed = seen
    assert scribble == Scribble(((6, 20, 18), (6, 21, 18), (6, 22, 18)), positive=False)
    assert isinstance(rough, MaskPrompt)
    assert np.array_equal(rough.mask.voxels, mask.voxels)
    assert listed.lesion == 2
    command = ["--out", folder / "p.nii.gz", "--mm", f"--scribble={start};{stop}"]
    assert oncoseg("predict", "filled_box", folder / "ct.nii.gz", *command).code == 0
    assert seen[-1] == Scribble(((6, 20, 18), (6, 21, 18), (6, 22, 18)))


def test_a_mask_on_another_grid_is_named(oncoseg, thorax):
    folder, _, mask = thorax
    write_volume(folder / "small.nii.gz", mask.crop((0, 0, 0), (5, 20, 20)))
    command = ["predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz"]
    result = oncoseg(*command, "--mask", folder / "small.nii.gz")
    assert result.code == 2
    assert "small.nii.gz" in result.err
    assert "grid" in result.err


def test_an_automatic_prompt_needs_no_reference(oncoseg, thorax):
    folder, *_ = thorax
    command = ["predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "p.nii.gz", "--prompt", "whole_image"]
    result = oncoseg(*command)
    assert result.code == 0, result.err
    assert "1 box, automatic, level 0" in result.err
    assert read_mask(folder / "p.nii.gz").voxels.all()
    refused = oncoseg(*command, "--reference", folder / "tumour.nii.gz")
    assert refused.code == 2
    assert "leave --reference away" in refused.err


def test_clinical_files_are_written_for_a_dicom_series(oncoseg, mock_patient, tmp_path):
    import pydicom

    from oncoseg.io.images import read_mask
    from oncoseg.io.rtstruct import read_rois
    from oncoseg.io.seg import read_segments

    patient = mock_patient("P1")
    patient.ct()
    folder, out = patient.folder / "0.000000-NA-82046", tmp_path / "out.nii.gz"
    files = ("--rtstruct", tmp_path / "rt.dcm", "--seg", tmp_path / "seg.dcm", "--sr", tmp_path / "sr.dcm")
    result = oncoseg(
        "predict", "filled_box", folder, "--out", out, "--box", "15,24,4,26,36,9", *files, "--roi", "GTV-1"
    )
    assert result.code == 0, result.err
    mask = read_mask(out)
    assert mask.voxels.sum() == 11 * 12 * 5
    assert (read_rois(tmp_path / "rt.dcm", mask)["GTV-1"].voxels == mask.voxels).all()
    assert (read_segments(tmp_path / "seg.dcm", mask)["GTV-1"].voxels == mask.voxels).all()
    (roi,) = pydicom.dcmread(tmp_path / "rt.dcm").StructureSetROISequence
    assert roi.ROIGenerationAlgorithm == "SEMIAUTOMATIC"
    assert "1 box, user" in roi.ROIDescription


def test_clinical_files_need_a_dicom_series(oncoseg, thorax):
    folder, *_ = thorax
    result = oncoseg(
        "predict", "filled_box", folder / "ct.nii.gz", "--out", folder / "out.nii.gz", "--rtstruct", folder / "rt.dcm"
    )
    assert (result.code, "is not DICOM" in result.err) == (2, True)
    assert not (folder / "out.nii.gz").exists()


def test_the_best_of_several_series_is_taken_and_said_when_asked_for(oncoseg, mock_patient, tmp_path):
    patient = mock_patient("P1")
    patient.ct()
    folder = next(p.parent for p in patient.folder.rglob("*.dcm"))
    other = folder / "other"
    other.mkdir()
    for number, file in enumerate(sorted(folder.glob("*.dcm"))[:3]):
        made = pydicom.dcmread(file)
        made.SeriesInstanceUID, made.SOPInstanceUID = "1.2.99", f"1.2.99.{number}"
        made.save_as(other / file.name)
    command = ["predict", "ellipsoid", folder, "--out", tmp_path / "m.nii.gz", "--box", "9,8,1,17,15,4"]
    refused = oncoseg(*command)
    assert refused.code == 2
    assert "holds 2 image series" in refused.err
    taken = oncoseg(*command, "--series", "best", "--seg", tmp_path / "seg.dcm")
    assert taken.code == 0, taken.err
    assert "best of 2 series: CT, axial, 3 mm, because it covers 36 mm instead of 9 mm" in taken.err
    assert read_image(tmp_path / "m.nii.gz").shape == (12, 64, 64)
    assert pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID == patient.series
    assert "no image series 1.5" in oncoseg(*command, "--series", "1.5").err
