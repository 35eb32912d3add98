"""Batches depend on seed and position only."""

import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.models import unet
from oncoseg.training.loader import CasesOnDemand, Samples, batches


@pytest.fixture
def samples(make_case, make_model):
    def make(seed=0, **changes):
        return Samples(make_model(), [make_case(n) for n in range(3)], seed=seed, **changes)

    return make


def drawn(samples, **how):
    return list(batches(samples, **{"size": 2, "first": 0, "stop": 6, **how}))


def assert_equal(left, right):
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_workers_do_not_change_the_batches(samples):
    assert_equal(drawn(samples()), drawn(samples(), workers=2))


def test_a_later_start_gives_the_rest_of_the_same_batches(samples):
    assert_equal(drawn(samples())[4:], drawn(samples(), first=4))


def test_another_seed_gives_other_batches(samples):
    assert not torch.equal(drawn(samples())[0]["image"], drawn(samples(seed=1))[0]["image"])


def test_the_global_generator_is_left_alone(samples):
    row = samples()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    drawn(row)
    assert torch.equal(torch.rand(1), expected)


def test_an_epoch_visits_every_case_as_often_as_asked(samples):
    row = samples(per_case=2)
    seen = []
    row.model.samples = lambda case, rng: iter([seen.append(case.name) or {"x": np.zeros(1)}])
    for n in range(12):
        row[n]
    assert sorted(seen[:6]) == sorted(seen[6:]) == sorted(["case0", "case1", "case2"] * 2)
    assert seen[:6] != seen[6:]


def test_a_case_without_samples_is_named(samples):
    row = samples()
    row.model.samples = lambda case, rng: iter(())
    with pytest.raises(InputError, match="no training sample of case case"):
        row[0]


def test_cases_on_demand_are_read_once_while_there_is_room(make_case):
    read = []

    def load(name):
        read.append(name)
        return make_case(int(name))

    size = make_case(0).image.voxels.nbytes * 1.5
    cases = CasesOnDemand(load, ["0", "1", "2"], keep_gigabytes=2.5 * size / 1e9)
    assert [cases[i].name for i in (0, 1, 0, 1)] == ["case0", "case1"] * 2
    assert read == ["0", "1"]
    assert cases[2].name == "case2"
    assert cases[1].name == "case1"
    assert read == ["0", "1", "2"]
    assert cases[0].name == "case0"
    assert read == ["0", "1", "2", "0"]
    assert len(cases) == 3
    assert [case.name for case in cases[1:]] == ["case1", "case2"]


class Picky:
    """Makes no sample of some cases."""

    info = unet.INFOS[0]

    def __init__(self, refused):
        self.refused = refused

    def samples(self, case, rng):
        if case.name not in self.refused:
            yield {"name": case.name}


def test_a_case_without_a_sample_is_replaced_by_others_where_that_is_asked_for(make_case):
    cases = [make_case(n) for n in range(4)]
    picky = Picky({"case1", "case2"})
    row = Samples(picky, cases, seed=0, redraw=True)
    found = [row[n]["name"] for n in range(40)]
    assert set(found) == {"case0", "case3"}
    assert found == [row[n]["name"] for n in range(40)]
    with pytest.raises(InputError, match=r"no training sample of case case\d"):
        [Samples(picky, cases, seed=0)[n] for n in range(4)]
    with pytest.raises(InputError, match="of any of 4 cases"):
        Samples(Picky({"case0", "case1", "case2", "case3"}), cases, seed=0, redraw=True)[0]
