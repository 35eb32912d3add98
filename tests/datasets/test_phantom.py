"""The phantom repeats itself, grows the tumours it was asked for, and has the tissues of a thorax."""

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from oncoseg.case import TUMOUR, Case
from oncoseg.datasets.phantom import INFO, build
from oncoseg.errors import ConfigError, InputError, UnknownNameError

SMALL = {"shape": [40, 96, 96], "spacing": [7.0, 3.8, 3.8]}


def first(**options) -> Case:
    return build(**{**SMALL, "cases": 4, **options}).load("phantom-0000")


@pytest.fixture(scope="module")
def case() -> Case:
    """One case without tumours, noise or contrast medium, fine enough to see tissues."""
    plain = {"tumours": [0, 0], "noise_hu": 0.0, "enhancement_hu": [0, 0]}
    return build(shape=[66, 192, 192], spacing=[5, 2, 2], seed=3, **plain).load("phantom-0000")


def volume_ml(case: Case, roi: str = TUMOUR) -> float:
    return float(case.mask(roi).voxels.sum()) * case.image.voxel_volume_mm3 / 1000


def test_lists_its_cases_without_making_them():
    dataset = build(cases=1200, patients=300)
    entries = dataset.entries()
    assert len(entries) == 1200
    assert [e.case for e in entries] == sorted(e.case for e in entries)
    assert entries[7].case == "phantom-0007"
    assert len({e.patient for e in entries}) == 300


def test_says_that_it_is_synthetic():
    assert INFO.synthetic
    assert str(INFO.warning).startswith("Synthetic: procedural phantom;")
    assert first(tumours=[0, 0]).notes == (INFO.warning,)


def test_equal_options_give_equal_voxels_and_other_seeds_others():
    one, again, other = first(), first(), first(seed=1)
    assert np.array_equal(one.image.voxels, again.image.voxels)
    assert np.array_equal(one.mask().voxels, again.mask().voxels)
    assert dict(one.facts) == dict(again.facts)
    assert not np.array_equal(one.image.voxels, other.image.voxels)


def test_a_case_does_not_depend_on_how_many_others_there_are():
    assert np.array_equal(first(cases=4).image.voxels, first(cases=9).image.voxels)


def test_cases_of_a_patient_share_the_anatomy_only():
    dataset = build(**SMALL, cases=3, patients=2)
    one, two, same = (dataset.load(e.case) for e in dataset.entries())
    assert one.patient == same.patient != two.patient
    assert np.array_equal(one.mask("lung_left").voxels, same.mask("lung_left").voxels)
    assert not np.array_equal(one.mask("lung_left").voxels, two.mask("lung_left").voxels)
    assert not np.array_equal(one.image.voxels, same.image.voxels)


def test_the_fingerprint_follows_the_options():
    prints = {build(**o).fingerprint() for o in ({}, {"seed": 1}, {"cases": 3}, {"noise_hu": 3.0})}
    assert len(prints) == 4
    assert build(seed=1).fingerprint() == build(seed=1).fingerprint()


def test_the_volume_has_the_asked_grid():
    image = first().image
    assert image.shape == (40, 96, 96)
    assert image.spacing == pytest.approx((7, 3.8, 3.8))
    assert image.voxels.dtype == np.int16
    assert image.voxels.min() >= -1024
    assert image.voxels.max() <= 3071


@pytest.mark.parametrize("wanted", [0.6, 5.0, 40.0])
@pytest.mark.parametrize("position", ["solitary", "juxta_pleural", "juxta_vascular", "mediastinal"])
def test_tumours_have_the_asked_volume_and_lie_in_the_body(position, wanted):
    options = {"shape": [60, 128, 128], "spacing": [4, 2.6, 2.6], "tumours": [1, 1]}
    case = first(**options, positions=[position], volume_ml=[wanted, wanted], enhancement_hu=[0, 0])
    assert volume_ml(case) == pytest.approx(wanted, rel=0.03)
    assert case.facts["tumour_1_volume_ml"] == pytest.approx(wanted)
    assert case.facts["tumour_1_position"] == position
    tumour = case.mask().voxels
    sizes = np.sort(cc3d.statistics(cc3d.connected_components(tumour, connectivity=26))["voxel_counts"][1:])
    assert sizes[-1] > 0.97 * tumour.sum()
    body = ndimage.binary_fill_holes(ndimage.binary_opening(case.image.voxels[int(np.argwhere(tumour)[0, 0])] > -300))
    assert body[tumour[int(np.argwhere(tumour)[0, 0])]].all()


