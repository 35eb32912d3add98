"""Calibration, FROC, risk-coverage and agreement of volumes."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.evaluation.calibration import _exact, measure
from oncoseg.evaluation.froc import Candidate, froc
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.risk_coverage import risk_coverage
from oncoseg.evaluation.scoring import metric
from oncoseg.evaluation.volumetry import bland_altman


def test_a_scan_of_background_gives_the_sums_of_the_formula():
    rng = np.random.default_rng(0)
    label = np.zeros((60, 80, 90), dtype=bool)
    label[20:30, 30:50, 40:60] = True
    probability = (rng.random(label.shape) ** 8).astype(np.float32)
    probability[label] = rng.random(int(label.sum()))
    fast, exact = measure(probability, label), _exact(probability.reshape(-1).astype(np.float64), label.reshape(-1))
    assert fast.voxels == exact.voxels
    assert (fast.brier, fast.nll) == pytest.approx((exact.brier, exact.nll), rel=1e-6)
    for kind in ("foreground", "top_label"):
        ours, theirs = getattr(fast, kind), getattr(exact, kind)
        np.testing.assert_array_equal(ours.voxels, theirs.voxels)
        np.testing.assert_array_equal(ours.true, theirs.true)
        np.testing.assert_allclose(ours.predicted, theirs.predicted, rtol=1e-9)


def test_bins_are_closed_on_the_right():
    found = measure(np.array([0.0, 0.1, 0.2, 0.3, 0.7, 1.0]), np.ones(6, dtype=bool))
    assert found.foreground.voxels.tolist() == [2, 1, 1, 0, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("wrong", [1.5, -0.1, np.nan])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match="lies in"):
        measure(np.array([0.5, wrong]), np.array([True, False]))


def test_background_makes_everything_look_calibrated():
    reference = np.zeros((20, 60, 60), dtype=bool)
    reference[8:12, 25:35, 25:35] = True
    wrong = np.where(reference, 0.6, 0.0)
    pair = MaskPair.from_arrays(reference, reference, (1, 1, 1), probability=wrong)
    whole, box, boundary = (metric(f"brier@{region}")(pair).value for region in ("whole", "box", "boundary"))
    assert whole < box < boundary
    assert box == pytest.approx(400 * 0.16 / (20 * 30 * 30))


def test_the_curve_of_found_lesions_can_be_read_at_any_rate():
    curve = froc(
        [Candidate(s, t) for s, t in ((0.9, True), (0.8, False), (0.7, True), (0.7, False))], lesions=3, scans=2
    )
    assert curve.false_per_scan == (0, 0, 0.5, 1)
    assert curve.sensitivity == pytest.approx((0, 1 / 3, 1 / 3, 2 / 3))
    assert [curve.at(rate) for rate in (0.25, 0.99, 1, 8)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve.score == pytest.approx((3 * 1 / 3 + 4 * 2 / 3) / 7)


def test_no_order_is_better_than_the_ideal_one_and_ties_count_as_chance():
    risk = [0.1, 0.9, 0.4, 0.2]
    ideal, worst, tied = (risk_coverage(u, risk) for u in (risk, [-r for r in risk], [0.5] * 4))
    assert ideal.area == ideal.ideal == pytest.approx((0.1 + 0.15 + 0.7 / 3 + 0.4) / 4)
    assert ideal.excess == 0
    assert tied.area == tied.random == pytest.approx(0.4)
    assert worst.area > tied.area


def test_a_random_order_has_the_mean_risk():
    rng = np.random.default_rng(1)
    risk = rng.random(30)
    areas = [risk_coverage(rng.random(30), risk).area for _ in range(2000)]
    assert np.mean(areas) == pytest.approx(risk.mean(), abs=0.005)


def test_limits_of_agreement_of_the_first_paper():
    # Peak flow by two meters, Bland and Altman 1986, table 1: bias -2.1, SD 38.8, interval of the bias -22.0 to 17.8.
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = bland_altman([a - b for a, b in zip(wright, mini, strict=True)])
    assert (round(found.bias.value, 1), round(found.sd, 1)) == (-2.1, 38.8)
    assert (found.bias.low, found.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert (found.lower.value, found.upper.value) == pytest.approx((-2.1 - 1.96 * 38.8, -2.1 + 1.96 * 38.8), abs=0.1)
    # The paper's interval of a limit takes sqrt(3/n) for its factor: +/- 34.6.
    assert found.upper.high - found.upper.value == pytest.approx(34.6, abs=0.8)
