"""A package of toys joins through entry points, here and in child processes."""

import os
from pathlib import Path

import pytest

from oncoseg import registry
from oncoseg.experiments.matrix import load_matrix

TOYS = Path(__file__).parent / "toys"


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), *filter(None, [os.environ.get("PYTHONPATH")])]))
    registry._foreign.cache_clear()
    yield
    registry._foreign.cache_clear()


@pytest.fixture
def matrix_of(tmp_path):
    """Write TOML, read it as a matrix; the toy data set is called `balls` unless the text says otherwise."""

    def make(cells, *, options="", overrides=()):
        head = 'name = "toy"\nmetrics = ["dice", "hd95_max"]\ncost = false\n'
        balls = f'[dataset.balls]\nuse = "toy_balls"\n{options}\n'
        source = tmp_path / "matrix.toml"
        source.write_text(head + balls + cells)
        return load_matrix(source, overrides)

    return make
