"""Slices as cases: what is left of a patient, and what is said about the leak."""

import numpy as np
import pytest

from oncoseg.datasets.phantom import build as phantom
from oncoseg.errors import UnknownNameError
from oncoseg.experiments.slice_cases import SlicesAsCases, told_of_leak
from oncoseg.experiments.specs import DatasetSpec, SplitSpec

SMALL = {"cases": 2, "shape": [16, 40, 40], "spacing": [8.0, 7.0, 7.0], "tumours": [1, 1], "volume_ml": [60.0, 90.0]}


@pytest.fixture(scope="module")
def slices():
    return SlicesAsCases(phantom(**SMALL), "tumour")


def test_every_slice_with_tumour_is_a_case_of_one_slice(slices):
    whole = {e.case: phantom(**SMALL).load(e.case) for e in phantom(**SMALL).entries()}
    expected = {n: int(c.mask().voxels.any(axis=(1, 2)).sum()) for n, c in whole.items()}
    names = [e.case for e in slices.entries()]
    assert {n: sum(name.startswith(f"{n}.k") for name in names) for n in whole} == expected
    one = slices.load(names[0])
    assert one.image.shape == (1, 40, 40)
    assert one.mask().voxels.any()


def test_a_slice_lies_where_it_lay_in_the_patient(slices):
    name = slices.entries()[3].case
    case, _, index = name.partition(".k")
    whole = phantom(**SMALL).load(case)
    one = slices.load(name)
    np.testing.assert_allclose(one.image.index_to_mm([0, 5, 6]), whole.image.index_to_mm([int(index), 5, 6]))
    np.testing.assert_array_equal(one.image.voxels[0], whole.image.voxels[int(index)])


def test_patients_on_both_sides_are_counted_and_told(slices):
    names = [e.case for e in slices.entries()]
    first = [n for n in names if n.startswith("phantom-0000")]
    second = [n for n in names if n.startswith("phantom-0001")]
    assert slices.on_both_sides(first[:2] + second, first[2:]) == (1, 1)
    assert slices.on_both_sides(first, second) == (0, 1)
    assert told_of_leak(slices, first[:2], [*first[2:], *second])[0].startswith(
        "Split by slice: 1 of 2 tested patients"
    )
    assert told_of_leak(phantom(**SMALL), first, second) == []
    assert "leaks" in slices.load(names[0]).notes[-1]


def test_it_happens_only_where_it_is_asked_for():
    assert not isinstance(DatasetSpec("phantom", SMALL).open(), SlicesAsCases)
    literal = DatasetSpec("phantom", SMALL, SplitSpec(0.3, unit="slice")).open()
    assert isinstance(literal, SlicesAsCases)
    assert literal.fingerprint() != DatasetSpec("phantom", SMALL).open().fingerprint()
    assert "leaks" in literal.info.warning


def test_a_slice_without_tumour_is_none_of_its_cases(slices):
    with pytest.raises(UnknownNameError):
        slices.load("phantom-0000.k0000")
