"""GTV-SAMGAN: its critic, its losses, its order of steps, its window. Numbers of Yi et al. 2026."""

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.case import Case
from oncoseg.errors import ConfigError, InputError
from oncoseg.experiments.recipes import recipes_of
from oncoseg.inference.slices import axial_view
from oncoseg.models import gtv_samgan, sam_med2d
from oncoseg.models.gtv_samgan.discriminator import Discriminator, discriminator_loss, mean_loss
from oncoseg.models.gtv_samgan.model import network_of
from oncoseg.models.gtv_samgan.options import PUBLISHED, Options
from oncoseg.nn.losses import dice_linear, focal, mask_iou
from oncoseg.preprocess.fixed_window import Window
from oncoseg.prompt import Box, Click
from oncoseg.training.descent import Descent
from oncoseg.training.loop import train
from oncoseg.training.settings import TrainConfig
from oncoseg.volume import Volume
from oncoseg.weights.trained import read_checkpoint

SMALL = {"embed_dim": 16, "depth": 1, "heads": 2, "image_size": 64, "crop_smallest": 24, "iterations": 2}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def small(**options):
    return gtv_samgan.build(**{**SMALL, **options})


def case_of(spans=((10, 22, 30, 40),), shape=(6, 64, 64), name="a"):
    voxels = np.random.default_rng(0).normal(-800, 20, shape).astype(np.int16)
    mask = np.zeros(shape, bool)
    for top, bottom, left, right in spans:
        mask[1:4, top:bottom, left:right] = True
    image = Volume.from_spacing(np.where(mask, np.int16(40), voxels), (5.0, 2.0, 2.0))
    return Case(name, name, image, {"tumour": image.with_voxels(mask)})


def batch_of(model, count=2):
    case = model.prepare(case_of())
    samples = [next(model.samples(case, np.random.default_rng(n))) for n in range(count)]
    return {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in samples[0]}


def guess_of(model, number=0):
    guess = next(model.guesses(batch_of(model)))
    return guess._replace(number=number)


def test_the_discriminator_has_the_published_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in Discriminator().parameters()) == 33_688_585


@pytest.mark.parametrize(("gan", "parameters"), [(True, 304_930_361), (False, 271_241_776)])
def test_without_the_critic_it_is_sam_med2d(gan, parameters):
    with torch.device("meta"):
        network = network_of(Options(gan=gan))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_last_leaky_relu_is_a_switch_and_the_answer_nine_probabilities():
    torch.manual_seed(0)
    leaky, plain = Discriminator(8), Discriminator(8, last_leaky=False)
    plain.layers.load_state_dict({k: v for k, v in leaky.layers.state_dict().items()})
    masks = torch.rand(3, 8, 8)
    with torch.no_grad():
        one, other = leaky(masks), plain(masks)
    assert one.shape == (3, 9)
    assert ((one > 0) & (one < 1)).all()
    # Above a half both agree; below, the slope of 0.2 brings logits nearer to zero.
    torch.testing.assert_close(one, torch.where(other > 0.5, other, torch.sigmoid(0.2 * torch.logit(other))))


