import numpy as np

from oncoseg.inference.shapes import inscribed


def test_the_ellipsoid_touches_every_face_of_its_box():
    mask = inscribed((9, 20, 15))
    for axis in range(3):
        assert mask.take(0, axis).any()
        assert mask.take(-1, axis).any()
    assert not mask[0, 0, 0]


def test_it_fills_pi_sixths_of_the_box():
    assert abs(inscribed((60, 80, 70)).mean() - np.pi / 6) < 0.002


def test_one_slice_holds_an_ellipse_and_one_voxel_itself():
    assert abs(inscribed((1, 80, 70)).mean() - np.pi / 4) < 0.004
    assert inscribed((1, 1, 1)).all()
