"""Training configurations are checked when they are made."""

import pytest

from oncoseg.config import fill
from oncoseg.errors import ConfigError
from oncoseg.training.settings import TrainConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either steps or epochs"),
        ({"steps": 5, "epochs": 1}, "either steps or epochs"),
        ({"steps": 5, "batch": 0}, "must be at least 1"),
        ({"steps": 5, "validate_every": 10, "save_every": 25}, "multiple of validate_every"),
        ({"steps": 5, "learning_rate": 0.0}, "must be positive"),
        ({"steps": 5, "group_rates": {"critic": -1.0}}, "must be positive"),
        ({"steps": 5, "ema": 1.0}, "must lie in 0 to 1; got momentum = 0.99, ema = 1.0"),
        ({"steps": 5, "schedule": "multistep"}, "which needs some"),
        ({"steps": 5, "milestones": [3]}, "belong to schedule multistep"),
        ({"steps": 5, "schedule": "multistep", "milestones": [3, 3]}, "must rise"),
        ({"steps": 5, "schedule": "multistep", "milestones": [0, 3]}, "must rise"),
        ({"steps": 5, "optimiser": "lion"}, "must be one of"),
        ({"steps": 5, "learning_rat": 0.1}, "Did you mean: learning_rate"),
    ],
)
def test_wrong_values_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        fill(TrainConfig, values, "matrix.toml [train]")


def test_epochs_are_rounded_up_to_whole_steps():
    config = TrainConfig(epochs=3, batch=4, accumulate=2, samples_per_case=5)
    assert config.total_steps(cases=7) == 14  # 105 samples in steps of 8


def test_an_epoch_may_be_a_number_of_steps():
    config = TrainConfig(epochs=4, epoch_steps=250, rate_every="epoch", learning_rate=0.01)
    assert config.total_steps(cases=7) == 1000
    assert config.epochs_done(500, cases=7) == 2.0
    # nnU-Net: 0.01 (1 - e / E)^0.9 with e counted from 0 in whole epochs
    assert [config.rate(step, 7) for step in (0, 249, 250, 999)] == pytest.approx(
        [0.01, 0.01, 0.01 * 0.75**0.9, 0.01 * 0.25**0.9]
    )


def test_rates_by_epoch_change_where_an_epoch_ends_even_inside_a_batch():
    config = TrainConfig(
        epochs=6, batch=2, schedule="multistep", milestones=(2, 4), gamma=0.5, rate_every="epoch", learning_rate=1.0
    )
    # 3 cases: 9 steps; epoch 2 begins with sample 6 in step 3, epoch 4 with sample 12 in step 6
    assert [config.rate(step, 3) for step in range(config.total_steps(3))] == [1.0] * 3 + [0.5] * 3 + [0.25] * 3


def test_rates_by_step_fall_with_every_step():
    config = TrainConfig(epochs=2, batch=2, learning_rate=1.0)
    assert [config.rate(step, 4) for step in range(4)] == pytest.approx([(1 - n / 4) ** 0.9 for n in range(4)])
