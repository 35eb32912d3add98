import numpy as np
import pytest

from oncoseg.datasets import inserted_nodules, lidc_nodules
from oncoseg.errors import ConfigError, InputError, UnknownNameError

THORAX = {"use": "phantom", "shape": (24, 64, 84), "spacing": (9.0, 5.0, 5.0), "seed": 3}
NAME = "LIDC-IDRI-0004_R_1"


@pytest.fixture
def donors(nodules_root):
    return {"use": "lidc_nodules", "root": str(nodules_root), "margin_mm": 0.0}


def test_each_nodule_lies_in_a_lung_of_a_whole_thorax(donors):
    data = inserted_nodules.build(donors=donors, thoraxes=THORAX)
    for entry in data.entries():
        case = data.load(entry.case)
        lung = case.mask("lung_left").voxels | case.mask("lung_right").voxels
        assert case.image.shape == THORAX["shape"]
        assert case.mask().voxels.any()
        assert lung[case.mask().voxels].all()


def test_the_pasted_volume_is_the_donors(donors, nodules_root):
    """Half-axes 3 x 6 x 6 voxels of 2 x .7 x .7 mm: 1.5 mL, on voxels of 5 x 5 x 9 mm to within a few."""
    real = lidc_nodules.build(root=nodules_root).load(NAME).mask()
    volume = real.voxels.sum() * real.voxel_volume_mm3 / 1000
    thorax = {**THORAX, "shape": (48, 90, 120), "spacing": (4.5, 3.5, 3.5)}
    case = inserted_nodules.build(donors=donors, thoraxes=thorax).load(NAME)
    assert case.facts["tumour_volume_ml"] == pytest.approx(volume, rel=0.2)


def test_cases_and_patients_are_the_donors_and_each_patient_has_a_thorax_of_its_own(donors):
    data = inserted_nodules.build(donors=donors, thoraxes=THORAX)
    assert [e.patient for e in data.entries()] == ["LIDC-IDRI-0001", "LIDC-IDRI-0004", "LIDC-IDRI-0004"]
    first, second, third = (data.load(e.case).facts["thorax"] for e in data.entries())
    assert second == third != first


def test_too_few_thoraxes_are_refused(donors):
    with pytest.raises(InputError, match="2 patients give nodules and 1 a thorax"):
        inserted_nodules.build(donors=donors, thoraxes={**THORAX, "cases": 1})


def test_a_thorax_with_a_tumour_of_its_own_is_refused(donors):
    data = inserted_nodules.build(donors=donors, thoraxes={**THORAX, "tumours": (1, 1), "volume_ml": (20.0, 30.0)})
    with pytest.raises(InputError, match="has a tumour of its own"):
        data.load(NAME)


def test_a_nodule_that_fits_nowhere_is_named(donors):
    data = inserted_nodules.build(donors=donors, thoraxes=THORAX, clearance_mm=300.0)
    with pytest.raises(InputError, match=f"{NAME} finds no place"):
        data.load(NAME)


def test_seed_and_donors_decide_the_voxels(donors):
    first, again, other = (inserted_nodules.build(donors=donors, thoraxes=THORAX, seed=s) for s in (1, 1, 2))
    assert (first.load(NAME).image.voxels == again.load(NAME).image.voxels).all()
    assert (first.load(NAME).mask().voxels != other.load(NAME).mask().voxels).any()
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_kept_cases_are_those_that_were_made(donors, tmp_path, monkeypatch):
    made = inserted_nodules.build(donors=donors, thoraxes=THORAX)
    keeping = inserted_nodules.build(donors=donors, thoraxes=THORAX, keep=tmp_path / "kept")
    keeping.load(NAME)
    monkeypatch.setattr(keeping, "_made", None)
    kept = keeping.load(NAME)
    assert kept.image.same_grid(made.load(NAME).image)
    assert kept.image.voxels.dtype == made.load(NAME).image.voxels.dtype
    assert (kept.image.voxels == made.load(NAME).image.voxels).all()
    assert all((kept.mask(roi).voxels == made.load(NAME).mask(roi).voxels).all() for roi in kept.masks)
    assert made.fingerprint() == keeping.fingerprint()


def test_only_the_named_cases_are_pasted(donors):
    data = inserted_nodules.build(donors=donors, thoraxes=THORAX, cases=[NAME])
    assert [e.case for e in data.entries()] == [NAME]
    with pytest.raises(UnknownNameError, match="LIDC-IDRI-0004_R_2"):
        inserted_nodules.build(donors=donors, cases=["LIDC-IDRI-0004_R_2"])


def test_donors_without_a_name_are_refused():
    with pytest.raises(ConfigError, match="donors needs `use`"):
        inserted_nodules.build(donors={"root": "x"})


def test_the_image_changes_where_the_nodule_is_and_nowhere_far_from_it(donors):
    data = inserted_nodules.build(donors=donors, thoraxes=THORAX, blend_mm=0.0)
    case = data.load(NAME)
    bare = data._thoraxes.load(case.facts["thorax"])
    changed = case.image.voxels != bare.image.voxels
    assert changed.any()
    assert not np.any(changed & ~case.mask().voxels)
