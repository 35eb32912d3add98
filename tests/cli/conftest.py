"""The command line in this process: exit code, standard output, standard error."""

from typing import NamedTuple

import numpy as np
import pytest

from oncoseg.io.images import write_volume
from oncoseg.volume import Volume


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def oncoseg(capsys, monkeypatch):
    """Run `oncoseg ARGUMENTS` as the installed command does."""
    from oncoseg.cli.main import run

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["oncoseg", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        code = 0
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def thorax(tmp_path):
    """A dark box with a bright ball: image and mask files on an oblique, anisotropic grid, and both as volumes."""
    grid = Volume.from_spacing(np.full((12, 40, 48), -850, np.int16), (3.0, 1.0, 0.9), origin_mm=(-20.0, 35.0, -400.0))
    turn = np.deg2rad(10)
    affine = grid.affine.copy()
    affine[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]] @ affine[:3, :3]
    image = Volume(grid.voxels, affine)
    index = np.stack(np.indices(image.shape), axis=-1)
    ball = np.linalg.norm(image.index_to_mm(index) - image.index_to_mm([6, 22, 20]), axis=-1) < 8
    image.voxels[ball] = 40
    mask = image.with_voxels(ball)
    write_volume(tmp_path / "ct.nii.gz", image)
    write_volume(tmp_path / "tumour.nii.gz", mask)
    return tmp_path, image, mask
