"""The iterative prompt training of SAM-Med2D, step by step as in its authors' train.py."""

import numpy as np
import pytest
import torch

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import ConfigError
from oncoseg.models import sam_med2d
from oncoseg.nn.losses import dice_linear, focal, mask_iou
from oncoseg.promptable.iterating import IteratedOptions, error_clicks
from oncoseg.volume import Volume

TINY = {"embed_dim": 16, "depth": 1, "heads": 2, "image_size": 64, "mask_num": 3, "window": (-1000.0, 0.0)}
GROUPS = ("image_encoder", "prompt_encoder", "mask_decoder")


def case(shape=(3, 50, 40)):
    """A large and a small tumour on slice 1, the large one on slice 2 too."""
    mask = np.zeros(shape, bool)
    mask[1:, 10:30, 5:15] = True
    mask[1, 40:44, 30:36] = True
    image = np.where(mask, -100, -800).astype(np.int16)
    volumes = (Volume.from_spacing(v, (3.0, 1.0, 1.0)) for v in (image, mask))
    return Case("a", "a", next(volumes), {TUMOUR: next(volumes)})


def batch_of(model, size=2):
    samples = [next(model.samples(model.prepare(case()), np.random.default_rng(n))) for n in range(size)]
    return {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in samples[0]}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return sam_med2d.build(**TINY)


