"""Learning rates over a training."""

import pytest
import torch

from oncoseg.training.schedule import rate_factor


@pytest.mark.parametrize("schedule", ["constant", "poly", "cosine"])
def test_warm_up_grows_to_the_full_rate_and_the_rate_never_vanishes(schedule):
    rates = [rate_factor(s, places=20, schedule=schedule, warm_up=4) for s in range(20)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert all(0 < r <= 1 for r in rates)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_poly_is_that_of_nnunet():
    assert rate_factor(500, places=1000, schedule="poly") == pytest.approx(0.5**0.9)


def test_cosine_is_half_way_down_in_the_middle():
    assert rate_factor(60, places=100, schedule="cosine", warm_up=20) == pytest.approx(0.5)


def test_multistep_is_that_of_torch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[3, 5], gamma=0.1)
    for place in range(8):
        found = rate_factor(place, places=8, schedule="multistep", milestones=(3, 5))
        assert found == pytest.approx(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
