"""Medical SAM 2: its memory, its two losses, its prompts."""

import numpy as np
import pytest
import torch

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import ConfigError, InputError
from oncoseg.models import medical_sam2
from oncoseg.models.medical_sam2.banks import SelfSortCode, SelfSortPaper
from oncoseg.models.medical_sam2.model import FROZEN, MEMORY
from oncoseg.nn.sam2.memory import Memory, Query
from oncoseg.prompt import Box, Click
from oncoseg.prompts import every_nth_slice
from oncoseg.volume import Volume
from oncoseg.weights.trained import write_tensors

SMALLEST = {"size": "smallest", "image_size": 64, "stability": False}


def model(**options):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return medical_sam2.build(**{**SMALLEST, **options})


def case():
    """A tumour on slices 3 to 10, but not on 7."""
    voxels = np.random.default_rng(0).integers(-850, -750, (14, 48, 40)).astype(np.int16)
    mask = np.zeros(voxels.shape, bool)
    mask[3:11, 10:30, 8:26] = True
    mask[7] = False
    voxels[mask] = 40
    image = Volume.from_spacing(voxels, (3.0, 1.0, 1.0))
    return Case("one", "one", image, {TUMOUR: image.with_voxels(mask)})


def memory(frame, direction, *, quality=0.9, embedding=None):
    features = torch.tensor(direction, dtype=torch.float32).reshape(1, -1, 1, 1)
    looks = features.flatten() if embedding is None else torch.tensor(embedding, dtype=torch.float32)
    return Memory(frame, False, features, torch.zeros(1, 8), quality, looks)


def query(*direction):
    return Query(50, 100, False, torch.tensor(direction, dtype=torch.float32))


def frames(bank):
    return [m.frame for m in bank.held]


def full(size=3):
    """Two that are alike (0 and 1) and one that is not (2)."""
    bank = SelfSortCode(size, draws=4)
    for number, direction in enumerate([(1.0, 0.1, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]):
        bank.update(memory(number, direction))
    return bank


def test_released_bank_takes_everything_until_it_is_full():
    bank = SelfSortCode(3)
    for number in range(3):
        bank.update(memory(number, (1.0, 0.0, 0.0), quality=0.0))
    assert frames(bank) == [0, 1, 2]


def test_released_bank_puts_what_is_new_in_place_of_what_is_doubled():
    bank = full()
    # Least alike to (0, 0, 1) is 0 or 1 (both 0); the first is 0, and most alike to it is 1.
    bank.update(memory(9, (0.0, 0.0, 1.0)))
    assert frames(bank) == [0, 2, 9]


def test_released_bank_keeps_what_it_has_when_the_new_is_worse_by_a_tenth():
    bank = full()
    bank.update(memory(9, (0.0, 0.0, 1.0), quality=0.8))
    assert frames(bank) == [0, 1, 2]
    bank.update(memory(9, (0.0, 0.0, 1.0), quality=0.81))
    assert frames(bank) == [0, 2, 9]


def test_released_bank_leaves_what_is_no_news():
    bank = SelfSortCode(3)
    for number, direction in enumerate([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]):
        bank.update(memory(number, direction))
    bank.update(memory(9, (1.0, 1.0, 1.0)))
    assert frames(bank) == [0, 1, 2]


def test_released_bank_after_sixty_memories_as_the_released_code():
    # The lines of func_2d/function.py, run on the same stream, hold these six.
    rng = np.random.default_rng(0)
    centres, bank = rng.normal(size=(4, 64)), SelfSortCode(6)
    for number in range(60):
        direction = centres[rng.integers(4)] + rng.normal(size=64) * 0.7
        quality = float(np.round(rng.uniform(0.3, 1), 3))
        bank.update(memory(number, direction, quality=quality, embedding=rng.normal(size=8)))
    assert frames(bank) == [5, 22, 46, 48, 53, 59]


def test_released_bank_draws_with_the_softmax_of_cosines():
    bank = SelfSortCode(3, draws=30_000)
    for number, looks in enumerate([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)]):
        bank.update(memory(number, (1.0, 0.0, 0.0), embedding=looks))
    recalled = bank.read(query(1.0, 0.0))
    drawn = np.bincount([m.frame for m, _ in recalled.frames]) / 30_000
    weights = np.exp([1, 0, -1])
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=0.01)
    assert recalled.pointers == []
    assert {ago for _, ago in recalled.frames} == {None}


