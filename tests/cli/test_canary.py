"""Nothing that names a patient reaches what the verbs write, unless a planning system needs it there."""

import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from oncoseg.io.dicom import find_series
from oncoseg.io.pseudonyms import read_key, with_key
from oncoseg.volume import Volume


def _module(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mock, canary = _module("mock_dicom"), _module("canary")
MARKS = (canary.MARK, canary.ROOT, canary.DAY, "Jane")

MATRIX = """
name = "clinic"
[dataset.clinic]
use = "dicom"
options = { root = "ROOT", key = "KEY" }
[[cells]]
dataset = "clinic"
model = "ellipsoid"
prompt = "box"
[[cells]]
dataset = "clinic"
model = "filled_box"
prompt = "box"
"""


def _patient(folder, number, patient=None):
    """CT and RTSTRUCT of one patient full of marks; the tumour is a bright cube."""
    voxels = np.random.default_rng(number).integers(-950, -750, (6, 24, 24)).astype(np.int16)
    voxels[2:4, 8:15, 9:17] = 40
    image = Volume.from_spacing(voxels, (3.0, 0.9, 0.9), (-12.5, 30.25, -400.0))
    uids = {"StudyInstanceUID": f"{canary.ROOT}.{number}.1", "SeriesInstanceUID": f"{canary.ROOT}.{number}.2"}
    slices = mock.ct_slices(image)
    contours = [mock.square((k, 11, 12.5), 3.6, image) for k in (2, 3)]
    drawn = mock.rtstruct({"GTV-1": contours, f"{canary.MARK} Jane": contours})
    referenced = drawn.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    referenced.RTReferencedSeriesSequence[0].SeriesInstanceUID = uids["SeriesInstanceUID"]
    for k, made in enumerate([*slices, drawn]):
        canary.plant(made)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{canary.ROOT}.{number}.3.{k}"
        made.StudyInstanceUID = uids["StudyInstanceUID"]
        made.PatientID = patient or f"{canary.MARK}-PAT-{number}"
    for made in slices:
        made.SeriesInstanceUID = uids["SeriesInstanceUID"]
    mock.save(folder / "ct", slices, prefix=f"{canary.MARK}-slice")
    drawn.save_as(folder / f"{canary.MARK}-rt.dcm", enforce_file_format=True)


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    """A folder with three patients, one of them with a damaged file, and a key; caches lie in the test's folder."""
    root = tmp_path / "in" / f"{canary.MARK} ward"
    for number in range(3):
        _patient(root / f"{canary.MARK} Jane {number}", number)
    broken = root / f"{canary.MARK} Jane 2" / "ct" / f"{canary.MARK}-slice-003.dcm"
    broken.write_bytes(broken.read_bytes()[:300])
    with_key(tmp_path / "key")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root


def test_a_study_from_images_to_report_holds_no_mark(oncoseg, clinic, tmp_path, caplog):
    key = tmp_path / "key"
    Path("../m.toml").write_text(MATRIX.replace("ROOT", str(clinic)).replace("KEY", str(key)))
    told = [oncoseg("bench", "../m.toml", "--out", "run")]
    told += [
        oncoseg("report", "run", "--out", "again.html"),
        oncoseg("statistics", "run"),
        oncoseg("audit", "run"),
        oncoseg("data", "check", "dicom", "--set", f"root={clinic}", "--set", f"key={key}"),
        oncoseg("data", "check", "dicom", "--json", "--set", f"root={clinic}", "--set", f"key={key}"),
        oncoseg("data", "import", clinic, "prepared", "--layout", "dicom", "--set", f"key={key}"),
    ]
    mask = next(Path("prepared/masks").rglob("*.nii.gz"))
    told.append(oncoseg("evaluate", mask, mask))
    # 4: of the damaged file.
    assert [t.code for t in told] == [4, 0, 0, 0, 4, 4, 4, 0], [t.err for t in told]
    assert list(Path("run").rglob("scores.jsonl"))
    for number, result in enumerate(told):
        Path(f"said-{number}.txt").write_text(result.out + result.err)
    Path("log.txt").write_text(caplog.text)
    assert canary.hits(tmp_path / "work", marks=MARKS) == []
    assert list((tmp_path / "cache").rglob("*.json"))
    assert canary.hits(tmp_path / "cache", marks=MARKS) == []
    assert read_key(key).patient(f"{canary.MARK}-PAT-0") in Path("run/report.html").read_text()


def test_without_a_key_cases_have_the_id_and_nothing_else_of_the_headers_is_kept(oncoseg, tmp_path, monkeypatch):
    for number in range(2):
        _patient(tmp_path / "in" / f"{canary.MARK} Jane {number}", number, patient=f"S{number}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "m.toml").write_text(MATRIX.replace("ROOT", str(tmp_path / "in")).replace(', key = "KEY"', ""))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    told = [
        oncoseg("bench", "../m.toml", "--out", "run"),
        oncoseg("audit", "run"),
        oncoseg("data", "check", "dicom", "--set", f"root={tmp_path / 'in'}"),
        oncoseg("data", "import", tmp_path / "in", "prepared"),
        oncoseg("convert", next((tmp_path / "in").glob("*/ct")), "image.nii.gz"),
    ]
    assert [t.code for t in told] == [0] * len(told), [t.err for t in told]
    assert "S0" in Path("run/report.html").read_text()
    assert canary.hits(tmp_path / "work", marks=MARKS) == []
    assert canary.hits(tmp_path / "cache", marks=MARKS) == []


def test_objects_for_planning_systems_name_the_patient_unless_asked_not_to(oncoseg, clinic, tmp_path):
    image = clinic / f"{canary.MARK} Jane 0" / "ct"
    box = "9,8,2,17,15,4"
    for folder, more in (("open", []), ("veiled", ["--deidentified", tmp_path / "key"])):
        files = [part for n in ("rtstruct", "seg", "sr") for part in (f"--{n}", f"{folder}/{n}.dcm")]
        sheet = ["--sheet", f"{folder}/sheet.html"]
        predicted = oncoseg(
            "predict", "ellipsoid", image, "--out", f"{folder}/mask.nii.gz", "--box", box, *files, *sheet, *more
        )
        assert predicted.code == 0, predicted.err
        files = [part for n in ("rtstruct", "seg", "sr") for part in (f"--{n}", f"{folder}/export/{n}.dcm")]
        exported = oncoseg(
            "export", f"{folder}/mask.nii.gz", "--reference", image, *files, "--sheet", f"{folder}/s.pdf", *more
        )
        assert exported.code == 0, exported.err
    # By design: a planning system files what is drawn under the patient of the image.
    assert {hit.split(":")[0] for hit in canary.hits(Path("open"), marks=(canary.MARK,))} == {
        f"{folder}{n}.dcm" for folder in ("", "export/") for n in ("rtstruct", "seg", "sr")
    }
    assert canary.hits(Path("veiled"), marks=MARKS) == []


def test_what_is_deidentified_in_parts_fits_together(oncoseg, clinic, tmp_path):
    image, key = clinic / f"{canary.MARK} Jane 0" / "ct", tmp_path / "key"
    oncoseg("predict", "ellipsoid", image, "--out", "m.nii.gz", "--box", "9,8,2,17,15,4", "--seg", "seg.dcm",
            "--deidentified", key)  # fmt: skip
    assert oncoseg("deidentify", image, "clean", "--key", key).code == 0
    (ct,) = find_series(Path("clean"))
    (seg,) = [s for s in find_series(Path(".")) if s.modality == "SEG"]
    assert (seg.patient, seg.study, seg.frame_of_reference) == (ct.patient, ct.study, ct.frame_of_reference)


def test_deidentifying_and_all_after_it_hold_no_mark(oncoseg, clinic, tmp_path):
    result = oncoseg("deidentify", clinic, "clean", "--key", tmp_path / "key")
    assert result.code == 4  # of the damaged file, which the message names for whoever has it
    oncoseg("data", "import", "clean", "prepared", "--layout", "dicom")
    oncoseg("data", "export", "dicom", "exported", "--set", "root=clean")
    assert canary.hits(Path("."), marks=MARKS) == []


def _kept(told):
    """What the verbs said, in files beside what they wrote."""
    for number, result in enumerate(told):
        Path(f"said-{number}.txt").write_text(result.out + result.err)


def test_what_is_learned_from_patients_names_none_of_them(oncoseg, clinic, tmp_path, caplog):
    for number in range(2, 6):  # the damaged one anew
        _patient(clinic / f"{canary.MARK} Jane {number}", number)
    options = [f"root={clinic}", f"key={tmp_path / 'key'}"]
    data = [part for option in options for part in ("--data", option)]
    Path("../typed").symlink_to(clinic / f"{canary.MARK} Jane 0" / "ct")  # what is typed is said again
    tiny = ["--train", "steps=2", "--train", "batch=2"]
    both = [part for option in options for part in ("--target-data", option)]
    told = [
        oncoseg("train", "unet", "dicom", *data, "--recipe", "smoke", *tiny, "--test", "0.3", "--out", "trained"),
        oncoseg("degrade", "filled_box", "--dataset", "dicom", *data, "--axis", "jitter_px=0,5", "--repeats", "1",
                "--alone", "--out", "worse"),
        oncoseg("transfer", "--source", "phantom", "--source-data", "cases=3", "--source-data", "shape=[8,24,24]",
                "--source-data", "spacing=[10.0,8.0,8.0]", "--target", "dicom", *both, "--model", "unet",
                "--recipe", "smoke", "--train", "steps=2", "--train", "batch=2", "--out", "moved"),
        oncoseg("predict", "trained", "../typed", "--out", "tumour.nii.gz"),
        oncoseg("lungs", "../typed", "--out", "lungs.nii.gz"),
        oncoseg("figure", "panel", "worse", "--out", "figure"),
    ]  # fmt: skip
    _kept(told)
    Path("log.txt").write_text(caplog.text)
    assert [t.code for t in told] == [0] * len(told), "".join(t.err[-900:] for t in told)
    assert canary.hits(tmp_path / "work", marks=MARKS) == []
    assert canary.hits(tmp_path / "cache", marks=MARKS) == []


def test_nifti_texts_are_not_handed_on(oncoseg, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    voxels = np.random.default_rng(0).integers(-900, 0, (20, 20, 8)).astype(np.int16)
    made = nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 3.0, 1.0]))
    made.header["descrip"], made.header["aux_file"] = f"{canary.MARK} 1".encode(), f"{canary.MARK} 2".encode()
    made.header["intent_name"], made.header["db_name"] = f"{canary.MARK} 3".encode(), f"{canary.MARK} 4".encode()
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"{canary.MARK} 5".encode()))
    source = tmp_path / "in" / "ct.nii.gz"
    source.parent.mkdir()
    nibabel.save(made, source)
    assert len(canary.hits(tmp_path / "in")) >= 5
    out = tmp_path / "out"
    commands = [
        ["convert", source, "--spacing", "1,1,2", out / "resampled.nii.gz"],
        ["convert", source, out / "image.nrrd"],
        ["predict", "ellipsoid", source, "--out", out / "mask.nii.gz", "--box", "4,4,2,12,12,5"],
    ]
    for command in commands:
        result = oncoseg(*command)
        assert result.code == 0, result.err
    assert canary.hits(out) == []
