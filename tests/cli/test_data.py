"""One patient whose files are damaged among others: the others go on, and the exit code says so."""

import json
import shutil

import pydicom
import pytest


@pytest.fixture
def patients(mock_patient, tmp_path):
    """Three patients; `spoil` damages files of one of them and gives their paths."""
    for name in ("P1", "P2", "P3"):
        made = mock_patient(name)
        made.ct()
        made.rtstruct(("GTV-1",))
    root = tmp_path / "lung1"

    def spoil(name, modality, how):
        files = [f for f in sorted(root.rglob("*.dcm")) if name in str(f)]
        files = [f for f in files if pydicom.dcmread(f, stop_before_pixels=True).Modality == modality]
        how(files[len(files) // 2])
        return files[len(files) // 2]

    return root, spoil


def cut(file):
    file.write_bytes(file.read_bytes()[:600])


DAMAGE = pytest.mark.parametrize(
    ("modality", "how", "reason"),
    [
        ("CT", lambda file: file.unlink(), "Missing"),
        ("CT", lambda file: file.write_bytes(b""), "is empty"),
        ("RTSTRUCT", cut, "damaged or truncated"),
        ("RTSTRUCT", lambda file: file.write_bytes(b""), "is empty"),
    ],
    ids=["missing slice", "empty slice", "cut contours", "empty contours"],
)


@DAMAGE
def test_check_fails_and_names_the_damage(oncoseg, patients, modality, how, reason):
    root, spoil = patients
    file = spoil("P2", modality, how)
    result = oncoseg("data", "check", "dicom", "--set", f"root={root}", "--json")
    assert result.code == 4
    errors = [f for f in json.loads(result.out) if f["severity"] == "error"]
    errors = [f for f in errors if "voxel for voxel" not in f["message"]]  # the mock patients look alike
    assert len(errors) == 1
    assert reason in errors[0]["message"]
    assert str(file.parent) in errors[0]["message"]


@DAMAGE
def test_import_writes_the_others_and_fails(oncoseg, patients, tmp_path, modality, how, reason):
    root, spoil = patients
    spoil("P2", modality, how)
    result = oncoseg("data", "import", root, tmp_path / "prepared")
    assert result.code == 4
    assert reason in result.err.split("could not be read")[-1]
    assert sorted(f.name for f in (tmp_path / "prepared" / "images").iterdir()) == ["P1.nii.gz", "P3.nii.gz"]


def test_bench_scores_the_others_and_fails(oncoseg, patients, tmp_path):
    root, spoil = patients
    spoil("P2", "CT", lambda file: file.unlink())
    (tmp_path / "m.toml").write_text(
        f'name = "m"\nmetrics = ["dice"]\ncost = false\n[dataset.d]\nuse = "dicom"\noptions = {{ root = "{root}" }}\n'
        '[[cells]]\ndataset = "d"\nmodel = "empty"\n'
    )
    result = oncoseg("bench", tmp_path / "m.toml", "--out", tmp_path / "run", "--no-report")
    assert result.code == 4
    assert "d: P2: Missing" in result.err
    lines = [json.loads(line) for line in next((tmp_path / "run").glob("*/scores.jsonl")).read_text().splitlines()]
    assert {line["case"] for line in lines} == {"P1", "P3"}


def test_a_bad_case_is_named_once_while_it_goes_on_and_once_at_the_end(oncoseg, thorax, tmp_path):
    folder, *_ = thorax
    for name in ("a", "b"):
        for kind, source in (("images", "ct"), ("masks", "tumour")):
            (folder / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            (folder / "pairs" / kind / f"{name}.nii.gz").write_bytes((folder / f"{source}.nii.gz").read_bytes())
    (folder / "pairs" / "images" / "b.nii.gz").write_bytes(b"")
    result = oncoseg("data", "import", folder / "pairs", tmp_path / "prepared")
    assert result.code == 4
    assert result.err.count("is empty") == 2


def test_an_unknown_layout_is_called_one(oncoseg, tmp_path):
    result = oncoseg("data", "import", tmp_path, tmp_path / "prepared", "--layout", "pears")
    assert (result.code, "Unknown layout 'pears'. Did you mean: pairs" in result.err) == (2, True)


def test_a_folder_of_dicom_is_checked_and_mended_into_a_new_one(oncoseg, patients, tmp_path):
    root, _ = patients
    for other in ("P2", "P3"):  # their images equal that of P1
        shutil.rmtree(root / other)
    twice = next(f for f in sorted(root.rglob("*.dcm")) if pydicom.dcmread(f).Modality == "CT")
    (twice.parent / "copy.dcm").write_bytes(twice.read_bytes())
    found = oncoseg("data", "check", root)
    assert found.code == 4
    assert "Duplicate instance" in found.out
    mended = oncoseg("data", "check", root, "--fix", tmp_path / "mended")
    assert mended.code == 0, mended.err
    assert "copy.dcm: its instance, pixels and scaling are those of" in mended.err
    assert "1 cases" in mended.err
    assert (twice.parent / "copy.dcm").exists()


def test_only_dicom_folders_are_mended(oncoseg, tmp_path):
    result = oncoseg("data", "check", "phantom", "--fix", tmp_path / "mended")
    assert result.code == 2
    assert "--fix mends folders of DICOM files; phantom is none" in result.err
