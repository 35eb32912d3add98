"""Records of single lesions: what they say, and what they leave unknown."""

import numpy as np
import pytest

from oncoseg.evaluation.findings import calibration_record, lesion_records
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.soft import soft_brier, soft_dice
from oncoseg.evaluation.strata import Surroundings, surroundings, volume_class
from oncoseg.preprocess.consensus import soft_reference, staple
from oncoseg.volume import Volume

SHAPE, SPACING = (12, 60, 80), (2.5, 1.0, 1.0)


def volume(*boxes):
    mask = np.zeros(SHAPE, dtype=bool)
    for z, y, x in boxes:
        mask[slice(*z), slice(*y), slice(*x)] = True
    return Volume.from_spacing(mask, SPACING)


@pytest.fixture
def thorax():
    """Two lungs with a mediastinum between columns 35 and 45, in a wall of 5 voxels."""
    left, right = volume(((0, 12), (5, 55), (5, 35))), volume(((0, 12), (5, 55), (45, 75)))
    return {"lung_right": right, "lung_left": left}


def records(reference, prediction, known, probability=None):
    pair = MaskPair(reference, prediction, probability)
    return lesion_records(pair, case="c", patient="p", roi="tumour", known=known)


CENTRAL = ((4, 8), (25, 33), (16, 24))
AT_WALL = ((4, 8), (5, 13), (16, 24))
BETWEEN = ((4, 8), (25, 33), (37, 43))


def test_places_come_from_the_lungs(thorax):
    for tumour, place in ((CENTRAL, "inside lung"), (AT_WALL, "pleural"), (BETWEEN, "mediastinal")):
        reference = volume(tumour)
        (found,) = records(reference, reference, surroundings(reference, thorax))
        assert found.location == place
    outside = volume(((4, 8), (56, 59), (16, 24)))
    assert records(outside, outside, surroundings(outside, thorax))[0].location == "pleural"


def test_a_tumour_that_a_lung_mask_leaves_out_as_a_hole_is_inside(thorax):
    reference = volume(CENTRAL)
    holed = {name: lung.with_voxels(lung.voxels & ~reference.voxels) for name, lung in thorax.items()}
    assert records(reference, reference, surroundings(reference, holed))[0].location == "inside lung"


def test_vessels_make_it_vascular_and_nothing_makes_it_unknown(thorax):
    reference = volume(CENTRAL)
    vessel = volume(((0, 12), (25, 33), (25, 27)))
    (found,) = records(reference, reference, surroundings(reference, {**thorax, "vessels": vessel}))
    assert found.location == "vascular"
    assert records(reference, reference, Surroundings())[0].location == "unknown"


def test_contrast_is_taken_against_the_shell_without_other_lesions():
    reference = volume(CENTRAL, ((4, 8), (25, 33), (26, 30)))
    image = reference.with_voxels(np.where(reference.voxels, 40.0, -800.0).astype(np.float32))
    assert [r.contrast for r in records(reference, reference, Surroundings(image))] == pytest.approx([840, 840])


def test_agreement_is_the_dice_of_readers_round_the_lesion():
    reference = volume(CENTRAL)
    half = volume(((4, 8), (25, 33), (16, 20)))
    far = volume(((0, 2), (50, 55), (70, 75)))
    known = Surroundings(readers=(reference, half, far))
    (found,) = records(reference, reference, known)
    assert (found.readers, found.marked_by) == (3, 2)
    assert found.agreement == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_found_missed_and_false_lesions_have_a_record_each():
    reference = volume(CENTRAL, AT_WALL)
    prediction = volume(CENTRAL, ((4, 8), (25, 33), (50, 58)))
    probability = prediction.with_voxels(np.where(prediction.voxels, 0.7, 0.1).astype(np.float32))
    probability.voxels[5, 28, 52] = 0.95
    missed, found, false = records(reference, prediction, Surroundings(), probability)
    assert (missed.found, missed.touched, missed.dice, missed.score) == (False, False, None, None)
    assert (found.found, found.dice, found.score) == (True, 1, pytest.approx(0.7))
    assert (false.kind, false.found, false.score) == ("false", False, pytest.approx(0.95))
    assert found.volume_mm3 == 256 * 2.5


def test_volume_classes_have_balls_of_8_20_30_and_50_mm_as_borders():
    balls = [np.pi / 6 * d**3 for d in (7, 9, 19, 21, 29, 31, 49, 51)]
    assert [volume_class(v)[:5] for v in balls] == [
        "below",
        "0.27–",
        "0.27–",
        "4.2–1",
        "4.2–1",
        "14–65",
        "14–65",
        "above",
    ]


def test_calibration_is_kept_with_its_bins_and_comes_back_whole():
    reference = volume(CENTRAL)
    probability = reference.with_voxels(np.where(reference.voxels, 0.8, 0.1).astype(np.float32))
    pair = MaskPair(reference, reference, probability)
    record = calibration_record(pair, case="c", patient="p", roi="tumour")
    assert record.calibration("box").brier == pytest.approx(pair.calibration("box").brier)
    np.testing.assert_allclose(record.calibration("whole").foreground.true, pair.calibration("whole").foreground.true)
    assert 0.4 < record.uncertainty < 0.8
    bare = calibration_record(
        MaskPair(reference, reference), case="c", patient="p", roi="tumour", reason="binary_output"
    )
    assert (bare.reason, bare.regions, bare.calibration("box")) == ("binary_output", {}, None)


class TestReaders:
    def test_staple_finds_the_truth_and_the_careless_reader(self):
        rng = np.random.default_rng(0)
        z, y, x = np.mgrid[:12, :20, :20]
        truth = (z - 6) ** 2 / 9 + (y - 10) ** 2 / 36 + (x - 10) ** 2 / 25 <= 1
        quality = ((0.95, 0.99), (0.9, 0.999), (0.7, 0.95), (0.85, 0.98))
        drawn = [np.where(truth, rng.random(truth.shape) < p, rng.random(truth.shape) > q) for p, q in quality]
        found = staple([Volume.from_spacing(mask, (1, 1, 1)) for mask in drawn])
        # SimpleITK 2.5.7's STAPLEImageFilter on the same masks; it stops a little earlier.
        assert found.sensitivity == pytest.approx((0.9565639, 0.9022409, 0.7441952, 0.8100199), abs=1e-6)
        assert found.specificity == pytest.approx((0.9881132, 0.9997215, 0.9469244, 0.9796888), abs=1e-6)
        assert (found.mask.voxels != truth).sum() == 5
        assert min((mask != truth).sum() for mask in drawn) == 39

    def test_a_soft_reference_is_met_by_its_own_share_alone(self):
        readers = [volume(CENTRAL), volume(CENTRAL), volume(((4, 8), (25, 33), (16, 20))), volume()]
        share = soft_reference(readers)
        assert sorted(np.unique(share.voxels)) == [0, 0.5, 0.75]
        assert soft_dice(share, share).value == 1
        assert soft_brier(share, share).value == 0
        # 128 voxels of 0.75 and of 0.5 against 256 of 1.
        assert soft_dice(share, readers[0]).value == pytest.approx(2 * 160 / (160 + 256))
        assert soft_dice(volume(), volume()).reason == "both_empty"
