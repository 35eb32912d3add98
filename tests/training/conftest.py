"""Tiny cases and a tiny model that trains in seconds."""

import numpy as np
import pytest
import torch

from oncoseg.case import Case
from oncoseg.models import unet
from oncoseg.volume import Volume


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_case():
    """Case number n: a bright ball in dark noise, elsewhere for every n."""

    def make(n=0, shape=(6, 32, 32)):
        rng = np.random.default_rng(n)
        centre = rng.integers(10, 22, size=2)
        z, y, x = np.indices(shape)
        mask = (z - 3) ** 2 * 6 + (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 40
        voxels = (rng.normal(-800, 40, shape) + 800 * mask).astype(np.int16)
        image = Volume.from_spacing(voxels, (3.0, 1.0, 1.0))
        return Case(f"case{n}", f"patient{n}", image, {"tumour": image.with_voxels(mask)})

    return make


@pytest.fixture
def make_model():
    """A U-Net of 4 filters with equal weights every time."""

    def make(**options):
        torch.manual_seed(0)
        return unet.build(**{"base": 4, "norm": "batch", "patch": 32, "spacing": None, "dropout": 0.1, **options})

    return make
