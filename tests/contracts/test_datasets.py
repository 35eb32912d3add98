"""Every data set on the shelf must pass; a newcomer that needs no files is tested without a line here."""

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.contracts import Excluding
from oncoseg.errors import ConfigError, UnknownNameError

#: Data sets whose files the user brings -> fixture with a mock of them. Others are built without options.
MOCKS = {
    "brats21": "brats21_root",
    "dicom": "lung1_root",
    "folder": "folder_root",
    "inserted_nodules": "nodules_root",
    "kits19": "kits19_root",
    "lidc_nodules": "nodules_root",
    "lits": "lits_root",
    "lung1": "lung1_root",
    "msd": "msd_root",
    "nnunet": "nnunet_root",
    "sts_ibsi": "sarcoma_root",
}
#: A thorax that is made in a moment and has room for a nodule.
SMALL_THORAX = {"use": "phantom", "shape": (24, 64, 84), "spacing": (9.0, 5.0, 5.0)}
NAMES = registry.names("datasets")


@pytest.fixture(params=NAMES)
def offline(request):
    """A data set that can be loaded without a network."""
    if registry.load("datasets", request.param).INFO.downloads:
        pytest.skip("fetches packages; tests/datasets loads it")
    return build(request.param, request)


def build(name, request):
    options = {"root": request.getfixturevalue(MOCKS[name])} if name in MOCKS else {}
    if name == "inserted_nodules":
        options = {"donors": {"use": "lidc_nodules", **options}, "thoraxes": SMALL_THORAX}
    return registry.load("datasets", name).build(**options)


@pytest.mark.parametrize("name", NAMES)
def test_info_names_the_file_and_tells_the_user_what_it_is(name, request):
    info = registry.load("datasets", name).INFO
    assert info.name == name
    assert info.title
    assert info.summary.endswith(".")
    assert info.licence
    assert info.modality in ("CT", "MR", "any")
    assert build(name, request).info.name == name


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_sorted_and_unique_and_safe_in_file_names(name, request):
    data = build(name, request)
    cases = [e.case for e in data.entries()]
    assert cases
    assert cases == sorted(set(cases))
    assert all(e.patient and not set("/\\:") & set(e.case) for e in data.entries())
    if isinstance(data, Excluding):
        assert not set(cases) & set(data.excluded)
        assert all(data.excluded.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_a_stable_hash(name, request):
    data = build(name, request)
    assert data.fingerprint() == data.fingerprint() == build(name, request).fingerprint()
    assert len(data.fingerprint()) == 64
    assert int(data.fingerprint(), 16) >= 0


@pytest.mark.parametrize("name", sorted(set(MOCKS) & set(NAMES)))
def test_the_fingerprint_changes_with_the_files(name, request):
    before = build(name, request).fingerprint()
    data = build(name, request)
    root = request.getfixturevalue(MOCKS[name])
    case = data.entries()[0].case
    image = next(f for f in sorted(root.rglob("*")) if case in f.as_posix() and f.is_file() and f.name[0] != ".")
    image.write_bytes(image.read_bytes() + b"\0\0")
    assert build(name, request).fingerprint() != before


def test_a_loaded_case_is_the_one_that_was_listed(offline):
    entry = offline.entries()[0]
    case = offline.load(entry.case)
    assert (case.name, case.patient) == (entry.case, entry.patient)
    assert case.image.voxels.dtype in (np.int16, np.float32)
    assert "tumour" in case.masks
    assert all(mask.same_grid(case.image) and mask.voxels.dtype == bool for mask in case.masks.values())
    assert all(isinstance(value, str | int | float) for value in case.facts.values())


def test_loading_twice_gives_the_same_voxels(offline):
    case = offline.entries()[0].case
    first, second = offline.load(case), offline.load(case)
    assert (first.image.voxels == second.image.voxels).all()
    assert (first.mask().voxels == second.mask().voxels).all()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_cases_are_refused(name, request):
    with pytest.raises(UnknownNameError, match="no_such_case"):
        build(name, request).load("no_such_case")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused(name):
    with pytest.raises(ConfigError, match="unknown key 'no_such_option'"):
        registry.load("datasets", name).build(no_such_option=1)
