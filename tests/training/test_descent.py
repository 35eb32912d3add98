"""Optimiser steps: accumulation, several losses, clipping, bad numbers."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from oncoseg.errors import ConfigError, OncosegError, UnknownNameError
from oncoseg.inference import trial
from oncoseg.models import unet
from oncoseg.training.descent import Descent
from oncoseg.training.settings import TrainConfig


class Pair:
    """A generator that makes numbers and a critic that judges them, like a GAN of one weight each."""

    info = unet.INFOS[0]

    def __init__(self):
        self.network = nn.ModuleDict({"generator": nn.Linear(1, 1, bias=False), "critic": nn.Linear(1, 1, bias=False)})
        nn.init.ones_(self.network["generator"].weight)
        nn.init.ones_(self.network["critic"].weight)
        self.seen = []

    def weights(self):
        return {name: part.weight.item() for name, part in self.network.items()}

    def losses(self, batch):
        fake = self.network["generator"](batch["x"])
        yield "critic", self.network["critic"](fake.detach()).mean()
        self.seen.append(self.weights())
        yield "generator", -self.network["critic"](fake).mean()

    def parameter_groups(self):
        return {name: part.parameters() for name, part in self.network.items()}


def sgd(**changes):
    return TrainConfig(
        **{"steps": 1, "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.1} | changes
    )


def test_each_loss_moves_its_own_group_and_the_next_one_sees_it():
    model = Pair()
    losses = Descent(model, sgd(device="cpu")).step([{"x": torch.ones(4, 1)}], 0, 0.1)
    assert model.seen == [{"generator": 1.0, "critic": pytest.approx(0.9)}]
    assert model.weights() == pytest.approx({"generator": 1 + 0.1 * 0.9, "critic": 0.9})
    assert losses == pytest.approx({"critic": 1.0, "generator": -0.9})


def test_a_group_can_have_its_own_rate():
    model = Pair()
    Descent(model, sgd(group_rates={"critic": 0.5})).step([{"x": torch.ones(4, 1)}], 0, 0.1)
    assert model.weights()["critic"] == pytest.approx(0.95)


class Parts(Pair):
    """One loss that moves two groups."""

    def losses(self, batch):
        yield "network", self.network["critic"](self.network["generator"](batch["x"])).mean()

    def parameter_groups(self):
        return {"network.slow": self.network["generator"].parameters(), "network": self.network["critic"].parameters()}


def test_one_loss_moves_several_groups_each_at_its_rate():
    model = Parts()
    losses = Descent(model, sgd(device="cpu", group_rates={"network.slow": 0.1})).step(
        [{"x": torch.ones(4, 1)}], 0, 0.1
    )
    assert losses == {"network": 1.0}
    # Both gradients are 1.
    assert model.weights() == pytest.approx({"generator": 1 - 0.01, "critic": 0.9})


def test_a_group_without_a_rate_takes_that_of_its_loss():
    config = sgd(group_rates={"network": 0.5, "network.slow": 0.1})
    assert [config.group_rate(name) for name in ("network.slow", "network.fast", "network", "critic")] == [
        *(0.1, 0.5, 0.5, 1.0)
    ]


def test_gradients_of_a_loss_are_clipped_over_all_groups_that_it_moves():
    model = Parts()
    Descent(model, sgd(device="cpu", clip=0.5)).step([{"x": torch.ones(4, 1)}], 0, 1.0)
    # A norm of sqrt(2) becomes 0.5, the same share in both.
    assert model.weights() == pytest.approx({name: 1 - 0.5 / 2**0.5 for name in ("generator", "critic")}, abs=1e-5)


def test_a_training_with_several_rates_goes_on_where_it_was():
    config = TrainConfig(steps=4, optimiser="adamw", device="cpu", group_rates={"network.slow": 0.1})
    batch, whole, begun, again = [{"x": torch.ones(4, 1)}], Parts(), Parts(), Parts()
    straight, first = Descent(whole, config), Descent(begun, config)
    for number in range(4):
        straight.step(batch, number, 1e-2)
    for number in range(2):
        first.step(batch, number, 1e-2)
    second = Descent(again, config)
    second.restore(*first.state())
    for number in (2, 3):
        second.step(batch, number, 1e-2)
    assert again.weights() == whole.weights()
    assert [g["lr"] for g in second.optimisers["network"].param_groups] == pytest.approx([1e-3, 1e-2])


def test_a_model_of_which_nothing_learns_is_refused():
    model = Pair()
    model.network.requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter that loss 'generator' moves"):
        Descent(model, sgd(device="cpu"))


def test_two_losses_accumulate_in_turn():
    whole, halves = Pair(), Pair()
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    Descent(whole, sgd()).step([{"x": x}], 0, 0.1)
    Descent(halves, sgd()).step([{"x": x[:2]}, {"x": x[2:]}], 0, 0.1)
    assert halves.weights() == pytest.approx(whole.weights())


def test_accumulated_batches_equal_one_large_batch(make_case, make_model):
    options = {"dropout": 0.0, "norm": "instance"}
    batch = torch.utils.data.default_collate(_samples(make_model, make_case))
    whole, parts = make_model(**options), make_model(**options)
    Descent(whole, sgd(batch=8)).step([batch], 0, 0.1)
    Descent(parts, sgd(batch=2, accumulate=4)).step(
        [{key: value[k : k + 2] for key, value in batch.items()} for k in range(0, 8, 2)], 0, 0.1
    )
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def _samples(make_model, make_case):
    made = [s for n in range(2) for s in make_model().samples(make_case(n), np.random.default_rng(n))]
    return made[:8]


def test_gradients_are_clipped_to_the_norm():
    model = Pair()
    Descent(model, sgd(clip=0.01)).step([{"x": torch.full((4, 1), 100.0)}], 0, 0.1)
    assert model.weights()["critic"] == pytest.approx(1 - 0.1 * 0.01, rel=1e-4)


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_the_state_restores_weights_and_optimiser(optimiser, make_model, make_case):
    config = TrainConfig(steps=4, optimiser=optimiser, learning_rate=1e-3, momentum=0.9)
    batch = torch.utils.data.default_collate(_samples(make_model, make_case))
    straight = make_model()
    descent = Descent(straight, config)
    for step in range(4):
        if step == 2:
            saved, scaler = descent.state()
            saved = {name: tensor.clone() for name, tensor in saved.items()}
        descent.step([batch], step, 1e-3)
    resumed = make_model()
    again = Descent(resumed, config)
    again.restore(saved, scaler)
    for step in (2, 3):
        again.step([batch], step, 1e-3)
    expected, found = descent.state()[0], again.state()[0]
    assert expected.keys() == found.keys()
    assert any(name.startswith("optimiser.network.0.") for name in expected)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_dropout_depends_on_the_step_and_nothing_else(make_model, make_case):
    batch = torch.utils.data.default_collate(_samples(make_model, make_case))
    losses = []
    for disturb in (False, True):
        descent = Descent(make_model(dropout=0.5), sgd())
        if disturb:
            torch.rand(17)
        losses.append(descent.step([batch], 3, 1e-3))
    other_step = Descent(make_model(dropout=0.5), sgd()).step([batch], 4, 1e-3)
    assert losses[0] == losses[1] != other_step


def test_a_loss_that_is_not_a_number_ends_the_training_with_a_way_out():
    with pytest.raises(OncosegError, match=r"'critic' became nan at step 7\. Lower the learning rate"):
        Descent(Pair(), sgd()).step([{"x": torch.full((2, 1), float("nan"))}], 7, 0.1)


def test_unknown_groups_and_devices_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean: critic"):
        Descent(Pair(), sgd(group_rates={"critik": 1.0}))
    with pytest.raises(ConfigError, match="cannot be used here"):
        Descent(Pair(), sgd(device="quantum"))


def test_a_loss_of_one_number_may_have_any_shape_and_others_are_refused():
    class Odd(Pair):
        def losses(self, batch):
            yield "critic", self.network["critic"](batch["x"])

    assert Descent(Odd(), sgd()).step([{"x": torch.ones(1, 1)}], 0, 0.1) == {"critic": 1.0}
    with pytest.raises(OncosegError, match=r"'critic' of unet\.ronneberger has shape \(4, 1\); it must be one number"):
        Descent(Odd(), sgd()).step([{"x": torch.ones(4, 1)}], 0, 0.1)


def test_bfloat16_on_a_cpu_that_cannot_is_refused_before_it_ends_the_process(monkeypatch):
    monkeypatch.setattr(trial, "trial", lambda backend: trial.Trial(False, None, "the trial was ended by SIGILL"))
    with pytest.raises(ConfigError, match=r"ended by SIGILL\. Use float32"):
        Descent(Pair(), sgd(device="cpu", precision="bfloat16"))


BFLOAT16 = """
    import torch
    from torch import nn
    from oncoseg.errors import ConfigError
    from oncoseg.models import unet
    from oncoseg.training.descent import Descent
    from oncoseg.training.settings import TrainConfig

    class Products:
        info, network = unet.INFOS[0], nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

        def losses(self, batch):
            yield "network", self.network(batch["x"]).float().square().mean()

        def parameter_groups(self):
            return {"network": self.network.parameters()}

    try:
        descent = Descent(Products(), TrainConfig(steps=2, device="cpu", precision="bfloat16"))
        print(*[descent.step([{"x": torch.ones(32, 64)}], n, 1e-4)["network"] for n in range(2)])
    except ConfigError as error:
        print(error)
"""


@pytest.mark.slow
def test_bfloat16_works_on_this_cpu_or_says_why_not():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(BFLOAT16)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "Use float32" not in done.stdout:
        first, second = map(float, done.stdout.split())
        assert second < first


def test_a_group_with_several_losses_in_turn_draws_anew_for_each_and_reports_their_mean():
    class Repeated(Pair):
        def losses(self, batch):
            self.drawn = []
            for _ in range(3):
                self.drawn.append(torch.rand(()).item())
                yield "generator", self.network["generator"](batch["x"]).mean() * 0 + self.drawn[-1]

    model = Repeated()
    losses = Descent(model, sgd(device="cpu")).step([{"x": torch.ones(4, 1)}], 0, 0.1)
    assert len(set(model.drawn)) == 3
    assert losses == pytest.approx({"generator": sum(model.drawn) / 3})


def test_momentum_is_plain_or_nesterovs():
    kinds = {}
    for nesterov in (True, False):
        config = TrainConfig(steps=1, optimiser="sgd", momentum=0.9, nesterov=nesterov)
        [group] = Descent(Pair(), config).optimisers["critic"].param_groups
        kinds[nesterov] = group["nesterov"]
    assert kinds == {True: True, False: False}
