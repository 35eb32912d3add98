import json

import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.prompt import (
    Box,
    Click,
    MaskPrompt,
    Scribble,
    box_from_mm,
    click_from_mm,
    from_json,
    line_through,
    tight_box,
    to_json,
)
from oncoseg.volume import Volume


@pytest.fixture
def image():
    return Volume.from_spacing(np.zeros((10, 20, 30), np.float32), (3.0, 1.0, 0.5), origin_mm=(100.0, -50.0, 7.0))


def test_tight_box_holds_every_voxel_and_nothing_more(image):
    mask = image.with_voxels(np.zeros(image.shape, bool))
    mask.voxels[2:5, 3, 7:9] = True
    assert tight_box(mask) == Box((2, 3, 7), (5, 4, 9), source="oracle")


def test_empty_mask_has_no_box(image):
    assert tight_box(image.with_voxels(np.zeros(image.shape, bool))) is None


def test_box_survives_the_way_to_millimetres_and_back(image):
    box = Box((2, 3, 7), (5, 4, 9))
    first, last = image.index_to_mm(box.start), image.index_to_mm(np.array(box.stop) - 1)
    assert box_from_mm(first, last, image) == box
    assert box_from_mm(last, first, image) == box


def test_box_in_millimetres_without_a_voxel_is_refused(image):
    with pytest.raises(InputError, match="no voxel centre"):
        box_from_mm((100.1, -50, 7), (100.2, -50, 7), image)


def test_click_in_millimetres_lands_on_the_nearest_voxel(image):
    assert click_from_mm((101.1, -48.2, 9.0), image).index == (1, 2, 2)


@pytest.mark.parametrize("stop", [(2, 3, 4), (1, 5, 5), (5, 5, 4)])
def test_empty_boxes_are_refused(stop):
    with pytest.raises(InputError, match="half open"):
        Box((2, 3, 4), stop)


def test_fractional_positions_are_refused():
    with pytest.raises(InputError, match="whole numbers"):
        Click((1, 2, 2.5))


@pytest.mark.parametrize(
    "prompt",
    [
        Box((0, 0, 0), (11, 2, 2)),
        Box((-1, 0, 0), (1, 2, 2)),
        Click((0, 20, 0)),
        Click((0, 0, -1)),
        Scribble(((0, 0, 0), (0, 0, 30))),
    ],
)
def test_prompts_outside_the_volume_are_named(prompt, image):
    with pytest.raises(InputError, match="volume of shape"):
        prompt.require_inside(image)


def test_mask_prompt_must_lie_on_the_grid_of_the_image(image):
    other = Volume.from_spacing(np.zeros(image.shape, bool), (3.0, 1.0, 0.6))
    with pytest.raises(GridMismatchError):
        MaskPrompt(other).require_inside(image)
    assert list(MaskPrompt(other).slices) == []


def test_json_round_trip_keeps_every_prompt(image):
    prompts = [
        Box((1, 2, 3), (4, 5, 6), "jittered", 5.0),
        Box((1, 2, 3), (4, 5, 6), "jittered", lesion=3, jitter_px=10.0),
        Click((3, 4, 5), positive=False, source="simulated user"),
        Scribble(((1, 1, 1), (2, 2, 2))),
    ]
    assert from_json(to_json(prompts), image) == prompts


def test_masks_are_files_beside_the_json(image, tmp_path):
    from oncoseg.io.prompts import prompts_into, read_prompts

    mask = image.with_voxels(np.zeros(image.shape, bool))
    mask.voxels[3:5, 4:9, 7] = True
    prompts = [Click((1, 1, 1), lesion=1), MaskPrompt(mask, "jittered", 4, 2.5)]
    with pytest.raises(InputError, match="cannot be written as JSON alone"):
        to_json(prompts)
    items = prompts_into(prompts, tmp_path, "rough/one")
    assert items[1] == {
        "type": "mask", "space": "index", "source": "jittered", "lesion": 4,
        "file": "rough/one.2.nii.gz", "jitter_mm": 2.5,
    }  # fmt: skip
    (tmp_path / "prompts.json").write_text(json.dumps(items))
    click, rough = read_prompts(tmp_path / "prompts.json", image)
    assert click == prompts[0]
    assert np.array_equal(rough.mask.voxels, mask.voxels)
    assert (rough.source, rough.lesion, rough.jitter_mm) == ("jittered", 4, 2.5)
    with pytest.raises(InputError, match="no folder here"):
        from_json(items, image)
    (tmp_path / "rough" / "one.2.nii.gz").unlink()
    with pytest.raises(InputError, match=r"prompts\.json: Prompt 2 of 2 .* does not exist"):
        read_prompts(tmp_path / "prompts.json", image)


def test_a_line_joins_its_points():
    assert line_through([(4, 0, 0), (4, 3, 1), (4, 0, 0)]) == ((4, 0, 0), (4, 1, 0), (4, 2, 1), (4, 3, 1))
    assert line_through([(1, 2, 3)]) == ((1, 2, 3),)


def test_json_in_millimetres_is_placed_on_the_image(image):
    items = [
        {"type": "box", "space": "mm", "start": [101, -48, 10], "stop": [103, -46, 13]},
        {"type": "click", "space": "mm", "position_mm": [101, -48, 10]},
    ]
    assert from_json(items, image) == [Box((1, 2, 2), (3, 5, 7)), Click((1, 2, 2))]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"type": "box"}, "JSON list"),
        ([{"type": "circle"}], "not box, click, scribble or mask"),
        ([{"type": "box", "start": [0, 0, 0]}], "'stop' is missing"),
        ([{"type": "click", "index": [0, 0, 99]}], "outside the volume"),
        ([{"type": "click", "index": "abc"}], "Prompt 1 of 1"),
        ([{"type": "click", "index": [0, 0, 0], "source": "God"}], "source 'God'"),
    ],
)
def test_wrong_json_is_named(items, message, image):
    with pytest.raises(InputError, match=message):
        from_json(items, image)
