"""Every prompt simulator on the shelf must pass; a newcomer needs no test of its own for this."""

import json
from typing import get_args

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.contracts import PromptType, Proposer, Replayer
from oncoseg.errors import ConfigError
from oncoseg.prompt import Click, Source, to_json
from oncoseg.volume import Volume

NAMES = registry.names("prompts")


def two_lesions():
    mask = np.zeros((8, 40, 40), bool)
    mask[1:4, 5:15, 8:14] = True
    mask[5:8, 30:40, 0:7] = True
    mask[6, 20, 20] = True
    return Volume.from_spacing(mask, (2.5, 0.7, 0.7))


@pytest.fixture(scope="module")
def chest():
    """What simulators that look at the image are shown."""
    return registry.load("datasets", "phantom").build(cases=1, shape=(32, 64, 64), spacing=(9.0, 6.0, 6.0))


@pytest.fixture(params=NAMES)
def shelf(request):
    return registry.load("prompts", request.param), request.param


@pytest.fixture
def options(shelf, tmp_path):
    """Replaying needs a record; everything else works without options."""
    (tmp_path / "case.json").write_text(json.dumps(to_json([Click((6, 20, 20), source="simulated user")])))
    return {"file": str(tmp_path)} if shelf[1] == "replay" else {}


@pytest.fixture
def prompts_of(shelf, options, chest):
    """Prompts for a reference, or for an image where none is looked at; and the volume they are for."""
    simulator = shelf[0].build(**options)

    def make(reference, seed):
        rng = np.random.default_rng(seed)
        if isinstance(simulator, Proposer):
            image = chest.load(chest.entries()[0].case).image
            return simulator.propose(image, rng), image
        if isinstance(simulator, Replayer):
            return simulator.recorded("case", 1, reference).prompts, reference
        return simulator(reference, rng), reference

    return make


def items(prompts):
    """As JSON, the voxels of masks in place of their files."""
    return to_json(prompts, lambda prompt, _: prompt.mask.voxels.tobytes().hex())


def test_info_names_the_file_and_known_prompt_types(shelf, options):
    module, name = shelf
    assert module.INFO.name == name
    assert module.INFO.summary.endswith(".")
    assert set(module.INFO.prompts) <= set(get_args(PromptType))
    assert module.build(**options).info == module.INFO


def test_prompts_lie_inside_the_image_and_say_where_they_come_from(shelf, prompts_of):
    made, volume = prompts_of(two_lesions(), 1)
    assert made
    for prompt in made:
        prompt.require_inside(volume)
        assert prompt.source in set(get_args(Source)) - {"user"}
        assert prompt.source in shelf[0].INFO.source


def test_only_promised_types_are_made(shelf, prompts_of):
    made, _ = prompts_of(two_lesions(), 1)
    assert {item["type"] for item in items(made)} <= set(shelf[0].INFO.prompts or get_args(PromptType))


def test_one_seed_gives_the_same_prompts_again(prompts_of):
    runs = [items(prompts_of(two_lesions(), 5)[0]) for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_reference_is_left_as_it_was(prompts_of):
    reference = two_lesions()
    prompts_of(reference, 1)
    assert (reference.voxels == two_lesions().voxels).all()


def test_an_empty_reference_gives_nothing_away(shelf, prompts_of):
    if shelf[1] == "replay":
        pytest.skip("what was recorded does not depend on the reference")
    empty = two_lesions().with_voxels(np.zeros((8, 40, 40), bool))
    made, _ = prompts_of(empty, 1)
    assert all(prompt.source == "automatic" for prompt in made)


def test_prompts_for_lesions_are_numbered_from_one(shelf, options, prompts_of):
    """So that clicks, boxes and masks of one lesion belong together whichever simulator made them."""
    per = getattr(getattr(shelf[0].build(**options), "options", None), "per", "lesion")
    made, volume = prompts_of(two_lesions(), 1)
    if shelf[1] in ("replay", "whole_image") or per != "lesion":
        pytest.skip("its prompts are not for lesions")
    numbers = {prompt.lesion for prompt in made}
    assert None not in numbers
    assert numbers <= {1, 2, 3}
    if volume.shape == (8, 40, 40) and not shelf[0].INFO.corrects:
        assert numbers == {1, 2, 3}


def test_corrections_answer_to_the_prediction(shelf):
    module, _ = shelf
    if not module.INFO.corrects:
        pytest.skip("it does not look at predictions")
    reference, simulator = two_lesions(), registry.load("prompts", shelf[1]).build()
    assert simulator(reference, np.random.default_rng(0), reference) == []
    too_much = reference.with_voxels(reference.voxels.copy())
    too_much.voxels[2, 30:36, 25:31] = True
    for seed in range(5):
        (click,) = simulator(reference, np.random.default_rng(seed), too_much)
        assert not click.positive
        assert too_much.voxels[click.index]
        assert not reference.voxels[click.index]


def test_unknown_options_are_refused(shelf):
    module, _ = shelf
    with pytest.raises(ConfigError, match="unknown key 'no_such_option'"):
        module.build(no_such_option=1)