def distances(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """For every tumour voxel: its depth in the lung in mm, 0 outside, and whether it lies in the lung."""
    lung = case.mask("lung_left").voxels | case.mask("lung_right").voxels
    depth = ndimage.distance_transform_edt(lung, sampling=case.image.spacing)
    return depth[case.mask().voxels], lung[case.mask().voxels]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positions_are_what_they_are_called(seed):
    options = {"shape": [60, 128, 128], "spacing": [5, 2.8, 2.8], "tumours": [1, 1], "volume_ml": [4, 4], "seed": seed}
    depth, inside = distances(first(**options, positions=["solitary"], irregularity=[0, 0]))
    assert inside.all()
    assert depth.min() > 2
    depth, inside = distances(first(**options, positions=["juxta_pleural"]))
    assert inside.all()
    assert depth.min() <= 5
    depth, inside = distances(first(**options, positions=["mediastinal"]))
    assert 0.05 < (~inside).mean() < 0.95
    vascular = first(**options, positions=["juxta_vascular"], enhancement_hu=[100, 100], noise_hu=0.0)
    tumour = vascular.mask().voxels
    rim = ndimage.binary_dilation(tumour, iterations=2) & ~tumour
    assert vascular.image.voxels[rim].max() > -550


def test_lungs_are_named_from_the_patients_side(case):
    left, right = case.mask("lung_left"), case.mask("lung_right")
    assert left.index_to_mm(np.argwhere(left.voxels)).mean(axis=0)[0] > 30
    assert right.index_to_mm(np.argwhere(right.voxels)).mean(axis=0)[0] < -30
    assert not (left.voxels & right.voxels).any()
    assert volume_ml(case, "lung_right") > 1.05 * volume_ml(case, "lung_left")
    assert 2000 < volume_ml(case, "lung_right") + volume_ml(case, "lung_left") < 6000


def test_tissues_have_their_hounsfield_units(case):
    hu = case.image.voxels
    lung = ndimage.binary_erosion(case.mask("lung_left").voxels | case.mask("lung_right").voxels, iterations=2)
    assert np.median(hu[lung]) == pytest.approx(-860, abs=40)
    assert np.median(hu[:, :6]) == pytest.approx(-1000, abs=5)
    counts, edges = np.histogram(hu, bins=np.arange(-1025, 1500, 10))
    peaks = {edges[i] + 5: counts[i] for i in range(1, len(counts) - 1)}
    assert max(peaks[e] for e in peaks if -130 < e < -80) > 5000
    assert max(peaks[e] for e in peaks if 35 < e < 70) > 5000
    assert (hu > 250).mean() > 0.003
    assert hu.max() > 500


def test_the_liver_lies_on_the_right_under_the_lung_and_gas_in_the_stomach_on_the_left(case):
    low = case.image.voxels[4]
    columns = case.image.mm_to_index([[-60, 0, 0], [66, 0, 0]])[:, 2].astype(int)
    assert np.median(low[90:104, columns[0] - 5 : columns[0] + 5]) == pytest.approx(58, abs=8)
    assert (low[60:85, columns[1] - 12 : columns[1] + 12] < -800).any()


def test_no_tumours_means_an_empty_mask():
    case = first(tumours=[0, 0])
    assert not case.mask().voxels.any()
    assert case.facts["tumours"] == 0
    share = build(**SMALL, cases=12, empty_share=1.0, tumours=[2, 3])
    assert not any(share.load(e.case).mask().voxels.any() for e in share.entries()[:3])


def test_several_tumours_do_not_overlap():
    case = first(tumours=[3, 3], volume_ml=[3, 6])
    asked = sum(float(case.facts[f"tumour_{i}_volume_ml"]) for i in (1, 2, 3))
    assert volume_ml(case) == pytest.approx(asked, rel=0.05)


def test_ground_glass_is_thinner_than_solid_tissue():
    options = {"tumours": [1, 1], "positions": ["solitary"], "volume_ml": [20, 20], "noise_hu": 0.0}
    solid, glass = (first(**options, textures=[t]) for t in ("solid", "ground_glass"))
    assert np.array_equal(solid.mask().voxels, glass.mask().voxels)
    assert np.median(solid.image.voxels[solid.mask().voxels]) > -100
    assert -700 < np.median(glass.image.voxels[glass.mask().voxels]) < -350


def test_irregular_tumours_have_more_surface():
    def surface(irregularity: float) -> int:
        options = {"shape": [60, 128, 128], "spacing": [4, 2.6, 2.6], "positions": ["solitary"]}
        case = first(**options, tumours=[1, 1], volume_ml=[25, 25], irregularity=[irregularity, irregularity])
        mask = case.mask().voxels
        return int((mask & ~ndimage.binary_erosion(mask)).sum())

    assert surface(1.0) > 1.1 * surface(0.0)


def test_noise_has_the_asked_strength_and_the_sharp_kernel_finer_grain():
    def air(**options) -> np.ndarray:
        case = first(**options, tumours=[0, 0], table=False, spacing=[7.0, 1.0, 1.0])
        return case.image.voxels[:, 40:56, 40:56] - first(
            **options | {"noise_hu": 0.0}, tumours=[0, 0], table=False, spacing=[7.0, 1.0, 1.0]
        ).image.voxels[:, 40:56, 40:56].astype(float)

    soft, sharp = air(noise_hu=20.0, kernel="soft"), air(noise_hu=20.0, kernel="sharp")
    assert soft.std() == pytest.approx(20, rel=0.1)
    assert sharp.std() == pytest.approx(20, rel=0.1)
    along = [np.corrcoef(n[..., 1:].ravel(), n[..., :-1].ravel())[0, 1] for n in (soft, sharp)]
    assert along[0] > along[1] + 0.2


def test_arms_and_table_can_be_had():
    plain, more = first(tumours=[0, 0], table=False, noise_hu=0.0), first(tumours=[0, 0], arms=True, noise_hu=0.0)
    large = []
    for case in (plain, more):
        labels, _ = ndimage.label(ndimage.binary_fill_holes(case.image.voxels[20] > -250))
        large.append(int((np.bincount(labels.ravel())[1:] > 30).sum()))
    assert large[0] == 1
    assert large[1] >= 3
    couch = np.abs(first(tumours=[0, 0], noise_hu=0.0).image.voxels[20, -14:] + 905) < 30
    assert couch.any()
    assert not (np.abs(plain.image.voxels[20, -14:] + 905) < 30).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tumour": [1, 2]}, "Did you mean: tumours"),
        ({"volume": 3}, "volume_ml"),
        ({"positions": ["pleural"]}, "juxta_pleural"),
        ({"cases": 0}, "at least 1"),
        ({"cases": 3, "patients": 4}, "1 to cases"),
        ({"tumours": [2, 1]}, "fewest and most"),
        ({"volume_ml": [0, 3]}, "smallest and largest"),
        ({"spacing": [1.0, 0.0, 1.0]}, "positive mm"),
        ({"shape": [4, 96, 96]}, "at least 8"),
        ({"kernel": "B30f"}, "soft"),
        ({"empty_share": 1.5}, "0 to 1"),
    ],
)
def test_wrong_options_are_named_with_the_way_out(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_unknown_cases_and_tumours_without_room_are_refused():
    with pytest.raises(UnknownNameError, match="phantom-0000"):
        build(cases=2).load("phantom-0009")
    with pytest.raises(InputError, match="smaller volume_ml"):
        first(tumours=[1, 1], volume_ml=[6000, 6000])
