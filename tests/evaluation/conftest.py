"""Masks for the tests of the evaluation room."""

import numpy as np
import pytest

from oncoseg.volume import Volume


@pytest.fixture
def blobs():
    """Two overlapping, uneven masks on an anisotropic grid: reference and prediction."""
    rng = np.random.default_rng(3)
    reference, prediction = np.zeros((2, 12, 14, 16), dtype=bool)
    reference[3:9, 2:10, 4:13] = rng.random((6, 8, 9)) < 0.7
    prediction[2:8, 4:11, 3:12] = rng.random((6, 7, 9)) < 0.7
    return Volume.from_spacing(reference, (3.0, 1.0, 0.8)), Volume.from_spacing(prediction, (3.0, 1.0, 0.8))


@pytest.fixture
def nothing(blobs):
    """An empty mask on the grid of `blobs`."""
    return blobs[0].with_voxels(np.zeros(blobs[0].shape, dtype=bool))