def test_draws_are_the_same_from_the_same_seed_and_heaviest_draws_nothing():
    drawn = [[m.frame for m, _ in full().read(query(1.0, 0.5, 0.2)).frames] for _ in range(2)]
    assert drawn[0] == drawn[1]
    bank = SelfSortPaper(5, draw="heaviest")
    for number, direction in enumerate([(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]):
        bank.update(memory(number, direction))
    assert [m.frame for m, _ in bank.read(query(1.0, 0.1)).frames] == [1, 2, 0]


def test_bank_of_the_paper_keeps_the_most_different():
    bank = SelfSortPaper(3, threshold=0.5)
    for number, direction in enumerate([(1.0, 0.0, 0.0), (1.0, 0.1, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]):
        bank.update(memory(number, direction))
    # Sums of 1 - cosine: 0: .005+1+1, 1: .005+.9+1, 2: 1+.9+1, 3: 1+1+1.
    assert frames(bank) == [0, 2, 3]
    bank.update(memory(8, (-1.0, -1.0, -1.0), quality=0.5))
    assert frames(bank) == [0, 2, 3]
    bank.update(memory(9, (-1.0, -1.0, -1.0), quality=0.51))
    assert 9 in frames(bank)


def test_bank_of_the_paper_never_draws_what_looks_the_other_way():
    bank = SelfSortPaper(3)
    for number, direction in enumerate([(1.0, 0.0), (-1.0, 0.0)]):
        bank.update(memory(number, direction))
    assert {m.frame for _ in range(20) for m, _ in bank.read(query(1.0, 0.0)).frames} == {0}


@pytest.mark.parametrize("memory", ["fifo", "selfsort_code", "selfsort_paper"])
def test_every_memory_follows_and_gives_the_same_again(memory):
    asked = model(memory=memory, gated=False, reach_mm=9.0)
    prompts = [Box((6, 10, 8), (7, 30, 26))]
    first = asked.predict(case().image, prompts).voxels
    np.testing.assert_array_equal(first, asked.predict(case().image, prompts).voxels)
    assert first.any(axis=(1, 2)).sum() == 7


def test_memories_differ():
    found = [
        model(memory=memory, gated=False, reach_mm=9.0).predict(case().image, [Box((6, 10, 8), (7, 30, 26))]).voxels
        for memory in ("fifo", "selfsort_code", "selfsort_paper")
    ]
    assert all(np.abs(found[a] - found[b]).max() > 0 for a, b in ((0, 1), (0, 2), (1, 2)))


def batch_of(asked, count=1, seed=0):
    prepared = asked.prepare(case())
    rng = np.random.default_rng(seed)
    made = [next(asked.samples(prepared, rng)) for _ in range(count)]
    return {name: torch.stack([torch.as_tensor(sample[name]) for sample in made]) for name in made[0]}


def gradients(asked, group, loss):
    parameters = list(asked.parameter_groups()[group])
    asked.network.zero_grad()
    loss.backward(inputs=parameters)
    return sum(p.grad is not None and bool(p.grad.abs().max() > 0) for p in parameters)


def test_a_clip_is_two_slices_of_the_tumour_in_order():
    asked = model()
    firsts = set()
    for seed in range(40):
        batch = batch_of(asked, seed=seed)
        assert batch["image"].shape == (1, 2, 3, 64, 64)
        held = batch["target"].flatten(2).any(dim=2)[0].tolist()
        firsts.add(tuple(held))
        click = batch["click"][0].long()
        for n in range(2):
            assert batch["target"][0, n, click[n, 1], click[n, 0]] == held[n]
    assert firsts == {(True, True), (True, False), (False, True)}


def test_slices_without_prompt_move_the_memory_then_all_move_the_decoder():
    asked = model(gated=False)
    asked.network.train()
    batch = batch_of(asked)
    yielded = []
    for name, loss in asked.losses(batch):
        assert gradients(asked, name, loss) > 0
        yielded.append((name, loss.item()))
    assert [name for name, _ in yielded] == ["memory", "decoder"]
    assert yielded[1][1] > yielded[0][1] > 0


def test_the_decoder_may_learn_from_prompted_slices_alone():
    both, one = (model(gated=False, decoder_learns_from=kind) for kind in ("all", "prompted"))
    losses = []
    for asked in (both, one):
        asked.network.eval()
        losses.append(dict((n, x.item()) for n, x in asked.losses(batch_of(asked))))
    assert losses[0]["memory"] == pytest.approx(losses[1]["memory"])
    assert losses[0]["decoder"] == pytest.approx(losses[1]["decoder"] + losses[1]["memory"], rel=1e-5)


def test_published_training_moves_decoder_and_memory_alone():
    asked = model()
    learning = {name.partition(".")[0] for name, p in asked.network.named_parameters() if p.requires_grad}
    assert learning == {"mask_decoder", *MEMORY}
    resting = {name.partition(".")[0] for name, p in asked.network.named_parameters() if not p.requires_grad}
    assert resting == set(FROZEN)
    groups = {name: sum(p.numel() for p in group) for name, group in asked.parameter_groups().items()}
    assert sum(groups.values()) == sum(p.numel() for p in asked.network.parameters() if p.requires_grad)


def test_a_frozen_encoder_sees_every_slice_once():
    asked = model(gated=False)
    seen = []
    asked.network.vision_encoder.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    batch = batch_of(asked)
    for _ in range(3):
        list(asked.losses(batch))
    assert seen == [1, 1]


def test_an_absent_tumour_is_prompted_with_an_empty_mask():
    asked = model(gated=False)
    given = []
    original = asked.network.take
    asked.network.take = lambda features, mask: given.append(mask) or original(features, mask)
    batch = batch_of(asked)
    batch["target"][0, 0] = 0
    losses = dict(asked.losses(batch))
    assert [mask.any().item() for mask in given] == [False, False]
    assert torch.isfinite(torch.stack(list(losses.values()))).all()


def test_one_prompt_clips_prompt_their_first_slice_alone():
    asked = model(clip="random", video_length=4, memory="selfsort_code", taught_with="click", gated=False)
    prompted = []
    original = asked.network.decode
    asked.network.decode = lambda *a, **k: prompted.append(len(a) > 2) or original(*a, **k)
    list(asked.losses(batch_of(asked)))
    assert prompted == [True, False, False, False] * 2


def test_validation_prompts_are_on_every_second_slice_of_the_extent():
    assert [p.slices[0] for p in model().validation_prompts(case())] == [3, 5, 9]
    clicks = model(taught_with="click").validation_prompts(case())
    assert all(isinstance(p, Click) and case().mask(TUMOUR).voxels[p.index] for p in clicks)


def test_prompts_of_the_simulator_give_one_object():
    made = every_nth_slice.build(per="volume", absent=True)(case().mask(TUMOUR), np.random.default_rng(0))
    asked = model(gated=False, reach_mm=0.0)
    found = asked.predict(case().image, made)
    # Slice 7 is said to be empty.
    assert not found.voxels[7].any()
    assert found.voxels[[3, 5, 9]].any(axis=(1, 2)).all()


def test_three_axes_are_the_mean_of_three_predictions():
    box = Box((4, 10, 8), (10, 30, 26))
    one, three = (model(passes=passes, gated=False, reach_mm=6.0) for passes in ("axial", "three axes"))
    axial, mean = (asked.predict(case().image, [box]).voxels for asked in (one, three))
    assert np.abs(axial - mean).max() > 0
    assert mean.max() <= 1
    assert (mean >= axial / 3 - 1e-6).all()
    # One slice's box says nothing about the other axes.
    thin = Box((6, 10, 8), (7, 30, 26))
    np.testing.assert_array_equal(three.predict(case().image, [thin]).voxels, one.predict(case().image, [thin]).voxels)
    assert any("axial slices only" in sentence for sentence in three.told)


def test_files_of_sam_2_0_load_and_those_of_2_1_are_refused(tmp_path):
    asked = model()
    target = tmp_path / "own.safetensors"
    write_tensors(target, asked.network.state_dict(), {})
    again = medical_sam2.build(weights=target, **SMALLEST)
    for one, other in zip(asked.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)
    newer = dict(asked.network.state_dict(), occlusion_spatial_embedding_parameter=torch.zeros(1, 64))
    write_tensors(target, newer, {})
    with pytest.raises(InputError, match="occlusion_spatial_embedding_parameter"):
        medical_sam2.build(weights=target, **SMALLEST)


@pytest.mark.parametrize("options", [{"memory_size": 0}, {"prompt_freq": 0}, {"memory_threshold": 2.0}], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        model(**options)
