"""HU to numbers between 0 and 1."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.preprocess.window import window, window_level


def test_scales_and_clips():
    result = window(np.array([[-3000, -1000], [-500, 0]], np.int16), -1000, 0)
    assert result.dtype == np.float32
    assert result.tolist() == [[0, 0], [0.5, 1]]


def test_width_and_level_say_the_same():
    hu = np.linspace(-2000, 1000, 50)
    assert np.array_equal(window_level(hu, 1500, -600), window(hu, -1350, 150))


def test_leaves_its_input_alone():
    hu = np.array([-100.0, 3.0], np.float32)
    window(hu, 0, 1)
    assert hu.tolist() == [-100, 3]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (np.nan, 1), (0, np.inf)])
def test_refuses_a_window_without_width(low, high):
    with pytest.raises(InputError, match="lower to a higher"):
        window(np.zeros(3), low, high)
