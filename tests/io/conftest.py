"""Grids of every kind, and the writers of small DICOM files."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from oncoseg.volume import Volume


@pytest.fixture(scope="session")
def mock() -> ModuleType:
    """The module tests/mock_dicom.py (tests are no package, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("mock_dicom", Path(__file__).parents[1] / "mock_dicom.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rotation(degrees: float, axis: int) -> np.ndarray:
    """4x4 rotation about the x, y or z axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.eye(4)
    i, j = [k for k in range(3) if k != axis]
    turned[i, i], turned[i, j], turned[j, i], turned[j, j] = c, -s, s, c
    return turned


def _affine(spacing: tuple[float, float, float]) -> np.ndarray:
    affine = Volume.from_spacing(np.zeros((1, 1, 1)), spacing, (-12.5, 30.25, -400.0)).affine
    return affine


def _tilted_gantry() -> np.ndarray:
    # The slices are tilted about x, the table still moves along z: the grid is sheared.
    affine = rotation(20, 0) @ _affine((3.0, 0.9, 0.9))
    affine[:3, 0] = [0, 0, 3.0]
    return affine


GRIDS = {
    "axial": _affine((3.0, 0.977, 0.977)),
    "anisotropic": _affine((5.0, 0.7, 0.9)),
    "oblique": rotation(25, 2) @ rotation(15, 1) @ _affine((2.0, 0.8, 0.8)),
    "coronal": rotation(90, 0) @ _affine((2.5, 1.0, 1.5)),
    "sagittal": rotation(90, 1) @ _affine((2.5, 1.0, 1.5)),
    "tilted gantry": _tilted_gantry(),
}


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def volume(request) -> Volume:
    """Random HU, whole numbers, on each kind of grid."""
    voxels = np.random.default_rng(7).integers(-1000, 3000, (5, 8, 6)).astype(np.int16)
    return Volume(voxels, request.param)


@pytest.fixture
def axial() -> Volume:
    voxels = np.random.default_rng(8).integers(-1000, 3000, (6, 16, 12)).astype(np.int16)
    return Volume(voxels, GRIDS["axial"])
