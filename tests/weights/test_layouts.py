import pytest
import torch

from oncoseg.weights import official
from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.layouts import layouts, nearest
from oncoseg.weights.sam2 import sam2_state


def empty(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_a_layout_is_recognised_by_official_names_and_by_ours(layout):
    state = empty(layout.shapes())
    rename = sam2_state if layout.name.startswith("sam2") else sam_state
    for given, official_names in ((state, True), (rename(state), False)):
        fit = nearest(given)
        assert fit.layout.name == layout.name
        assert fit.exact
        assert fit.official == official_names


def test_what_differs_is_listed():
    state = empty(official.sam(official.SAM_SIZES["b"], image_size=512))
    state["head.weight"] = torch.zeros(1)
    del state["mask_decoder.iou_token.weight"]
    fit = nearest(state)
    assert fit.layout.name == "sam-vit-b"
    assert not fit.exact
    assert fit.missing == ("mask_decoder.iou_token.weight",)
    assert fit.unexpected == ("head.weight",)
    # The position table, and two tables in each of the four global blocks.
    assert len(fit.mismatched) == 9
    assert "image_encoder.pos_embed (1, 32, 32, 768) instead of (1, 64, 64, 768)" in fit.mismatched


def test_another_network_is_like_none():
    assert nearest(torch.nn.Linear(2, 2).state_dict()) is None
    assert nearest({}) is None
