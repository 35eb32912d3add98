import json

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.datasets import folder, msd
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.preparation import importing
from oncoseg.preparation.importing import import_dataset, recognise


@pytest.mark.parametrize(
    ("root", "layout"),
    [
        ("msd_root", "msd"),
        ("nnunet_root", "nnunet"),
        ("lung1_root", "dicom"),
        ("folder_root", "folder"),
    ],
)
def test_recognises_and_imports_every_layout(request, tmp_path, root, layout):
    source = request.getfixturevalue(root)
    assert recognise(source) == layout
    result = import_dataset(source, tmp_path / "prepared")
    data = folder.build(root=tmp_path / "prepared")
    assert tuple(e.case for e in data.entries()) == result.imported
    assert len(result.imported) >= 3
    for entry in data.entries():
        assert data.load(entry.case).mask().voxels.any()


@pytest.mark.parametrize("name", ["brats21", "kits19", "lits"])
def test_challenges_are_recognised_by_the_names_of_their_segmentations(request, tmp_path, name):
    source = request.getfixturevalue(f"{name}_root")
    assert recognise(source) == name
    expected = registry.load("datasets", name).build(root=source)
    result = import_dataset(source, tmp_path / "prepared")
    assert {*result.imported, *result.failed} == {entry.case for entry in expected.entries()}
    data = folder.build(root=tmp_path / "prepared")
    for case in result.imported:
        before, after = expected.load(case), data.load(case)
        assert set(after.masks) == set(before.masks)
        assert (after.mask().voxels == before.mask().voxels).all()
    assert any(data.load(case).mask().voxels.any() for case in result.imported)


def test_images_without_segmentations_are_no_challenge(lits_root):
    for file in lits_root.rglob("segmentation-*"):
        file.unlink()
    assert recognise(lits_root) == "folder"


def test_a_case_comes_back_as_it_was(msd_root, tmp_path):
    import_dataset(msd_root, tmp_path / "prepared")
    before, after = msd.build(root=msd_root).load("lung_004"), folder.build(root=tmp_path / "prepared").load("lung_004")
    assert (after.patient, dict(after.facts), after.notes) == (before.patient, dict(before.facts), before.notes)
    assert after.image.same_grid(before.image)
    assert after.image.voxels.dtype == before.image.voxels.dtype
    assert (after.image.voxels == before.image.voxels).all()
    assert (after.mask().voxels == before.mask().voxels).all()


def test_one_bad_case_is_reported_and_the_rest_goes_on(msd_root, tmp_path):
    broken = msd_root / "imagesTr/lung_004.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    result = import_dataset(msd_root, tmp_path / "prepared")
    assert result.imported == ("lung_001", "lung_009")
    assert set(result.failed) == {"lung_004", "lung_053"}
    assert "lung_004.nii.gz" in result.failed["lung_004"]
    manifest = json.loads((tmp_path / "prepared/prepared.json").read_text())
    assert manifest["failed"] == result.failed
    assert not list((tmp_path / "prepared").rglob("*lung_004*"))


def test_cases_left_out_by_the_data_set_are_in_the_manifest(lung1_root, tmp_path):
    result = import_dataset(lung1_root, tmp_path / "prepared", layout="lung1")
    assert set(result.excluded) == {"LUNG1-128", "LUNG1-300", "LUNG1-301", "LUNG1-302"}
    assert set(result.failed) == {"LUNG1-021"}
    manifest = json.loads((tmp_path / "prepared/prepared.json").read_text())
    assert manifest["excluded"] == result.excluded
    assert folder.build(root=tmp_path / "prepared").info.licence == "CC BY-NC 3.0"


def test_an_interrupted_import_goes_on_where_it_was(msd_root, tmp_path, monkeypatch):
    write = importing.write_case

    def killed_at_the_second(target, case):
        if case.name == "lung_004":
            raise KeyboardInterrupt
        return write(target, case)

    monkeypatch.setattr(importing, "write_case", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(msd_root, tmp_path / "prepared")
    assert not (tmp_path / "prepared/prepared.json").exists()
    monkeypatch.setattr(importing, "write_case", write)
    said = []
    result = import_dataset(msd_root, tmp_path / "prepared", say=said.append)
    assert result.skipped == ("lung_001",)
    assert result.imported == ("lung_004", "lung_009")
    assert len(said) == 3
    assert len(folder.build(root=tmp_path / "prepared").entries()) == 3


def test_a_repaired_case_is_imported_the_next_time(msd_root, tmp_path, write_nifti, ellipsoid):
    import_dataset(msd_root, tmp_path / "prepared")
    write_nifti(msd_root / "imagesTr/lung_053.nii.gz", np.zeros((5, 6, 7), np.int16))
    write_nifti(msd_root / "labelsTr/lung_053.nii.gz", ellipsoid((5, 6, 7), (2, 3, 3), (1, 2, 2)))
    result = import_dataset(msd_root, tmp_path / "prepared")
    assert (result.imported, len(result.skipped), result.failed) == (("lung_053",), 3, {})


def test_a_folder_begun_with_other_options_is_not_mixed(folder_root, tmp_path):
    import_dataset(folder_root, tmp_path / "prepared", patient="^(A1|B2)")
    with pytest.raises(InputError, match="was begun with"):
        import_dataset(folder_root, tmp_path / "prepared", patient="^(A|B)")


def test_options_reach_the_data_set(folder_root, tmp_path):
    import_dataset(folder_root, tmp_path / "prepared", layout="pairs", patient="^(A1|B2)")
    assert {e.patient for e in folder.build(root=tmp_path / "prepared").entries()} == {"A1", "B2"}
    with pytest.raises(ConfigError, match="unknown key 'patients'"):
        import_dataset(folder_root, tmp_path / "other", patients="x")
    with pytest.raises(UnknownNameError, match="Did you mean: nnunet"):
        import_dataset(folder_root, tmp_path / "other", layout="nnunett")
    assert not (tmp_path / "other").exists()


def test_a_damaged_manifest_is_named(folder_root, tmp_path):
    import_dataset(folder_root, tmp_path / "prepared")
    (tmp_path / "prepared/prepared.json").write_text("[]")
    with pytest.raises(InputError, match=r"prepared\.json is not a manifest"):
        folder.build(root=tmp_path / "prepared")


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        import_dataset(tmp_path / "nowhere", tmp_path / "prepared")