def test_the_losses_of_both_players_are_linear_in_the_probabilities():
    real, fake = torch.full((2, 9), 0.9), torch.full((3, 9), 0.25)
    assert float(discriminator_loss(real, fake)) == pytest.approx(1 - 0.9 + 0.25)
    assert float(mean_loss(fake)) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("recipe", "weights"),
    [
        ("paper", (20, 1, 1, 1)),
        ("paper-focal-10", (10, 1, 1, 1)),
        ("paper-half-dice-iou", (20, 0.5, 0.5, 1)),
        ("paper-mean-0.1", (20, 1, 1, 0.1)),
    ],
)
def test_the_four_published_weightings_add_up(recipe, weights):
    held = recipes_of("gtv_samgan")[recipe].options
    model = small(**{name: held[name] for name in ("focal", "dice", "iou", "adversarial")})
    guess = guess_of(model)
    logits = guess.logits[:, None]
    parts = (
        focal(logits, guess.target),
        dice_linear(logits, guess.target),
        mask_iou(logits, guess.target, guess.quality),
        mean_loss(model.discriminator(guess.logits.sigmoid())),
    )
    expected = sum(w * part for w, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(model.loss(guess), expected, rtol=0, atol=1e-6)


def test_the_critic_judges_corrections_unless_told_otherwise():
    on, off, alone = small(), small(gan_in_iterations=False), small(gan=False)
    for other in (off, alone):
        state = {k: v for k, v in on.network.state_dict().items() if other is off or not k.startswith("discriminator")}
        other.network.load_state_dict(state)
    first, later = guess_of(on, 0), guess_of(on, 1)
    torch.testing.assert_close(on.loss(first), off.loss(first))
    judged = mean_loss(on.discriminator(later.logits.sigmoid()))
    torch.testing.assert_close(on.loss(later) - off.loss(later), judged)
    torch.testing.assert_close(off.loss(later), alone.loss(later))


def test_the_discriminator_learns_first_and_from_the_first_answer_alone():
    model = small(iterations=2)
    assert [name for name, _ in model.losses(batch_of(model))] == ["discriminator", *["generator"] * 3]
    assert [name for name, _ in small(gan=False, iterations=2).losses(batch_of(model))] == ["generator"] * 3


def test_each_player_moves_its_own_parameters_and_the_frozen_encoder_none():
    model = small()
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    config = TrainConfig(steps=1, optimiser="adam", weight_decay=0.0, learning_rate=1e-3, device="cpu")
    descent = Descent(model, config)
    losses = descent.step([batch_of(model)], 0, 1e-3)
    assert losses.keys() == {"discriminator", "generator"}
    moved = {name for name, p in model.network.named_parameters() if not torch.equal(before[name], p)}
    assert any(name.startswith("discriminator.") for name in moved)
    assert any(name.startswith("mask_decoder.") for name in moved)
    encoder = {name for name in moved if name.startswith("image_encoder.")}
    assert encoder
    assert all(".Adapter." in name for name in encoder)
    assert model.watched.keys() == {
        "judged real",
        "judged predicted",
        "focal loss",
        "Dice loss",
        "IoU loss",
        "mean loss",
    }


def test_the_gradient_of_the_judgement_reaches_the_generator():
    model = small()
    guess = guess_of(model)
    mean_loss(model.discriminator(guess.logits.sigmoid())).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.mask_decoder.parameters())


def test_each_image_has_one_mask():
    batch = batch_of(small())
    assert batch["target"].shape == (2, 1, 64, 64)


def test_published_windows_and_both_orders():
    assert Options(crop="local").fixed == Window(161, 194, 417, 450)
    assert Options(crop="nsclc-radiomics").fixed == Window(94, 129, 436, 471)
    assert Options(crop=(129, 94, 471, 436)).fixed == Options(crop="nsclc-radiomics").fixed
    assert Options(crop=(94, 129, 436, 471), crop_order="yxyx").fixed == Options(crop="nsclc-radiomics").fixed
    assert {right - left for left, _, right, _ in PUBLISHED.values()} == {256, 342}
    with pytest.raises(ConfigError, match="crop"):
        Options(crop=(40, 40, 30, 60))


def test_the_window_comes_from_the_training_cases_and_stays_in_the_checkpoint(tmp_path):
    training = [case_of(), case_of(spans=((30, 50, 20, 34),), name="b")]
    held = case_of(spans=((0, 8, 50, 60),), name="held")
    model = small(iterations=0)
    config = TrainConfig(steps=2, batch=2, optimiser="adam", validate_every=2, device="cpu")
    result = train(model, training=training, validation=[held], config=config, folder=tmp_path)
    # Rows 10 to 50, columns 20 to 40: a square of 40 about (30, 30), which the held-out case changes nothing of.
    assert model.settings.crop == (10, 10, 50, 50)
    assert model.settings.crop_on == (64, 64)
    assert read_checkpoint(result.checkpoint).about.options["crop"] == [10, 10, 50, 50]
    again = gtv_samgan.build(weights=result.checkpoint, crop="training")  # as a recipe says it
    box = Box((2, 12, 22), (3, 20, 32))
    probability = again.predict(training[0].image, [box]).voxels
    assert not probability[2, :10].any()
    assert probability[2, 10:50, 10:50].all()
    np.testing.assert_array_equal(probability, model.predict(training[0].image, [box]).voxels)
    assert "[10, 10, 50, 50]" in again.told[0]


