import logging

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.contracts import Entry, Excluding
from oncoseg.datasets.lung1 import build as lung1
from oncoseg.datasets.phantom import build as phantom
from oncoseg.errors import ConfigError, InputError
from oncoseg.experiments.lungs import WithLungs
from oncoseg.experiments.specs import DatasetSpec
from oncoseg.preprocess.lungs import Lungs
from oncoseg.volume import Volume

SMALL = {"cases": 1, "shape": [60, 96, 96], "spacing": [5.0, 4.0, 4.0]}


class Drawings:
    """Three cases: both lungs drawn, one drawn, and one whose file is cut off; counts what is loaded."""

    info = phantom(cases=1).info
    excluded = {"early": "no tumour"}  # noqa: RUF012

    def __init__(self):
        self.loaded = []

    def entries(self):
        return [Entry(name, name) for name in ("both", "broken", "one")]

    def load(self, case):
        self.loaded.append(case)
        if case == "broken":
            raise InputError("broken.nii.gz is cut off")
        image = Volume.from_spacing(np.zeros((2, 3, 4), np.float32), (1.0, 1.0, 1.0))
        there = image.with_voxels(image.voxels == 0)
        names = ("lung_right", "lung_left") if case == "both" else ("lung_right",)
        return Case(case, case, image, {"tumour": there, **dict.fromkeys(names, there)})

    def fingerprint(self):
        return f"drawings {id(self)}"


def test_any_data_set_gets_lungs_and_says_how():
    data = DatasetSpec("phantom", SMALL, lungs="classical").open()
    plain = DatasetSpec("phantom", SMALL).open()
    name = data.entries()[0].case
    case, before = data.load(name), plain.load(name)
    assert case.facts["lungs"] == "classical"
    assert set(case.masks) >= {"tumour", "lung_right", "lung_left"}
    for side in ("lung_right", "lung_left"):
        one, other = case.mask(side).voxels, before.mask(side).voxels
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.9


def test_the_fingerprint_changes_with_the_method():
    found = {DatasetSpec("phantom", SMALL, lungs=how).open().fingerprint() for how in (None, "drawn", "classical")}
    assert len(found) == 3


def test_masks_are_made_once(monkeypatch):
    data = DatasetSpec("phantom", SMALL, lungs="classical").open()
    first = data.load(data.entries()[0].case).mask("lung_right").voxels
    monkeypatch.setattr("oncoseg.experiments.lungs.lungs", lambda image: pytest.fail("made again"))
    again = DatasetSpec("phantom", SMALL, lungs="classical").open()
    assert np.array_equal(again.load(again.entries()[0].case).mask("lung_right").voxels, first)


def test_cases_without_drawn_lungs_are_left_out_with_the_reason(caplog):
    data = WithLungs(Drawings(), "drawn")
    with caplog.at_level(logging.WARNING):
        assert [e.case for e in data.entries()] == ["both", "broken"]
    assert isinstance(data, Excluding)
    assert data.excluded["early"] == "no tumour"
    assert "lung_left was not drawn" in data.excluded["one"]
    assert "case one is left out" in caplog.text
    with pytest.raises(InputError, match=r"one of phantom is left out: .*lung_left was not drawn"):
        data.load("one")
    with pytest.raises(InputError, match="cut off"):
        data.load("broken")


def test_verdicts_are_remembered():
    source = Drawings()
    WithLungs(source, "drawn").entries()
    source.loaded.clear()
    assert [e.case for e in WithLungs(source, "drawn").entries()] == ["both", "broken"]
    assert source.loaded == ["broken"]


def test_drawn_lungs_are_believed_and_made_ones_are_judged():
    # A lung of 24 mm^3 is drawn; the classical method finds none in an image of zeros.
    assert "both" not in WithLungs(Drawings(), "drawn").excluded
    assert WithLungs(Drawings(), "classical").excluded["both"] == "lungs (classical): no right lung was found"


def test_a_users_network_makes_the_lungs(tmp_path, monkeypatch):
    def halves(image, network):
        left = np.arange(image.shape[2]) * image.spacing[2] > 200
        return Lungs(image.with_voxels(image.voxels > -2000), image.with_voxels((image.voxels < -2000) & left), network)

    monkeypatch.setattr("oncoseg.inference.lungmask.load_lung_network", lambda path: f"network of {path.name}")
    monkeypatch.setattr("oncoseg.inference.lungmask.network_lungs", halves)
    path = tmp_path / "mine.pth"
    path.write_bytes(b"weights")
    data = WithLungs(phantom(cases=1, shape=(16, 48, 48), spacing=(10.0, 8.0, 8.0)), str(path))
    assert set(data.excluded.values()) == {"lungs (network of mine.pth): no left lung was found"}
    before = data.fingerprint()
    path.write_bytes(b"other weights")
    assert WithLungs(data._dataset, str(path)).fingerprint() != before


def test_an_unknown_method_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match="Did you mean: classical"):
        DatasetSpec("phantom", SMALL, lungs="clasical").open()


@pytest.mark.slow
def test_drawn_and_classical_lungs_of_lung1(shared):
    root = shared / "data" / "nsclc_radiomics"
    assert [e.case for e in WithLungs(lung1(root=root), "drawn").entries()] == ["LUNG1-001", "LUNG1-002"]
    data = WithLungs(lung1(root=root), "classical")
    assert not data.excluded
    assert data.load("LUNG1-002").facts["lungs"] == "classical"
