"""Prepared cases are made once, and are the same from memory, disk and anew."""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.files import sha256
from oncoseg.training.loader import CasesOnDemand
from oncoseg.training.loop import train
from oncoseg.training.preparing import PreparedFolder, prepared_cases
from oncoseg.training.record import PREPARED
from oncoseg.training.settings import TrainConfig


class Halving:
    """Prepares by halving grey values; counts."""

    def __init__(self):
        self.prepared = []

    def prepare(self, case):
        self.prepared.append(case.name)
        halved = case.image.with_voxels(case.image.voxels.astype(np.float32) / 2)
        return Case(case.name, case.patient, halved, case.masks, case.facts, case.notes)


def same(left, right):
    assert (left.name, left.patient, left.facts, left.notes) == (right.name, right.patient, right.facts, right.notes)
    assert left.image.voxels.dtype == right.image.voxels.dtype
    assert np.array_equal(left.image.voxels, right.image.voxels)
    assert np.array_equal(left.image.affine, right.image.affine)
    assert left.masks.keys() == right.masks.keys()
    assert all(np.array_equal(left.masks[roi].voxels, right.masks[roi].voxels) for roi in left.masks)


@pytest.fixture
def cases(make_case):
    first = make_case(0)
    lungs = first.image.with_voxels(first.image.voxels < -500)
    more = Case(
        "odd/name 1", "p", first.image, {**first.masks, "lung": lungs}, {"vendor": "x", "kvp": 120.0}, ("note",)
    )
    return [more, make_case(1)]


@pytest.mark.parametrize("storage", ["blosc2", "plain"])
def test_a_case_comes_back_from_disk_as_it_was_prepared(cases, tmp_path, storage):
    first, second = Halving(), Halving()
    folder = tmp_path / "prepared"
    made = prepared_cases(first, cases, folder=PreparedFolder(folder, "model", storage=storage))
    read = prepared_cases(second, cases, folder=PreparedFolder(folder, "model", storage=storage))
    for index, case in enumerate(cases):
        same(made[index], Halving().prepare(case))
        same(read[index], made[index])
    assert first.prepared == [case.name for case in cases]
    assert second.prepared == []


def test_other_options_or_data_are_prepared_anew(cases, tmp_path):
    model = Halving()
    for about in ({"spacing": 1}, {"spacing": 2}):
        _ = prepared_cases(model, cases, folder=PreparedFolder(tmp_path, about))[0]
    assert len(model.prepared) == 2


@pytest.mark.parametrize("suffix", [".vol", "-1.vol", ".json"])
def test_what_is_damaged_or_half_there_is_prepared_again(cases, tmp_path, suffix):
    expected = prepared_cases(Halving(), cases, folder=PreparedFolder(tmp_path, "m"))[0]
    victim = next(path for path in sorted(tmp_path.iterdir()) if path.name.endswith(suffix))
    if suffix == ".vol":
        victim.write_bytes(victim.read_bytes()[:-1])
    else:
        victim.unlink()
    model = Halving()
    same(prepared_cases(model, cases, folder=PreparedFolder(tmp_path, "m"))[0], expected)
    assert len(model.prepared) == 1


def test_cases_on_demand_are_not_kept_beside_their_prepared_ones(cases):
    read, model = [], Halving()
    lazy = CasesOnDemand(lambda name: read.append(name) or cases[int(name)], ["0", "1"])
    ready = prepared_cases(model, lazy, keep_gigabytes=1.0)
    _ = [ready[index] for index in (0, 1, 0, 1)]
    assert read == ["0", "1"]
    assert model.prepared == [case.name for case in cases]
    _ = lazy[0]
    assert read == ["0", "1", "0"]


def test_where_prepared_cases_wait_changes_no_weight(make_model, cases, tmp_path):
    class Ready:
        """The U-Net on cases prepared by halving."""

        def __init__(self):
            self.inner, self.prepare = make_model(), Halving().prepare

        def __getattr__(self, name):
            return getattr(self.inner, name)

    cases = [replace(case, masks={"tumour": case.masks["tumour"]}) for case in cases]
    config = TrainConfig(steps=4, batch=2, validate_every=2, device="cpu", keep_prepared=True)
    weights = set()
    for place, workers in (("memory", 0), ("blosc2", 0), ("plain", 0), ("blosc2", 2)):
        folder = tmp_path / f"{place}{workers}"
        config = replace(config, prepared=place, workers=workers)
        weights.add(sha256(train(Ready(), training=cases, config=config, folder=folder, dataset="d").checkpoint))
        assert (folder / PREPARED).exists() == (place != "memory")
    assert len(weights) == 1
    gone = tmp_path / "gone"
    train(Ready(), training=cases, config=replace(config, keep_prepared=False), folder=gone, dataset="d")
    assert not (gone / PREPARED).exists()
