import numpy as np
import pytest

from oncoseg.datasets import lidc_nodules
from oncoseg.errors import ConfigError, InputError
from oncoseg.io.images import read_image

NAME = "LIDC-IDRI-0001_R_1"


def test_patients_come_from_the_file_names(nodules_root):
    entries = lidc_nodules.build(root=nodules_root).entries()
    assert [tuple(e) for e in entries][1:] == [
        ("LIDC-IDRI-0004_R_1", "LIDC-IDRI-0004"),
        ("LIDC-IDRI-0004_R_12", "LIDC-IDRI-0004"),
    ]


def test_the_crop_is_kept_in_its_place_of_the_patient(nodules_root):
    crop = read_image(nodules_root / f"image/{NAME}.nii.gz")
    case = lidc_nodules.build(root=nodules_root).load(NAME)
    start = np.rint(case.image.mm_to_index(crop.index_to_mm((0, 0, 0)))).astype(int)
    assert (case.image.crop(start, start + crop.shape).voxels == crop.voxels).all()
    assert all(a >= b for a, b in zip(case.image.shape, crop.shape, strict=True))


def test_the_nodule_is_moved_out_of_the_centre(nodules_root):
    data = lidc_nodules.build(root=nodules_root)
    away = []
    for entry in data.entries():
        mask = data.load(entry.case).mask()
        centre = np.argwhere(mask.voxels).mean(axis=0)
        away.append(np.abs((centre - (np.array(mask.shape) - 1) / 2) * mask.spacing).max())
    assert max(away) > 3


def test_no_second_nodule_appears_in_the_padding(nodules_root):
    case = lidc_nodules.build(root=nodules_root, margin_mm=60).load(NAME)
    assert (case.image.voxels[~case.mask().voxels] < -600).all()


def test_a_seed_decides_the_padding(nodules_root):
    first, again, other = (lidc_nodules.build(root=nodules_root, seed=s) for s in (1, 1, 2))
    assert (first.load(NAME).image.voxels == again.load(NAME).image.voxels).all()
    assert first.load(NAME).image.shape != other.load(NAME).image.shape
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_no_margin_leaves_the_crops_as_they_are(nodules_root):
    assert lidc_nodules.build(root=nodules_root, margin_mm=0).load(NAME).image.shape == (5, 30, 28)


def test_reports_are_warned():
    assert "higher than on whole scans" in lidc_nodules.INFO.warning


def test_wrong_options_are_refused(nodules_root, tmp_path):
    with pytest.raises(ConfigError, match="margin_mm is -1"):
        lidc_nodules.build(root=nodules_root, margin_mm=-1)
    with pytest.raises(InputError, match="holds no image"):
        lidc_nodules.build(root=tmp_path / "nothing")


def test_lists_the_published_crops(shared):
    data = lidc_nodules.build(root=shared / "data/lidc_voi")
    assert len(data.entries()) == 669
    assert len({e.patient for e in data.entries()}) == 382
    case = data.load("LIDC-IDRI-0001_R_1")
    assert case.mask().voxels.sum() * case.image.voxel_volume_mm3 == pytest.approx(8092, abs=1)
