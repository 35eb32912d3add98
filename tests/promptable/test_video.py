"""Following objects through slices with a network that sees bright pixels: which slices, which voxels, what is kept."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oncoseg.contracts import ModelInfo
from oncoseg.errors import ConfigError, InputError
from oncoseg.nn.sam2.memory import Fifo
from oncoseg.nn.sam2.network import NOT_THERE, Decoded, Features
from oncoseg.prompt import Box, Click, MaskPrompt, Scribble
from oncoseg.promptable.video import VideoModel
from oncoseg.promptable.video_options import VideoOptions
from oncoseg.promptable.video_prompts import wanted
from oncoseg.volume import Volume

INFO = ModelInfo(
    name="bright",
    variant="",
    title="Bright",
    summary="Sees what is bright.",
    parameters=1,
    trainable_parameters=1,
    dimension="2d",
    prompts=("box", "click", "scribble", "mask"),
    doi=None,
    licence="MIT",
    fidelity="baseline",
)
#: The bright object: slices 4 to 11 but 8, which is empty.
HELD = (4, 5, 6, 7, 9, 10, 11)
BOX = Box((6, 16, 24), (7, 32, 40))


class Bright(torch.nn.Module):
    """Answers with the bright pixels of a slice, whatever it is asked; keeps a list of what it was asked."""

    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.image_size, self.memories, self.pointers = size, 7, 16
        self.embedded, self.asked, self.recalled = [], [], []

    def embed(self, images):
        self.embedded.append(len(images))
        pixels = images[:, :1]
        fine = F.avg_pool2d(pixels, 4)
        return Features(F.avg_pool2d(pixels, 16), F.avg_pool2d(pixels, 8), fine)

    def without_memory(self, features):
        return features.coarse

    def recall(self, features, recalled):
        self.recalled.append([(memory.frame, ago) for memory, ago in recalled.frames])
        return features.coarse

    def decode(self, seen, features, prompts=None, *, single=False):
        self.asked.append(prompts)
        return self._said((features.fine > 0.5).float())

    def take(self, features, mask):
        self.asked.append(mask)
        return self._said(F.avg_pool2d(mask, 4))

    def _said(self, mask):
        there = mask.flatten(1).any(dim=1, keepdim=True).float() * 2 - 1
        logits = torch.where(there[..., None, None] > 0, mask * 16 - 8, NOT_THERE)
        return Decoded(logits, torch.ones(1), there, torch.zeros(1, 8), logits, torch.ones(1, 1))

    def remember(self, seen, logits, presence, *, prompted):
        return torch.zeros(1, 64, 4, 4)

    def whole(self, logits):
        return F.interpolate(logits, scale_factor=4)


def model(**options):
    settings = VideoOptions(image_size=64, window=(0.0, 100.0), **options)
    return VideoModel(INFO, settings, Bright(64), Fifo)


def image():
    voxels = np.zeros((20, 64, 64), np.int16)
    for index in HELD:
        voxels[index, 16:32, 24:40] = 100
    return Volume.from_spacing(voxels, (2.0, 1.0, 1.0))


def slices(volume):
    return np.flatnonzero((volume.voxels > 0.5).any(axis=(1, 2))).tolist()


def assert_alike(found, wanted):
    """Equal but for corners, which logits of a quarter of the size round off."""
    assert not (found & ~wanted).any()
    missing = wanted & ~found
    assert missing.sum(axis=(1, 2)).max() <= 4


def test_followed_both_ways_to_where_the_object_ends():
    asked = model()
    found = asked.predict(image(), [BOX])
    assert_alike(found.voxels > 0.5, image().voxels > 50)
    # Up to three empty slices beyond 11 and below 4.
    assert asked.network.embedded == [1] * len(range(1, 15))


def test_an_object_that_is_gone_for_too_long_is_given_up():
    assert slices(model(absent_slices=1).predict(image(), [BOX])) == [4, 5, 6, 7]


def test_no_further_than_the_reach():
    assert slices(model(reach_mm=4.0).predict(image(), [BOX])) == [4, 5, 6, 7]
    assert slices(model(reach_mm=0.0).predict(image(), [BOX])) == [6]


def test_between_prompted_slices_the_reach_does_not_count():
    later = Box((10, 16, 24), (11, 32, 40), lesion=1)
    first = Box((5, 16, 24), (6, 32, 40), lesion=1)
    assert slices(model(reach_mm=0.0).predict(image(), [first, later])) == [5, 6, 7, 9, 10]


def test_a_3d_box_prompts_its_middle_slice_and_bounds_the_rest():
    asked = model()
    found = asked.predict(image(), [Box((5, 16, 24), (10, 32, 40))])
    assert slices(found) == [5, 6, 7, 9]
    (prompts,) = [p for p in asked.network.asked if p is not None]
    torch.testing.assert_close(prompts.boxes, torch.tensor([[24.0, 16.0, 39.0, 31.0]]))
    assert asked.network.recalled[0] == [(7, 0)]


def test_a_3d_box_may_prompt_every_slice():
    asked = model(thick_box="every")
    assert slices(asked.predict(image(), [Box((5, 16, 24), (8, 32, 40))])) == [5, 6, 7]
    assert len(asked.network.asked) == 3
    assert asked.network.recalled == []


def test_backwards_begins_afresh_or_remembers_what_came_after():
    for fresh, expected in ((True, [(6, 0)]), (False, [(6, 0), (9, 4), (8, 3), (7, 2)])):
        asked = model(fresh=fresh, reach_mm=6.0)
        asked.predict(image(), [BOX])
        below = asked.network.recalled[3]
        assert below == expected


def test_a_mask_is_taken_as_it_is():
    drawn = np.zeros(image().shape, bool)
    drawn[6, 16:24, 24:32] = True
    found = model(reach_mm=0.0).predict(image(), [MaskPrompt(image().with_voxels(drawn))])
    assert_alike(found.voxels > 0.5, drawn)


def test_a_scribble_that_points_away_says_that_the_object_is_not_there():
    away = Scribble(tuple((7, n, n) for n in range(60)), positive=False, lesion=1)
    one = Box(BOX.start, BOX.stop, lesion=1)
    asked = model()
    assert 7 not in slices(asked.predict(image(), [one, away]))
    masks = [p for p in asked.network.asked if isinstance(p, torch.Tensor)]
    assert [m.any().item() for m in masks] == [False]


def test_a_click_that_points_away_corrects_what_was_found_there():
    asked = model()
    asked.predict(image(), [Box(BOX.start, BOX.stop, lesion=1), Click((7, 20, 28), positive=False, lesion=1)])
    (corrected,) = [p for p in asked.network.asked if p is not None and p.points is not None]
    assert corrected.labels.tolist() == [[0]]
    assert (corrected.masks > 0).any()


def test_clicks_on_a_followed_slice_are_given_with_the_mask_that_was_found():
    asked = model()
    session = asked.session(image())
    session.add(Box(BOX.start, BOX.stop, lesion=1))
    count = len(asked.network.asked)
    session.add(Click((9, 20, 28), lesion=1))
    fed = [p for p in asked.network.asked[count:] if p is not None]
    assert [p.labels.tolist() for p in fed] == [[[1]]]
    assert (fed[0].masks > 0).any()


def test_a_correction_recalls_what_was_prompted_and_is_not_made_again():
    asked = model()
    session = asked.session(image())
    session.add(Box(BOX.start, BOX.stop, lesion=1))
    asked.network.recalled.clear()
    session.add(Click((9, 20, 28), lesion=1))
    assert asked.network.recalled[0] == [(6, 0)]
    count = len(asked.network.asked)
    session.add(Click((10, 20, 28), positive=False, lesion=1))
    labels = [p.labels.tolist() for p in asked.network.asked[count:] if p is not None]
    assert labels == [[[0]]]
    assert asked.network.recalled[-1][:3] == [(6, 0), (9, 0), (10, 0)]


def test_embeddings_are_made_once_for_all_objects_prompts_and_steps():
    asked = model()
    session = asked.session(image())
    first = session.add(BOX)
    count = sum(asked.network.embedded)
    assert count == 14
    second = session.add(Box((10, 16, 24), (11, 20, 40)))
    assert sum(asked.network.embedded) == count
    assert slices(second) == slices(first)
    answers = len(asked.network.asked)
    np.testing.assert_array_equal(session.undo().voxels, first.voxels)
    assert len(asked.network.asked) == answers
    session.reset()
    assert session.prompts == ()
    np.testing.assert_array_equal(session.add(BOX).voxels, first.voxels)
    assert sum(asked.network.embedded) == count
    with pytest.raises(InputError, match="no prompt to take back"):
        session.reset() or session.undo()


def test_another_object_leaves_the_first_one_alone():
    asked = model()
    session = asked.session(image())
    session.add(BOX)
    count = len(asked.network.asked)
    session.add(Box((6, 0, 0), (7, 4, 4)))
    # The new object's own slices, no more: one prompted, the others followed.
    assert sum(p is not None for p in asked.network.asked[count:]) == 1


@pytest.mark.parametrize("options", [{"keep_megabytes": 0}, {"half": True}, {"batch": 4}], ids=str)
def test_memory_and_batches_do_not_change_the_mask(options):
    expected = model().predict(image(), [BOX]).voxels
    np.testing.assert_allclose(model(**options).predict(image(), [BOX]).voxels, expected, atol=1e-3)


def test_slices_go_in_batches_where_asked():
    asked = model(batch=4)
    asked.predict(image(), [BOX])
    assert max(asked.network.embedded) == 4


def test_prompts_that_only_point_away_find_nothing():
    assert slices(model().predict(image(), [Click((6, 20, 28), positive=False)])) == []


def test_what_the_prompts_of_an_object_say():
    said = wanted([Box((2, 0, 0), (7, 4, 4)), Click((9, 1, 1))], 12, thick="middle")
    assert sorted(said.asked) == [4, 9]
    assert said.within == range(2, 10)
    assert said.same(wanted([Box((2, 0, 0), (7, 4, 4)), Click((9, 1, 1))], 12, thick="middle"))
    assert not said.same(wanted([Box((1, 0, 0), (8, 4, 4)), Click((9, 1, 1))], 12, thick="middle"))


@dataclass(frozen=True)
class Wrong:
    """An option, a value that does not fit, and what the message says."""

    name: str
    value: object
    says: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("image_size", 100, "multiples of 32"),
        Wrong("window", (5.0, 5.0), "lower to a higher"),
        Wrong("reach_mm", -1.0, "reach_mm must not be negative"),
        Wrong("absent_slices", 0, "absent_slices"),
    ],
    ids=lambda wrong: wrong.name,
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=wrong.says):
        VideoOptions(**{wrong.name: wrong.value})
