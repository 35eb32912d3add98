"""The how-to pages are true: adding the one file they show is all it takes."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from oncoseg import registry
from oncoseg.cli.main import app
from oncoseg.prompt import Box
from oncoseg.volume import Volume

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Do what a page says: put its file on the shelf it names."""

    def put(page):
        first = next(
            t for t in MarkdownIt().parse((HOW_TO / page).read_text()) if t.type == "fence" and t.info == "python"
        )
        place, name = re.match(r"# src/(.+)/(\w+)\.py\n", first.content).groups()
        shelf = importlib.import_module(place.replace("/", "."))
        (tmp_path / f"{name}.py").write_text(first.content)
        monkeypatch.setattr(shelf, "__path__", [*shelf.__path__, str(tmp_path)])
        return importlib.import_module(f"{shelf.__name__}.{name}")

    return put


def listed(verb):
    result = CliRunner().invoke(app, [verb, "--json"])
    assert result.exit_code == 0, result.output
    return {entry["name"] for entry in json.loads(result.stdout)}


def test_a_model_is_one_file(add):
    module = add("add-a-model.md")
    assert "dense_tissue" in listed("models")
    image = Volume.from_spacing(np.full((4, 6, 6), -900, np.int16), (3, 1, 1))
    image.voxels[1:3, 2:4, 2:4] = 40
    found = module.build().predict(image, [Box((0, 0, 0), (4, 6, 6))])
    assert found.voxels.sum() == 8


def test_a_network_is_one_file(add):
    module = add("add-a-network.md")
    assert "two_scales" in listed("models")
    model = module.build()
    assert sum(p.numel() for p in model.network.parameters()) == module.INFOS[0].parameters
    image = Volume.from_spacing(np.full((2, 20, 22), -900, np.int16), (3, 1, 1))
    assert model.predict(image).same_grid(image)


def test_a_dataset_is_one_file(add):
    module = add("add-a-dataset.md")
    assert "balls" in listed("datasets")
    dataset = registry.load("datasets", "balls").build(cases=2)
    case = dataset.load("ball-001")
    expected = 4 / 3 * np.pi * 9**3
    assert case.mask().voxels.sum() * case.image.voxel_volume_mm3 == pytest.approx(expected, rel=0.1)
    assert module.INFO.synthetic


def test_a_prompt_simulator_is_one_file(add):
    module = add("add-a-prompt-simulator.md")
    assert "first_voxel_click" in listed("prompts")
    mask = Volume.from_spacing(np.zeros((4, 6, 6), bool), (3, 1, 1))
    mask.voxels[1, 2:4, 2:4] = mask.voxels[3, 5, 5] = True
    clicks = module.build()(mask, np.random.default_rng(0))
    assert [c.index for c in clicks] == [(1, 2, 2), (3, 5, 5)]


def test_a_metric_is_one_file(add):
    from oncoseg.evaluation.scoring import score_case

    add("add-a-metric.md")
    assert "missed_volume" in listed("metrics")
    reference = Volume.from_spacing(np.zeros((4, 6, 6), bool), (3, 1, 1))
    reference.voxels[1, 2:4, 2:4] = True
    nothing = reference.with_voxels(np.zeros(reference.shape, bool))
    (score,) = score_case(reference, nothing, case="a", patient="a", metrics=["missed_volume"])
    assert score.value == pytest.approx(12 / 1000)
    assert score.unit == "mL"
