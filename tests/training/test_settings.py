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
