"""Each reader meets the consensus of the others."""

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.errors import InputError
from oncoseg.experiments.readers import readings
from oncoseg.volume import Volume


def _case(**readers):
    image = Volume.from_spacing(np.zeros((1, 1, 4), np.float32), (1, 1, 1))
    masks = {name: image.with_voxels(np.array([[row]], bool)) for name, row in readers.items()}
    return Case("one", "patient", image, masks)


def test_a_voxel_counts_when_two_of_three_others_drew_it():
    case = _case(
        reader_1=[1, 1, 1, 1], reader_2=[1, 1, 0, 0], reader_3=[1, 1, 1, 0], reader_4=[1, 0, 0, 0], tumour=[0, 0, 0, 1]
    )
    found = {r.reader: r.others.voxels[0, 0].tolist() for r in readings(case)}
    assert found["reader_1"] == [True, True, False, False]
    assert found["reader_2"] == [True, True, True, False]
    assert list(found) == ["reader_1", "reader_2", "reader_3", "reader_4"]


def test_one_reader_cannot_be_compared():
    with pytest.raises(InputError, match="1 masks named reader_"):
        list(readings(_case(reader_1=[1, 0, 0, 0])))
