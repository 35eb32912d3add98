import pytest

from oncoseg.datasets import sts_ibsi
from oncoseg.errors import InputError


def test_each_patient_has_one_case_of_the_image_that_is_asked_for(sarcoma_root):
    for image, modality in (("CT", "CT"), ("MR_T1", "MR")):
        data = sts_ibsi.build(root=sarcoma_root, image=image)
        assert [tuple(e) for e in data.entries()] == [("STS_002", "STS_002"), ("STS_012", "STS_012")]
        assert data.info.modality == modality
        assert data.load("STS_012").facts["modality"] == modality


def test_the_ledger_is_told_that_images_are_cropped_round_the_tumour():
    assert sts_ibsi.INFO.cropped_round_reference


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere is not a folder"):
        sts_ibsi.build(root=tmp_path / "nowhere")


def test_real_masses_have_the_published_volumes(shared):
    """17 to 369 mL, shared/data/README.md."""
    data = sts_ibsi.build(root=shared / "data/sts_ibsi")
    masks = [data.load(e.case).mask() for e in data.entries()]
    volumes = [m.voxels.sum() * m.voxel_volume_mm3 / 1000 for m in masks]
    assert (len(volumes), round(min(volumes)), round(max(volumes))) == (6, 17, 369)