def test_every_image_has_masks_with_a_box_and_a_click_each(model):
    prepared = model.prepare(case())
    seen = set()
    for seed in range(40):
        sample = next(model.samples(prepared, np.random.default_rng(seed)))
        assert sample["image"].shape == (3, 64, 64)
        assert sample["target"].shape == (3, 64, 64)
        for target, box, point, label in zip(*(sample[k] for k in ("target", "box", "point", "label")), strict=True):
            rows, columns = np.nonzero(target)
            seen.add(len(rows))
            drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            shift = box - drawn
            assert (shift[:2] == shift[2:]).all(), "moved, not resized"
            most = min(5, min(drawn[2:] - drawn[:2]) // 2)
            assert (-most <= shift).all()
            assert (shift < most).all()
            assert target[int(point[1]), int(point[0])] == label == 1
    assert seen == {200, 24}, "both tumours, by their pixels"


def test_one_loss_for_the_prompt_and_one_for_each_correction(model, monkeypatch):
    asked, decode = [], model.network.decode
    monkeypatch.setattr(model.network, "decode", lambda e, p, **o: asked.append((e, p, o)) or decode(e, p, **o))
    torch.manual_seed(1)
    losses = list(model.losses(batch_of(model)))
    assert [name for name, _ in losses] == ["network"] * 9
    (embedding, first, options), *rounds = asked
    assert embedding.shape[0] == 6
    assert embedding.requires_grad
    assert options["multimask"]
    assert (first.boxes is None) != (first.points is None)
    assert first.masks is None
    assert all(not e.requires_grad and p.boxes is None and p.masks.shape == (6, 1, 16, 16) for e, p, _ in rounds)
    without_clicks = [n for n, (_, p, _) in enumerate(rounds) if p.points is None]
    assert len(without_clicks) == 2
    assert without_clicks[0] in range(1, 7)
    assert without_clicks[1] == 7
    assert {p.points.shape[1] for _, p, _ in rounds if p.points is not None} <= {1, 3, 5, 9}


def test_first_prompts_are_boxes_half_of_the_time(model):
    batch = batch_of(model)
    flat = {name: values.flatten(0, 1) for name, values in batch.items() if name != "image"}
    boxes = sum(model.prompted(flat).boxes is not None for _ in range(200))
    assert 70 < boxes < 130


def learning(model):
    """Parts of the network that have gradients."""
    found = {name for name, p in model.network.named_parameters() if p.grad is not None and p.grad.any()}
    return {next(g for g in GROUPS if name.startswith(g)) for name in found}, found


def test_adapters_and_prompts_learn_in_the_first_step_and_the_decoder_alone_afterwards(model):
    groups = model.parameter_groups()
    moved = list(groups["network"])
    for number, (_, loss) in enumerate(model.losses(batch_of(model))):
        model.network.zero_grad()
        loss.backward(inputs=moved)
        parts, names = learning(model)
        assert parts == (set(GROUPS) if number == 0 else {"mask_decoder"})
        assert all("Adapter" in name for name in names if name.startswith("image_encoder"))
    assert all(p.requires_grad for p in model.network.prompt_encoder.parameters())


def test_the_network_may_learn_between_the_rounds(model):
    """The next answer is of the network as it is then."""
    guesses = model.guesses(batch_of(model))
    next(guesses)
    with torch.no_grad():
        for parameter in model.network.mask_decoder.parameters():
            parameter.zero_()
    assert not next(guesses).logits.any()


def test_the_loss_is_20_focal_and_dice_and_the_error_of_the_expected_iou(model):
    guess = next(model.guesses(batch_of(model)))
    logits = guess.logits[:, None]
    expected = 20 * focal(logits, guess.target) + dice_linear(logits, guess.target)
    torch.testing.assert_close(model.loss(guess), expected + mask_iou(logits, guess.target, guess.quality))
    halved = sam_med2d.build(**TINY, focal=0.0, dice=0.5, iou=0.0)
    torch.testing.assert_close(halved.loss(guess), 0.5 * dice_linear(logits, guess.target))


def test_the_mask_that_the_network_expects_most_of_is_taught(model, monkeypatch):
    decode = model.network.decode
    answers = []
    monkeypatch.setattr(model.network, "decode", lambda e, p, **o: answers.append(decode(e, p, **o)) or answers[-1])
    guess = next(model.guesses(batch_of(model)))
    best = answers[0].quality.argmax(dim=1)
    assert torch.equal(guess.quality, answers[0].quality.max(dim=1).values)
    assert torch.equal(guess.low, torch.stack([answers[0].logits[n, k] for n, k in enumerate(best)]))


def test_every_round_has_other_clicks_whatever_is_seeded_between_the_turns(model):
    torch.manual_seed(0)
    asked, decode = [], model.network.decode
    model.network.decode = lambda e, p, **o: asked.append(p) or decode(e, p, **o)
    for _ in model.losses(batch_of(model)):
        torch.manual_seed(0)
    places = [tuple(p.points.flatten().tolist()) for p in asked[1:] if p.points is not None]
    assert len(set(places)) == len(places)


def test_clicks_lie_on_errors_and_say_what_is_wrong():
    target = torch.zeros(3, 8, 8)
    target[0, 2:4, 2:4] = 1
    target[1, 2:4, 2:4] = 1
    found = torch.zeros(3, 8, 8, dtype=torch.bool)
    found[1] = True
    points, labels = error_clicks(found, target, 5, torch.Generator().manual_seed(0))
    assert points.shape == (3, 5, 2)
    assert set(labels[0].tolist()) == {1}, "misses the tumour"
    assert set(labels[1].tolist()) == {0}, "too much everywhere"
    assert set(labels[2].tolist()) == {-1}, "nothing is wrong"
    for column, row in points[0].long().tolist():
        assert target[0, row, column]
    for column, row in points[1].long().tolist():
        assert not target[1, row, column]


def test_clicks_are_drawn_evenly_and_with_replacement():
    found = torch.zeros(1, 4, 4, dtype=torch.bool)
    target = torch.zeros(1, 4, 4)
    target[0, 0, 1:3] = 1
    points, _ = error_clicks(found, target, 1000, torch.Generator().manual_seed(0))
    counts = {c: int((points[0, :, 0] == c).sum()) for c in (1, 2)}
    assert sum(counts.values()) == 1000
    assert 430 < counts[1] < 570


def test_a_lesion_between_the_pixels_that_are_shown_gives_a_click_on_nothing():
    torch.manual_seed(0)
    mask = np.zeros((1, 128, 128), bool)
    mask[0, 51, 77] = True  # odd rows and columns are left out when 128 become 64
    image = Volume.from_spacing(np.where(mask, 0, -800).astype(np.int16), (3.0, 1.0, 1.0))
    model = sam_med2d.build(**TINY)
    small = Case("b", "b", image, {TUMOUR: image.with_voxels(mask)})
    sample = next(model.samples(model.prepare(small), np.random.default_rng(0)))
    assert not sample["target"].any()
    assert not sample["label"].any()
    assert (sample["box"][:, 2:] > sample["box"][:, :2]).all()


def test_options_that_make_no_sense_are_refused():
    for wrong in ({"clicks": ()}, {"mask_num": 0}, {"focal": -1.0}, {"iterations": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            IteratedOptions(**wrong)
