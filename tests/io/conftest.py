"""Grids of every kind, and the writers of small DICOM files."""

import importlib.util
import shutil
import subprocess
import sys
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


#: Property of tests whose values are counted at the end of a run (tests/conftest.py).
VALIDATED = "validated"


def _tool(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"needs {name} ({package})")
    return found


@pytest.fixture
def faults(record_property):
    """`faults(path)`: the errors that dciodvfy finds in a DICOM object; counted at the end of the tests."""
    tool = _tool("dciodvfy", "Debian package dicom3tools")

    def find(path: Path) -> list[str]:
        run = subprocess.run([tool, "-new", str(path)], capture_output=True, text=True, errors="replace")
        lines = [line for line in run.stderr.splitlines() if "error" in line.lower()]
        found = lines or ([f"exit code {run.returncode}"] if run.returncode else [])
        kinds = [line.strip() for line in run.stderr.splitlines() if line.strip() and " - " not in line]
        record_property(VALIDATED, f"dciodvfy: {', '.join(kinds) or 'unknown object'}, {len(found)} errors")
        return found

    return find


@pytest.fixture
def plastimatch(record_property):
    """`plastimatch(rtstruct, ct_folder)`: name -> bool array (slice, row, column), by an independent reader."""
    tool = _tool("plastimatch", "Debian package plastimatch")

    def read(path: Path, folder: Path) -> dict[str, np.ndarray]:
        out = path.parent / f"{path.stem}-plastimatch"
        command = ["convert", "--input", path, "--referenced-ct", folder, "--output-prefix", out]
        subprocess.run([tool, *map(str, command), "--prefix-format", "nrrd"], check=True, capture_output=True)
        import nrrd

        record_property(VALIDATED, "plastimatch: RTStructureSet, read")
        return {file.stem: nrrd.read(str(file))[0].transpose(2, 1, 0) > 0 for file in sorted(out.glob("*.nrrd"))}

    return read


@pytest.fixture(scope="session")
def dcmqi_tool():
    """`dcmqi_tool(name)`: the path of one of dcmqi's programs."""
    return lambda name: _tool(name, "Python package dcmqi")


@pytest.fixture
def dcmqi(record_property):
    """`dcmqi(seg)`: the volumes of a SEG's segments as an independent reader places them, in order of file."""
    tool = _tool("segimage2itkimage", "Python package dcmqi")

    def read(path: Path) -> list[Volume]:
        from oncoseg.io.nifti import read as read_nifti

        out = path.parent / f"{path.stem}-dcmqi"
        out.mkdir()
        command = ["--inputDICOM", path, "--outputDirectory", out, "--outputType", "nii"]
        subprocess.run([tool, *map(str, command)], check=True, capture_output=True)
        record_property(VALIDATED, "dcmqi: Segmentation, read")
        return [read_nifti(file) for file in sorted(out.glob("*.nii.gz"))]

    return read


def _ball(index: np.ndarray, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.linalg.norm((index - np.array(centre)) * [2.0, 1.0, 1.0], axis=-1) <= radius


def _masks() -> dict[str, np.ndarray]:
    shape = (9, 40, 44)
    index = np.indices(shape).transpose(1, 2, 3, 0)
    rng = np.random.default_rng(5)
    thin = np.zeros(shape, bool)
    thin[4, 5, 3:40] = thin[4, 3:30, 20] = thin[6, 8:10, 8] = True
    single = np.zeros(shape, bool)
    single[3, 11, 7] = True
    noise = np.zeros(shape, bool)
    noise[3:6] = rng.random((3, *shape[1:])) < 0.5
    island = (_ball(index, (4, 20, 22), 15) & ~_ball(index, (4, 20, 22), 10)) | _ball(index, (4, 20, 22), 4)
    island &= ~_ball(index, (4, 32, 22), 1.5)
    two = _ball(index, (3, 12, 12), 6) | _ball(index, (6, 28, 30), 5)
    return {
        "ball": _ball(index, (4, 20, 22), 8),
        "holed": _ball(index, (4, 20, 22), 9) & ~_ball(index, (4, 20, 22), 4),
        "island in a ring": island,
        "noise": noise,
        "single voxel": single,
        "thin": thin,
        "two components": two,
    }


MASKS = _masks()


@pytest.fixture(params=MASKS.values(), ids=MASKS.keys())
def hard_mask(request) -> np.ndarray:
    """Masks of 9 x 40 x 44 voxels that writers of contours get wrong."""
    return request.param


@pytest.fixture
def holed_mask() -> np.ndarray:
    return MASKS["holed"]


@pytest.fixture(params=["axial", "oblique"])
def ct_grid(request) -> Volume:
    """An image of zeros for `hard_mask`."""
    return Volume(np.zeros((9, 40, 44), np.int16), GRIDS[request.param])
