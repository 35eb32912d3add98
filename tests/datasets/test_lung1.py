import numpy as np
import pytest

from oncoseg.datasets import dicom, lung1
from oncoseg.errors import InputError


def test_lists_what_the_headers_allow_and_says_why_the_rest_is_left_out(lung1_root):
    data = lung1.build(root=lung1_root)
    listed = [e.case for e in data.entries()]
    assert listed == ["LUNG1-001", "LUNG1-014", "LUNG1-021", "LUNG1-200", "LUNG1-201"]
    assert set(data.excluded) == {"LUNG1-128", "LUNG1-300", "LUNG1-301", "LUNG1-302"}
    assert "has Lung-Left" in data.excluded["LUNG1-128"]
    assert "no readable RTSTRUCT or SEG" in data.excluded["LUNG1-302"]
    for case, position in {"LUNG1-300": "115", "LUNG1-301": "12"}.items():
        assert position in data.excluded[case]


def test_reads_tumour_and_lungs_on_the_grid_of_the_ct(lung1_root):
    case = lung1.build(root=lung1_root).load("LUNG1-001")
    assert case.image.shape == (12, 64, 64)
    assert set(case.masks) == {"tumour", "lung_left", "lung_right"}
    # 5 slices of an ellipse with half axes of 6 and 8 mm.
    volume = case.mask().voxels.sum() * case.image.voxel_volume_mm3
    assert volume == pytest.approx(5 * 3 * np.pi * 6 * 8, rel=0.03)
    assert case.image.voxels[6, 30, 20] > -100 > case.image.voxels[6, 60, 60]
    assert case.facts["manufacturer"] == "CMS, Inc."


def test_a_suspect_that_passes_the_checks_is_kept_and_noted(lung1_root):
    data = lung1.build(root=lung1_root)
    (note,) = data.load("LUNG1-014").notes
    assert "known as suspicious" in note
    assert data.load("LUNG1-001").notes == ()


def test_contours_between_the_slices_of_the_ct_are_refused(lung1_root):
    with pytest.raises(InputError, match=r"LUNG1-021.*1-1\.dcm.*beside the nearest slice"):
        lung1.build(root=lung1_root).load("LUNG1-021")


def test_a_case_left_out_says_why_when_it_is_asked_for(lung1_root):
    with pytest.raises(InputError, match="LUNG1-128 of lung1 is left out: no ROI fits"):
        lung1.build(root=lung1_root).load("LUNG1-128")


def test_other_names_of_the_tumour_are_found(lung1_root):
    data = lung1.build(root=lung1_root)
    assert data.load("LUNG1-200").mask().voxels.any()
    both = data.load("LUNG1-201")
    assert both.notes == ("tumour: union of GTV-2, GTV-3",)
    first = lung1.build(root=lung1_root, several="first").load("LUNG1-201")
    assert first.notes == ("tumour: first of GTV-2, GTV-3",)
    assert both.mask().voxels.sum() == 2 * first.mask().voxels.sum()


def test_gtv_1_goes_before_other_gtvs(mock_patient, tmp_path):
    patient = mock_patient("LUNG1-005")
    patient.ct()
    patient.rtstruct(("GTV-2", "gtv1"))
    case = lung1.build(root=tmp_path / "lung1").load("LUNG1-005")
    assert np.argwhere(case.mask().voxels)[:, 2].mean() == pytest.approx(40)
    assert case.notes == ()


def test_rtstruct_goes_before_seg_unless_asked(mock_patient, tmp_path):
    patient = mock_patient("LUNG1-006")
    images = patient.ct()
    patient.rtstruct(("GTV-1",))
    drawn = np.zeros((12, 64, 64), bool)
    drawn[2, 10:20, 30:33] = True
    patient.seg(images, {"Lung-Left": np.ones_like(drawn), "GTV-1": drawn})
    root = tmp_path / "lung1"
    assert not lung1.build(root=root).load("LUNG1-006").mask().voxels[2].any()
    case = lung1.build(root=root, prefer="SEG").load("LUNG1-006")
    assert (case.mask().voxels == drawn).all()
    assert case.mask("lung_left").voxels.all()


def test_values_that_are_not_hu_are_refused(mock_patient, tmp_path):
    patient = mock_patient("LUNG1-007")
    patient.ct(intercept=0)
    patient.rtstruct()
    with pytest.raises(InputError, match=r"LUNG1-007.*are not HU"):
        lung1.build(root=tmp_path / "lung1").load("LUNG1-007")


def test_a_damaged_file_does_not_stop_the_listing(lung1_root):
    first = sorted((lung1_root / "LUNG1-001").rglob("1-2*.dcm"))[0]
    first.write_bytes(first.read_bytes()[:400])
    drawing = next((lung1_root / "LUNG1-014").rglob("1-1.dcm"))
    drawing.write_bytes(drawing.read_bytes()[:600])
    data = lung1.build(root=lung1_root)
    assert [e.case for e in data.entries()] == ["LUNG1-021", "LUNG1-200", "LUNG1-201"]
    assert first.name in data.excluded["LUNG1-001"]
    assert "no readable RTSTRUCT" in data.excluded["LUNG1-014"]


def test_a_drawing_follows_the_series_it_refers_to(mock_patient, tmp_path):
    planning, follow_up = mock_patient("P1"), mock_patient("P1")
    follow_up.folder = follow_up.folder.parent / "later"
    follow_up.study, follow_up.common = planning.study, {**follow_up.common, "StudyInstanceUID": planning.study}
    planning.ct()
    follow_up.ct()
    planning.rtstruct()
    data = dicom.build(root=tmp_path / "lung1")
    assert [e.patient for e in data.entries()] == ["P1"]
    assert len(data.excluded) == 1
    assert data.load(data.entries()[0].case).mask().voxels.any()


def test_any_dicom_tree_is_read_with_its_own_names(mock_patient, tmp_path):
    patient = mock_patient("P1")
    patient.ct()
    patient.rtstruct(("Boost", "Liver"))
    case = dicom.build(root=tmp_path / "lung1", tumour=["^boost$"], rois={"liver": ["liver"]}).load("P1")
    assert set(case.masks) == {"tumour", "liver"}


def test_a_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM image series"):
        lung1.build(root=tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        lung1.build(root=tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "millilitres"), [("LUNG1-001", 156.3), ("LUNG1-002", 358.5)])
def test_reads_the_published_patients(shared, name, millilitres):
    data = lung1.build(root=shared / "data/nsclc_radiomics")
    assert [e.case for e in data.entries()] == ["LUNG1-001", "LUNG1-002"]
    case = data.load(name)
    assert case.mask().voxels.sum() * case.image.voxel_volume_mm3 / 1000 == pytest.approx(millilitres, abs=0.5)
    assert {"lung_left", "lung_right"} <= set(case.masks)
