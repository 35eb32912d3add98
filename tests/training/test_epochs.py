"""Weights and scores of every epoch, and what a model finds in its training cases before the first step."""

import json

import numpy as np
import pytest
import torch

from oncoseg.dense.slices import SliceModel
from oncoseg.evaluation.protocol import ScoredCase
from oncoseg.evaluation.scoring import score_cases
from oncoseg.models import unet
from oncoseg.training.loop import train
from oncoseg.training.record import LOG, SURVEY, epoch_file
from oncoseg.training.settings import TrainConfig
from oncoseg.training.validating import means
from oncoseg.weights.trained import read_checkpoint


def every_epoch(**changes):
    plain = {"epochs": 3, "samples_per_case": 2, "batch": 2, "device": "cpu", "keep_every_epoch": True}
    return TrainConfig(**plain | changes)


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture
def cases(make_case):
    return [make_case(n) for n in range(3)]


class KilledError(Exception):
    """Stands for the end of the process."""


def test_every_epoch_leaves_its_weights_and_its_scores(make_model, cases, tmp_path):
    model = make_model(base=4)
    result = train(model, training=cases, validation=cases[:2], config=every_epoch(), folder=tmp_path)
    lines = log(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [3, 6, 9]
    assert sorted(p.name for p in epoch_file(tmp_path, 1).parent.iterdir()) == [
        f"epoch-000{n}.safetensors" for n in (1, 2, 3)
    ]
    for number, line in enumerate(lines, start=1):
        again = unet.build(weights=epoch_file(tmp_path, number))
        assert read_checkpoint(epoch_file(tmp_path, number)).about.step == line["step"]
        masks = [again.predict(case.image) for case in cases[:2]]
        scored = [
            ScoredCase(case.name, case.mask(), mask.with_voxels(mask.voxels >= 0.5))
            for case, mask in zip(cases, masks, strict=False)
        ]
        for name in ("dice", "sensitivity", "specificity"):
            expected = score_cases(scored, metric_name=name, protocol="tumour_slices").value
            assert line["scores"][name] == pytest.approx(expected)
    chosen = read_checkpoint(result.checkpoint).state
    kept = read_checkpoint(epoch_file(tmp_path, result.chosen_step // 3)).state
    assert all(torch.equal(chosen[name], kept[name]) for name in chosen)


@pytest.mark.parametrize("last", [2, 3, 4, 7])
def test_a_kill_changes_no_byte_of_any_epoch(last, make_model, cases, tmp_path):
    def run(folder, progress=lambda told: None):
        torch.manual_seed(0)
        model = make_model(base=4)
        train(model, training=cases, validation=cases[:1], config=every_epoch(), folder=folder, progress=progress)

    def kill(told):
        if told.step == last:
            raise KilledError

    run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill)
    run(tmp_path / "killed")
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    for number in (1, 2, 3):
        one, other = (epoch_file(tmp_path / name, number).read_bytes() for name in ("whole", "killed"))
        assert one == other


def test_epochs_that_end_within_a_step_are_kept_once(make_model, cases, tmp_path):
    train(make_model(base=4), training=cases, config=every_epoch(samples_per_case=1, batch=2), folder=tmp_path)
    # 3 epochs of 3 samples in batches of 2: steps 2, 3 and 5 are the first beyond each.
    assert [line["step"] for line in log(tmp_path)] == [2, 3, 5]
    assert len(list(epoch_file(tmp_path, 1).parent.iterdir())) == 3


def test_without_the_switch_nothing_is_kept(make_model, cases, tmp_path):
    train(
        make_model(base=4),
        training=cases,
        config=every_epoch(keep_every_epoch=False, validate_every=5),
        folder=tmp_path,
    )
    assert not epoch_file(tmp_path, 1).parent.exists()
    assert log(tmp_path)[0]["scores"] == {}


class Surveyor(SliceModel):
    """A U-Net that takes its batch from the number of training cases, and says how often it looked."""

    looked = 0

    def survey(self, training):
        type(self).looked += 1
        return {"batch": sum(1 for _ in training) + 2}

    def take(self, found):
        self.found = dict(found)

    @property
    def watched(self):
        return {"three": 3.0}

    def options(self):
        return super().options() | getattr(self, "found", {})


def test_what_a_model_finds_in_its_training_cases_goes_into_the_checkpoint(make_model, cases, tmp_path):
    made = make_model(base=4)
    model = Surveyor(made.info, made.settings, made.network)
    result = train(model, training=cases, config=every_epoch(epochs=1), folder=tmp_path)
    assert json.loads((tmp_path / SURVEY).read_text()) == {"batch": 5}
    assert read_checkpoint(result.checkpoint).about.options["batch"] == 5
    assert log(tmp_path)[0]["watched"] == {"three": 3.0}
    again = Surveyor(made.info, made.settings, made.network)
    train(again, training=cases, config=every_epoch(epochs=1), folder=tmp_path)
    assert Surveyor.looked == 1
    assert again.options()["batch"] == 5


def test_means_are_over_those_that_have_a_number():
    assert means([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
    assert means([]) == {}
    assert np.isfinite(list(means([{"a": 1.0}]).values())).all()
