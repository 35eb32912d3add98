"""Damaged objects are read or refused in a message; nothing else happens, and soon."""

import time
from collections import Counter

import highdicom
import numpy as np
import pydicom
import pytest

from oncoseg.errors import InputError
from oncoseg.io.deidentified import Deidentifying, deidentify_file
from oncoseg.io.dicom import read_image
from oncoseg.io.pseudonyms import Pseudonyms
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.seg import read_segments
from oncoseg.io.studies import find_studies

HOW = Deidentifying(Pseudonyms(bytes(32)))


@pytest.fixture
def originals(mock, axial, tmp_path):
    """A CT with an RTSTRUCT and a SEG on it."""
    files = mock.write_ct(tmp_path / "in" / "ct", axial)
    drawn = mock.write_rtstruct(tmp_path / "in" / "rt.dcm", {"GTV": [mock.square((2, 8, 6), 3.2, axial)]})
    mask = np.zeros(axial.shape, bool)
    mask[1:3, 3:7, 4:9] = True
    seg = mock.write_seg(tmp_path / "in" / "seg.dcm", files, {"tumour": mask})
    return {"ct": files[2], "rt": drawn, "seg": seg}


def _mutants(original, seed, rounds=400):
    """Copies of a file in which some bytes differ, blocks are doubled or lost, or the end is missing."""
    random, good = np.random.default_rng(seed), original.read_bytes()
    for _ in range(rounds):
        content = bytearray(good)
        for position in random.integers(132, len(good), random.integers(1, 10)):
            content[position] = random.integers(0, 256)
        kind, (a, b) = random.random(), sorted(random.integers(132, len(good), 2).tolist())
        if kind < 0.1:
            content = content[:b]
        elif kind < 0.2:
            content[a:b] = b""
        elif kind < 0.3:
            content[a:a] = content[a:b]
        yield bytes(content)


READERS = {
    "rt": lambda path, image: read_rois(path, image),
    "seg": lambda path, image: read_segments(path, image),
}


@pytest.mark.parametrize("kind", READERS)
def test_drawings(kind, originals, axial, tmp_path):
    path, begun, outcomes = tmp_path / "one.dcm", time.monotonic(), Counter()
    for content in _mutants(originals[kind], 3):
        path.write_bytes(content)
        try:
            masks = READERS[kind](path, axial)
        except InputError as error:
            outcomes["refused" if str(path) in str(error) else "refused without its name"] += 1
        else:
            outcomes["read"] += 1
            assert all(mask.same_grid(axial) for mask in masks.values())
    assert outcomes.keys() == {"read", "refused"}
    assert min(outcomes.values()) > 10
    assert time.monotonic() - begun < 60


def test_multi_frame_images(originals, tmp_path):
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "in" / "ct").glob("*.dcm"))]
    made = highdicom.legacy.LegacyConvertedEnhancedCTImage(slices, highdicom.UID(), 1, highdicom.UID(), 1)
    made.save_as(tmp_path / "good.dcm")
    path, begun, outcomes = tmp_path / "alone" / "one.dcm", time.monotonic(), Counter()
    path.parent.mkdir()
    for content in _mutants(tmp_path / "good.dcm", 6, rounds=300):
        path.write_bytes(content)
        try:
            image = read_image(path)
        except InputError as error:
            outcomes["refused" if str(path) in str(error) else "refused without its name"] += 1
        else:
            outcomes["read"] += 1
            assert image.voxels.ndim == 3
    assert outcomes.keys() == {"read", "refused"}
    assert min(outcomes.values()) > 10
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("kind", ["ct", "rt", "seg"])
def test_deidentifying(kind, originals, tmp_path):
    path, begun, outcomes = tmp_path / "one.dcm", time.monotonic(), {"written": 0, "refused": 0}
    for content in _mutants(originals[kind], 4, rounds=120):
        path.write_bytes(content)
        (tmp_path / "out.dcm").unlink(missing_ok=True)
        try:
            deidentify_file(path, tmp_path / "out.dcm", HOW)
        except InputError:
            outcomes["refused"] += 1
            assert not (tmp_path / "out.dcm").exists()
        else:
            outcomes["written"] += 1
    assert min(outcomes.values()) > 10
    assert time.monotonic() - begun < 90


def test_trees(originals, tmp_path):
    begun = time.monotonic()
    for number, content in enumerate(_mutants(originals["rt"], 5, rounds=150)):
        (tmp_path / "in" / "rt.dcm").write_bytes(content)
        if number % 3 == 0:
            originals["ct"].write_bytes(next(_mutants(originals["seg"], number)))
        find_studies(tmp_path / "in")
    assert time.monotonic() - begun < 60
