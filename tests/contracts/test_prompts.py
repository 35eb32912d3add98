"""Every prompt simulator on the shelf must pass; a newcomer needs no test of its own for this."""

from typing import get_args

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.contracts import PromptType
from oncoseg.errors import ConfigError
from oncoseg.prompt import Source, to_json
from oncoseg.volume import Volume

NAMES = registry.names("prompts")


def two_lesions():
    mask = np.zeros((8, 40, 40), bool)
    mask[1:4, 5:15, 8:14] = True
    mask[5:8, 30:40, 0:7] = True
    mask[6, 20, 20] = True
    return Volume.from_spacing(mask, (2.5, 0.7, 0.7))


@pytest.fixture(params=NAMES)
def shelf(request):
    return registry.load("prompts", request.param), request.param


def test_info_names_the_file_and_known_prompt_types(shelf):
    module, name = shelf
    assert module.INFO.name == name
    assert module.INFO.summary.endswith(".")
    assert set(module.INFO.prompts) <= set(get_args(PromptType))
    assert module.build().info == module.INFO


def test_prompts_lie_inside_the_image_and_say_where_they_come_from(shelf):
    module, _ = shelf
    reference = two_lesions()
    made = module.build()(reference, np.random.default_rng(1))
    assert made
    for prompt in made:
        prompt.require_inside(reference)
        assert prompt.source in set(get_args(Source)) - {"user"}
        assert prompt.source in module.INFO.source


def test_only_promised_types_are_made(shelf):
    module, _ = shelf
    made = module.build()(two_lesions(), np.random.default_rng(1))
    assert {item["type"] for item in to_json(made)} <= set(module.INFO.prompts)


def test_one_seed_gives_the_same_prompts_again(shelf):
    module, _ = shelf
    runs = [to_json(module.build()(two_lesions(), np.random.default_rng(5))) for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_reference_is_left_as_it_was(shelf):
    module, _ = shelf
    reference = two_lesions()
    module.build()(reference, np.random.default_rng(1))
    assert (reference.voxels == two_lesions().voxels).all()


def test_an_empty_reference_gives_nothing_away(shelf):
    module, _ = shelf
    empty = two_lesions().with_voxels(np.zeros((8, 40, 40), bool))
    made = module.build()(empty, np.random.default_rng(1))
    assert all(prompt.source == "automatic" for prompt in made)


def test_unknown_options_are_refused(shelf):
    module, _ = shelf
    with pytest.raises(ConfigError, match="unknown key 'no_such_option'"):
        module.build(no_such_option=1)
