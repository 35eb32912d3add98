import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.io.dicom import read_image
from oncoseg.preparation.repairing import repair_folder
from oncoseg.volume import Volume

_spec = importlib.util.spec_from_file_location("mock_dicom", Path(__file__).parents[1] / "mock_dicom.py")
mock = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mock)


@pytest.fixture
def image():
    voxels = np.random.default_rng(5).integers(-900, 100, (7, 12, 12)).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 0.9, 0.9))


@pytest.fixture
def disturbed(tmp_path, image):
    """A series with a copied file, a slice sent twice, a localiser and files of an operating system."""
    slices = mock.ct_slices(image)
    twice = copy.deepcopy(slices[4])
    twice.SOPInstanceUID = twice.file_meta.MediaStorageSOPInstanceUID = "1.2.77"
    localiser = copy.deepcopy(slices[0])
    localiser.SOPInstanceUID = localiser.file_meta.MediaStorageSOPInstanceUID = "1.2.78"
    localiser.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    folder = tmp_path / "in"
    paths = mock.save(folder, slices)
    mock.save(folder, [twice], prefix="twice")
    mock.save(folder, [localiser], prefix="scout")
    (folder / "z-copy.dcm").write_bytes(paths[2].read_bytes())
    (folder / "._slice-000.dcm").write_bytes(b"Mac OS X")
    return folder


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_disturbs_is_left_out_and_the_series_reads(disturbed, tmp_path, image):
    before = _files(disturbed)
    with pytest.raises(InputError):
        read_image(disturbed)
    made = repair_folder(disturbed, tmp_path / "out")
    assert _files(disturbed) == before
    np.testing.assert_array_equal(read_image(tmp_path / "out").voxels, image.voxels)
    assert {item.file: item.reason.split()[1] for item in made.left_out} == {
        "._slice-000.dcm": "is",
        "scout-000.dcm": "has",
        "twice-000.dcm": "place,",
        "z-copy.dcm": "instance,",
    }
    record = json.loads((tmp_path / "out" / "repaired.json").read_text())
    assert len(record["left_out"]) == 4


def test_what_is_kept_is_kept_byte_for_byte_and_a_second_run_changes_nothing(disturbed, tmp_path):
    repair_folder(disturbed, tmp_path / "out")
    first, before = _files(tmp_path / "out"), _files(disturbed)
    assert all(content == before[name] for name, content in first.items() if name != "repaired.json")
    repair_folder(disturbed, tmp_path / "out")
    assert _files(tmp_path / "out") == first


@pytest.mark.parametrize("tag", ["PixelData", "RescaleIntercept"])
def test_slices_in_one_place_that_differ_are_kept_for_people_to_decide(tag, disturbed, tmp_path, image):
    other = mock.ct_slices(image)[1]
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.79"
    setattr(other, tag, bytes(len(other.PixelData)) if tag == "PixelData" else "-1000")
    mock.save(disturbed, [other], prefix="other")
    (disturbed / "scout-000.dcm").unlink()
    repair_folder(disturbed, tmp_path / "out")
    with pytest.raises(InputError, match=r"Duplicate slice.*other-000"):
        read_image(tmp_path / "out")


def test_damaged_and_missing_slices_are_never_hidden(disturbed, tmp_path):
    (disturbed / "slice-003.dcm").write_bytes((disturbed / "slice-003.dcm").read_bytes()[:300])
    repair_folder(disturbed, tmp_path / "out")
    with pytest.raises(InputError, match=r"slice-003\.dcm is a damaged"):
        read_image(tmp_path / "out")


def test_never_in_place_and_never_among_other_files(disturbed, tmp_path):
    for target in (disturbed, disturbed / "new", tmp_path):
        with pytest.raises(InputError, match="lie in each other"):
            repair_folder(disturbed, target)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"holds mine\.txt"):
        repair_folder(disturbed, tmp_path / "out")
