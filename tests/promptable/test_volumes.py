"""Clicks in volumes with a network that answers with what it is told: which cubes, which voxels, what is kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import ModelInfo
from oncoseg.datasets.phantom import build as phantom
from oncoseg.errors import ConfigError, InputError
from oncoseg.nn.sam3d.network import Answer
from oncoseg.preprocess.lungs import lungs
from oncoseg.prompt import Click, tight_box
from oncoseg.promptable.volume_grid import WorkingGrid, canonical, standardised
from oncoseg.promptable.volume_options import VolumeOptions
from oncoseg.promptable.volume_teaching import TaughtVolumeModel, error_click
from oncoseg.promptable.volumes import VolumeModel
from oncoseg.volume import Volume

INFO = ModelInfo(
    name="echo",
    variant="",
    title="Echo",
    summary="Answers with balls round clicks.",
    parameters=1,
    trainable_parameters=1,
    dimension="3d",
    prompts=("click",),
    doi=None,
    licence="MIT",
    fidelity="baseline",
    reference_use="a click",
)
#: Radius of the balls, in voxels of the network.
RADIUS = 4


class Echo(torch.nn.Module):
    """Stands in for SAM-Med3D: the mask is a ball round each positive click; negative ones are cut out.

    An earlier mask is kept. It remembers what it was asked. Its embedding counts the rounds where `fed`.
    """

    patch_size = 4

    def __init__(self, side=32, *, fed=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.image_size, self.fed = side, fed
        self.shown, self.asked, self.embeddings = [], [], []

    def embed(self, volumes):
        self.shown.append(volumes)
        return volumes

    def decode(self, embedding, prompts, *, multimask=False):
        self.asked.append(prompts)
        self.embeddings.append(embedding)
        found = prompts.masks > 0
        axes = torch.meshgrid(*[torch.arange(self.image_size)] * 3, indexing="ij")
        for click, label in zip(prompts.points[0], prompts.labels[0], strict=True):
            ball = sum((axis - c) ** 2 for axis, c in zip(axes, click, strict=True)) <= RADIUS**2
            found = found | ball if label == 1 else found & ~ball
        return Answer(torch.where(found, 8.0, -8.0), torch.ones(1, 1), embedding + 1 if self.fed else embedding)

    def whole(self, logits):
        return F.interpolate(logits, size=(self.image_size,) * 3, mode="nearest")


class Bright(Echo):
    """Answers with everything that is not darker than the mean, if it is clicked there."""

    def decode(self, embedding, prompts, *, multimask=False):
        self.asked.append(prompts)
        x, y, z = prompts.points[0, -1].long().tolist()
        bright = embedding > -1
        found = bright if bright[0, 0, x, y, z] else torch.zeros_like(bright)
        return Answer(torch.where(found, 8.0, -8.0), torch.ones(1, 1), embedding)


def made(network=None, **options):
    network = network or Echo()
    chosen = {"image_size": network.image_size, "patch_size": 4, "spacing_mm": 2.0, **options}
    return VolumeModel(INFO, VolumeOptions(**chosen), network)


def ct(shape=(20, 60, 50), spacing=(4.0, 1.5, 2.0)):
    voxels = np.random.default_rng(0).integers(-1000, 400, shape).astype(np.int16)
    return Volume.from_spacing(voxels, spacing, (10.0, -20.0, 30.0))


def oblique():
    turn, tilt = np.radians(15), np.radians(10)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = ct().affine.copy()
    affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    return Volume(ct().voxels, affine)


def stored_otherwise():
    """The same patient as `ct`, slices last, rows and slices the other way."""
    image = ct()
    voxels = image.voxels[::-1, ::-1].transpose(2, 1, 0)
    affine = image.affine[:, [2, 1, 0, 3]].copy()
    affine[:3, 1:3] *= -1
    affine[:3, 3] = image.index_to_mm((19, 59, 0))
    return Volume(np.ascontiguousarray(voxels), affine)


def test_canonical_orientation_is_nibabel_s(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for image in (ct(), oblique(), stored_otherwise()):
        to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
        expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(image.voxels, to_ras @ image.affine))
        found = canonical(image)
        np.testing.assert_array_equal(found.voxels, np.asarray(expected.dataobj))
        np.testing.assert_allclose(to_ras @ found.affine, expected.affine, atol=1e-9)


def within_mm(image, centre_mm, radius):
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    return np.linalg.norm(image.index_to_mm(index) - centre_mm, axis=-1) <= radius


def test_canonical_axes_run_to_the_right_the_front_and_the_head():
    turned = canonical(ct())
    # LPS components of the axes: x runs to the left, y to the back, z to the head.
    np.testing.assert_allclose(turned.affine[:3, :3], np.diag([-2.0, -1.5, 4.0]))
    assert turned.voxels[3, 4, 5] == ct().voxels[5, 59 - 4, 49 - 3]
    np.testing.assert_allclose(turned.index_to_mm((3, 4, 5)), ct().index_to_mm((5, 55, 46)))


@pytest.mark.parametrize("image", [ct(), oblique(), stored_otherwise()], ids=["plain", "oblique", "turned"])
def test_the_ball_that_the_network_answers_lies_round_the_click_in_the_patient(image):
    click = Click(tuple(n // 2 for n in image.shape))
    found = made().predict(image, [click]).voxels
    where = image.index_to_mm(click.index)
    # 4 voxels of 2 mm; the nearest voxel of the network is up to 1.7 mm off, and borders are linear.
    assert (found[within_mm(image, where, 5.0)] > 0.5).all()
    assert (found[~within_mm(image, where, 11.5)] < 0.5).all()


def test_the_same_patient_stored_otherwise_gets_the_same_mask():
    image, turned = ct(), stored_otherwise()
    first = made().predict(image, [Click((7, 21, 33))]).voxels
    other = made().predict(turned, [Click((33, 59 - 21, 19 - 7))]).voxels
    np.testing.assert_allclose(other.transpose(2, 1, 0)[::-1, ::-1], first, atol=1e-5)


@pytest.mark.parametrize(("shape", "start"), [((32, 32, 32), (0, 0, 0)), ((20, 32, 64), (-6, 0, 14))])
def test_a_click_pushes_no_part_out_of_a_cube_that_holds_the_image(shape, start):
    image = Volume(np.zeros(shape, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = WorkingGrid(image, VolumeOptions(image_size=32, spacing_mm=0.0))
    assert grid.round((5, 3, 30)) == start


def test_the_network_is_shown_the_click_at_its_own_voxel_of_the_cube():
    network = Echo()
    image = ct()
    made(network).predict(image, [Click((7, 21, 33))])
    np.testing.assert_array_equal(network.asked[0].points[0].numpy(), [[16, 16, 16]])
    assert not network.asked[0].masks.any()
    grid = WorkingGrid(image, VolumeOptions(image_size=32, spacing_mm=2.0))
    off = grid.grid.index_to_mm(grid.voxel((7, 21, 33))) - image.index_to_mm((7, 21, 33))
    assert np.abs(off).max() <= 1.0 + 1e-6


def test_at_the_scanner_s_spacing_voxels_are_shown_as_they_are_limited_then_standardised_over_those_above_0():
    network, image = Echo(16), ct()
    made(network, spacing_mm=0.0, clamp=(-100.0, 200.0)).predict(image, [Click((10, 30, 25))])
    middle = canonical(image).voxels[24 - 8 : 24 + 8, 29 - 8 : 29 + 8, 10 - 8 : 10 + 8].clip(-100, 200)
    positive = middle[middle > 0]
    expected = (middle - positive.mean()) / positive.std(ddof=1)
    np.testing.assert_allclose(network.shown[0][0, 0].numpy(), expected, atol=1e-4)


def test_standardising_goes_on_without_voxels_above_0_and_without_variation():
    np.testing.assert_array_equal(standardised(np.full((2, 2, 2), -5, np.float32)), 0)
    np.testing.assert_allclose(standardised(np.array([-3.0, -1.0], np.float32)), np.array([-1, 1]) / np.sqrt(2))


def test_further_clicks_see_the_mask_before_and_do_not_embed_again():
    network = Echo()
    session = made(network).session(ct())
    session.add(Click((10, 30, 25)))
    found = session.add(Click((12, 30, 25), positive=False)).voxels
    assert len(network.shown) == 1
    assert (network.asked[1].masks > 0).any()
    assert network.asked[1].labels.tolist() == [[1, 0]]
    assert found[9, 30, 25] > 0.5
    assert found[12, 30, 25] < 0.5


def test_the_newest_click_alone_is_shown_where_the_network_learned_so():
    network = Echo()
    made(network, clicks="newest").predict(ct(), [Click((10, 30, 25)), Click((12, 30, 25), positive=False)])
    assert network.asked[1].labels.tolist() == [[0]]


def test_a_changed_embedding_goes_from_round_to_round_and_back_with_undo():
    network = Echo(fed=True)
    session = made(network).session(ct())
    for _ in range(2):
        session.add(Click((10, 30, 25)))
        session.add(Click((11, 30, 25)))
        rounds = [float((e - network.shown[0]).mean()) for e in network.embeddings[-2:]]
        assert rounds == pytest.approx([0, 1], abs=1e-5)
        session.undo()
        session.undo()


class Whole(Echo):
    """Answers with everything where it is not clicked."""

    def decode(self, embedding, prompts, *, multimask=False):
        self.asked.append(prompts)
        logits = torch.full((len(embedding), 1, *(self.image_size,) * 3), 8.0)
        return Answer(logits, torch.ones(len(embedding), 1), embedding)


def whole(**options):
    info = replace(INFO, prompts_optional=True)
    chosen = {"image_size": 16, "patch_size": 4, "spacing_mm": 2.0, **options}
    return VolumeModel(info, VolumeOptions(**chosen), Whole(16))


def test_without_a_click_the_middle_is_looked_at_once_with_an_empty_mask_and_no_click():
    for crop in ("prompt", "centre"):
        model, image = whole(crop=crop), ct()
        found = model.predict(image).voxels
        [asked] = model.network.asked
        assert asked.points.shape == (1, 0, 3)
        assert asked.labels.shape == (1, 0)
        assert asked.masks.shape == (1, 1, 16, 16, 16)
        assert not asked.masks.any()
        assert any("Without a click the cube in the middle" in sentence for sentence in model.told)
        inside = found > 0.5
        # 16 voxels of 2 mm on a grid of (4, 1.5, 2) mm, round the middle (10, 30, 25).
        assert inside[10, 30, 25]
        assert [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))).size for axis in range(3)] == pytest.approx(
            [8, 21, 16], abs=1
        )


def test_without_a_click_cubes_side_by_side_cover_the_image_those_in_the_middle_first():
    model, image = whole(crop="sliding", tiles=200), ct()
    assert (model.predict(image).voxels > 0.5).all()
    # 100 x 90 x 80 mm are 50 x 45 x 40 voxels of 2 mm: 4 x 3 x 3 cubes of 16.
    assert len(model.network.asked) == 36
    few = whole(crop="sliding", tiles=4)
    found = few.predict(image).voxels > 0.5
    assert len(few.network.asked) == 4
    assert found[10, 30, 25]
    assert any("only 4 of 36 cubes" in sentence for sentence in few.told)


def test_without_a_click_both_lungs_are_looked_at():
    data = phantom(cases=1, seed=5, shape=[32, 64, 64], spacing=[5.0, 4.0, 4.0])
    image = data.load(data.entries()[0].case).image
    model = whole(crop="lungs", spacing_mm=4.0)
    found = model.predict(image).voxels > 0.5
    assert len(model.network.asked) == 2
    for mask in (lungs(image).right, lungs(image).left):
        assert (found & mask.voxels).any()
    none = whole(crop="lungs")
    none.predict(ct())
    assert any("No lungs were found" in sentence for sentence in none.told)


def test_a_session_waits_for_clicks_where_they_are_optional_too():
    model = whole()
    session = model.session(ct())
    assert model.network.asked == []
    assert session.add(Click((10, 30, 25))).voxels.any()


def test_cubes_may_be_embedded_in_bfloat16_which_is_told():
    class Small(Echo):
        def __init__(self):
            super().__init__(16)
            self.image_encoder = torch.nn.Conv3d(1, 1, 1)

        def embed(self, volumes):
            raise AssertionError("float32 was not asked for")

    network = Small()
    model = made(network, compute="bfloat16")
    try:
        model.predict(ct(), [Click((10, 30, 25))])
    except ConfigError as error:
        pytest.skip(f"this machine: {error}")
    assert network.embeddings[0].dtype == torch.float32
    assert "bfloat16, not compared" in model.told[0]


def test_sessions_take_back_and_forget():
    session = made().session(ct())
    first = session.add(Click((10, 30, 25))).voxels
    session.add(Click((11, 34, 25)))
    np.testing.assert_array_equal(session.undo().voxels, first)
    assert not session.undo().voxels.any()
    with pytest.raises(InputError, match="no prompt"):
        session.undo()
    session.add(Click((3, 3, 3)))
    session.reset()
    assert session.prompts == ()
    np.testing.assert_array_equal(session.add(Click((10, 30, 25))).voxels, first)


def test_clicks_given_together_are_answered_as_in_a_session():
    clicks = [Click((10, 30, 25)), Click((12, 30, 25), positive=False), Click((4, 10, 10), lesion=2)]
    session = made().session(ct())
    for click in clicks:
        last = session.add(click)
    np.testing.assert_array_equal(made().predict(ct(), clicks).voxels, last.voxels)


def test_each_lesion_has_a_cube_of_its_own_and_a_distant_click_opens_another():
    network = Echo(16)
    made(network).predict(ct(), [Click((3, 10, 10), lesion=1), Click((16, 50, 40), lesion=2)])
    assert len(network.shown) == 2
    network = Echo(16)
    found = made(network).predict(ct(), [Click((3, 10, 10)), Click((16, 50, 40))]).voxels
    assert len(network.shown) == 2
    assert min(found[3, 10, 10], found[16, 50, 40]) > 0.5


def test_a_click_that_points_away_counts_for_every_object_and_for_those_to_come():
    away = Click((12, 30, 25), positive=False)
    objects = [Click((10, 30, 25), lesion=1), Click((10, 34, 25), lesion=2)]
    for clicks in ([*objects, away], [away, *objects]):
        assert made().predict(ct(), clicks).voxels[12, 30, 25] < 0.5
    assert not made().predict(ct(), [away]).voxels.any()


def test_a_cube_in_the_middle_refuses_clicks_outside_and_goes_on():
    session = made(Echo(16), crop="centre").session(ct())
    with pytest.raises(InputError, match="crop 'prompt'"):
        session.add(Click((0, 0, 0)))
    assert session.prompts == ()
    assert session.add(Click((10, 30, 25))).voxels[10, 30, 25] > 0.5


def test_without_lungs_the_cube_lies_in_the_middle_and_it_is_told():
    network = Echo()
    model = made(network, crop="lungs")
    model.predict(ct(), [Click((10, 28, 24))])
    assert any("No lungs" in sentence for sentence in model.told)
    grid = WorkingGrid(ct(), model.settings)
    expected = np.array(grid.voxel((10, 28, 24))) - grid.middle + 16
    np.testing.assert_array_equal(network.asked[0].points[0, 0].numpy(), expected)


def test_the_cube_lies_in_the_middle_of_the_lung_at_the_click():
    data = phantom(cases=1, seed=5, shape=[32, 64, 64], spacing=[5.0, 4.0, 4.0])
    image = data.load(data.entries()[0].case).image
    grid, found = WorkingGrid(image, VolumeOptions(image_size=32, spacing_mm=4.0)), lungs(image)
    for mask in (found.right, found.left):
        box = tight_box(mask)
        middle = tuple((a + b - 1) // 2 for a, b in zip(box.start, box.stop, strict=True))
        off = np.array(grid.middle_of_lung(grid.voxel(middle))) - grid.voxel(middle)
        assert np.abs(off).max() <= 1


def long_object():
    """A bright rod of 160 mm along the slices in a volume of 200 mm."""
    voxels = np.full((100, 30, 30), -800, np.int16)
    voxels[10:90, 12:18, 12:18] = 100
    return Volume.from_spacing(voxels, (2.0, 2.0, 2.0))


def test_sliding_follows_a_mask_through_the_faces_of_cubes_and_nowhere_else():
    image, network = long_object(), Bright()
    model = made(network, crop="sliding")
    found = model.predict(image, [Click((50, 15, 15))]).voxels > 0.5
    np.testing.assert_array_equal(found, image.voxels > 0)
    # Half cubes of 16 voxels up and down from slice 50 until slices 10 and 90 are reached.
    assert len(network.shown) == 5
    assert not (made(Bright()).predict(image, [Click((50, 15, 15))]).voxels > 0.5)[:30].any()
    assert "slide" in model.told[0]


def test_sliding_ends_at_the_number_of_cubes_that_is_allowed_and_says_so():
    network = Bright()
    model = made(network, crop="sliding", tiles=2)
    model.predict(long_object(), [Click((50, 15, 15))])
    assert len(network.shown) == 2
    assert any("2 cubes" in sentence for sentence in model.told)


def test_sliding_keeps_away_from_what_was_clicked_before_it_got_there():
    image, away = long_object(), Click((80, 15, 15), positive=False)
    rod = made(Bright(), crop="sliding").predict(image, [Click((50, 15, 15))]).voxels
    assert rod[80, 15, 15] > 0.5
    network = Bright()
    made(network, crop="sliding", clicks="newest").predict(image, [away, Click((50, 15, 15))])
    assert sum(int(prompts.labels[0, -1]) == 0 for prompts in network.asked) >= 1


def test_embeddings_take_no_more_room_than_is_given():
    network = Echo(16)
    session = made(network, keep_megabytes=0).session(ct())
    near, far = Click((3, 10, 10), lesion=1), Click((16, 50, 40), lesion=2)
    for click in (near, far, near):
        session.add(click)
    assert len(network.shown) == 3


def test_other_prompts_and_places_are_refused():
    with pytest.raises(InputError, match="click"):
        made().predict(ct())
    with pytest.raises(InputError, match="outside"):
        made().predict(ct(), [Click((20, 0, 0))])
    for wrong in ({"rounds": 0}, {"spacing_mm": -1.0}, {"clamp": (1.0, 1.0)}, {"shift": 64}, {"image_size": 33}):
        with pytest.raises(ConfigError):
            VolumeOptions(**wrong)


def case():
    mask = np.zeros((20, 60, 50), bool)
    mask[4:8, 10:20, 8:16] = True
    mask[14:17, 40:50, 36:46] = True
    return Case("a", "p", ct(), {TUMOUR: ct().with_voxels(mask)})


class Recalled(Echo):
    """An echo with any number of cubes; clicks may be missing."""

    def decode(self, embedding, prompts, *, multimask=False):
        self.asked.append(prompts)
        rooms = len(embedding)
        logits = torch.full((rooms, 1, *(self.image_size,) * 3), -8.0) + self.weight
        return Answer(logits, torch.ones(rooms, 1), embedding)


def taught(**options):
    network = Recalled(32)
    chosen = {"image_size": 32, "patch_size": 4, "spacing_mm": 2.0, **options}
    return TaughtVolumeModel(INFO, VolumeOptions(**chosen), network)


def test_training_cubes_lie_round_the_label_and_hold_the_same_voxels_as_prediction():
    model = taught(flips=False, taught_crop="lesion")
    prepared = model.prepare(case())
    samples = list(model.samples(prepared, np.random.default_rng(0)))
    assert len(samples) == 2
    mask = prepared.mask(TUMOUR).voxels
    for sample in samples:
        assert sample["image"].shape == (1, 32, 32, 32)
        assert 0 < sample["target"].sum() < mask.sum()
        inside = np.argwhere(sample["target"])
        np.testing.assert_array_equal((inside.min(axis=0) + inside.max(axis=0) + 1) // 2, [16, 16, 16])
    grid = WorkingGrid(ct(), model.settings)
    low = np.argwhere(mask)
    wide = taught(flips=False)
    [first, _] = list(wide.samples(prepared, np.random.default_rng(0)))
    start = (low.min(axis=0) + low.max(axis=0) + 1) // 2 - 16
    np.testing.assert_allclose(first["image"][0], grid.shown(tuple(int(v) for v in start)), atol=1e-5)


def test_flips_and_shifts_move_image_and_target_together():
    drawn = list(taught(shift=3).samples(taught().prepare(case()), np.random.default_rng(3)))
    plain = next(taught(flips=False).samples(taught().prepare(case()), np.random.default_rng(3)))
    assert any((sample["target"] != plain["target"]).any() for sample in drawn)
    assert list(taught().samples(replace_mask(taught().prepare(case())), np.random.default_rng(0))) == []


def replace_mask(prepared):
    empty = prepared.image.with_voxels(np.zeros(prepared.image.shape, bool))
    return replace(prepared, masks={TUMOUR: empty})


def target():
    voxels = torch.zeros(2, 32, 32, 32, dtype=torch.uint8)
    voxels[:, 10:20, 12:18, 14:22] = 1
    return voxels


def test_cubes_with_too_little_label_make_no_sample():
    prepared = taught().prepare(case())
    held = [int(s["target"].sum()) for s in taught(taught_crop="lesion").samples(prepared, np.random.default_rng(0))]
    assert len(held) == 2
    kept = taught(taught_crop="lesion", label_above=max(held)).samples(prepared, np.random.default_rng(0))
    assert list(kept) == []
    kept = taught(taught_crop="lesion", label_above=min(held) - 1).samples(prepared, np.random.default_rng(0))
    assert len(list(kept)) == 2


def test_parts_of_a_network_are_groups_of_their_own():
    class Parts(Recalled):
        def __init__(self):
            super().__init__(32)
            for name in ("image_encoder", "prompt_encoder", "mask_decoder", "bidatt"):
                self.add_module(name, torch.nn.Linear(1, 1))
            self.image_encoder.bias.requires_grad_(False)

    model = TaughtVolumeModel(INFO, VolumeOptions(image_size=32, patch_size=4), Parts())
    counts = {name: len(list(group)) for name, group in model.parameter_groups().items()}
    assert counts == {"network": 3, "network.encoder": 1, "network.decoder": 4}


def test_a_step_has_11_rounds_of_one_click_with_two_without():
    model = taught()
    torch.manual_seed(1)
    losses = list(model.losses({"image": torch.zeros(2, 1, 32, 32, 32), "target": target()}))
    assert [name for name, _ in losses] == ["network"]
    asked = model.network.asked
    assert len(asked) == 11
    without = [number for number, prompts in enumerate(asked) if prompts.points is None]
    # One of the rounds 2 to 8, and the last.
    assert len(without) == 2
    assert 2 <= without[0] <= 8
    assert without[1] == 10
    assert asked[0].points.shape == (2, 1, 3)
    assert len(model.network.shown) == 1
    # Every round answers nothing: Dice 1 and a little more than BCE 8 on the tumour's share.
    share = 480 / 32**3
    assert losses[0][1].item() == pytest.approx(11 * (1 + 8 * share), rel=1e-2)


def test_rounds_may_be_descended_one_by_one():
    model = taught(descended="round", mask_only=False, rounds=3)
    losses = list(model.losses({"image": torch.zeros(2, 1, 32, 32, 32), "target": target()}))
    assert len(losses) == 3
    assert all(prompts.points is not None for prompts in model.network.asked)
    assert all(loss.requires_grad for _, loss in losses)


def test_clicks_fall_on_errors_and_say_what_is_there():
    chance = torch.Generator().manual_seed(0)
    wanted = target()
    found = wanted.bool().clone()
    found[0, 10] = False
    found[1, 0, 0, 0] = True
    for _ in range(5):
        points, labels = error_click(found, wanted, chance)
        assert labels.flatten().tolist() == [1, 0]
        assert points[0, 0, 0] == 10
        assert points[1, 0].tolist() == [0, 0, 0]
    points, labels = error_click(wanted.bool(), wanted, chance)
    for cube, point, label in zip(wanted, points, labels, strict=True):
        assert int(cube[tuple(point[0].long())]) == int(label)


def test_validation_clicks_the_deepest_voxel_of_each_lesion():
    clicks = taught().validation_prompts(case())
    assert [click.lesion for click in clicks] == [1, 2]
    assert [bool(case().mask(TUMOUR).voxels[click.index]) for click in clicks] == [True, True]
    assert {click.source for click in clicks} == {"oracle"}