def test_a_prompt_outside_moves_the_window_and_that_is_told():
    model, image = small(crop=(10, 10, 34, 34)), case_of().image
    found = model.predict(image, [Box((2, 40, 12), (3, 46, 20))]).voxels
    assert found[2, 22:46, 10:34].all()
    assert any("moved" in sentence for sentence in model.told)
    assert model.window_on(image).sum() == 6 * 24 * 24


def test_a_box_round_the_whole_slice_gives_no_information_and_leaves_the_window():
    model, image = small(crop=(10, 10, 34, 34)), case_of().image
    whole = model.predict(image, [Box((2, 0, 0), (3, 64, 64))]).voxels
    framed = model.predict(image, [Box((2, 10, 10), (3, 34, 34))]).voxels
    np.testing.assert_array_equal(whole, framed)
    assert not any("moved" in sentence for sentence in model.told)


def test_slices_of_another_size_are_told():
    model = small(crop=(10, 10, 34, 34), crop_on=(512, 512))
    model.predict(case_of().image, [Click((2, 20, 20))])
    assert any("512 x 512" in sentence for sentence in model.told)


def test_a_window_round_the_lungs_of_each_image_needs_no_reference():
    phantom = registry.load("datasets", "phantom").build(cases=1, shape=[48, 96, 96], spacing=[6.0, 4.0, 4.0], seed=3)
    case = phantom.load(phantom.entries()[0].case)
    model = small(crop="lungs", crop_margin=2)
    prepared = model.prepare(case)
    window = model.window(axial_view(case.image).volume)
    assert prepared.facts["lung window"] == ",".join(map(str, window))
    assert window.bottom - window.top == window.right - window.left < 96
    lung = (case.mask("lung_right").voxels | case.mask("lung_left").voxels) & ~model.window_on(case.image)
    assert lung.mean() < 0.001
    assert next(model.samples(prepared, np.random.default_rng(0)))["image"].shape == (3, 64, 64)
    assert not any("in place of" in sentence for sentence in model.told)


def test_without_lungs_the_whole_slice_is_shown_and_told():
    model, image = small(crop="lungs"), case_of().image
    assert model.predict(image, [Click((2, 20, 20))]).voxels[2].all()
    assert any("lungs" in sentence for sentence in model.told)


def test_without_the_crop_slices_are_shown_whole():
    model, image = small(crop="slice"), case_of().image
    assert model.window_on(image) is None
    assert model.predict(image, [Click((2, 20, 20))]).voxels[2].all()
    assert model.survey([case_of()]) == {}


def test_training_cases_of_different_size_are_refused():
    with pytest.raises(InputError, match="32 x 32"):
        small().survey([case_of(), case_of(shape=(6, 32, 32), spans=((4, 8, 4, 8),), name="b")])


def test_it_begins_from_the_weights_of_sam_med2d(tmp_path):
    sized = {name: SMALL[name] for name in ("embed_dim", "depth", "heads", "image_size")}
    torch.manual_seed(1)
    start = sam_med2d.build(**sized)
    file = tmp_path / "start.pth"
    torch.save({"model": {k: v + 0.01 for k, v in start.network.state_dict().items()}}, file)
    model = small(weights=file)
    held = model.network.state_dict()
    assert torch.equal(
        held["mask_decoder.mask_tokens.weight"], start.network.state_dict()["mask_decoder.mask_tokens.weight"] + 0.01
    )
    assert any(name.startswith("discriminator.") for name in held)


def test_everything_that_the_paper_leaves_open_is_listed():
    paper = recipes_of("gtv_samgan")["paper"]
    assert {"window", "taught_with", "last_leaky", "gan_in_iterations", "mask_num"} <= set(paper.assumed)
    assert paper.training["keep_every_epoch"]
    assert gtv_samgan.INFOS[0].fidelity == "reconstructed"
