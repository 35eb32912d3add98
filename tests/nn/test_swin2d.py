"""Parts of the 2D Swin transformer, against MONAI's block and by what they must do."""

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask

from oncoseg.nn.swin2d import (
    PatchEmbedding,
    PatchMerging,
    StochasticDepth,
    SwinBlock,
    joined,
    relative_positions,
    shift_mask,
    windows,
)


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_windows_come_together_again():
    features = torch.randn(2, 8, 8, 3)
    cut = windows(features, 4)
    assert cut.shape == (8, 16, 3)
    assert torch.equal(cut[1], features[0, :4, 4:].reshape(16, 3))
    assert torch.equal(joined(cut, 4, 8), features)


def test_relative_positions_count_rows_then_columns():
    index = relative_positions(2)
    # Table of 3 x 3 positions; a pixel against itself is the middle one, 4.
    assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_what_the_shift_joined_is_kept_apart():
    mask = shift_mask(8, 4, 2)
    assert mask.shape == (4, 16, 16)
    assert not mask[0].any()
    halves = torch.arange(16) % 4 >= 2
    assert torch.equal(mask[1] == 0, halves[:, None] == halves[None, :])
    assert mask.unique().tolist() == [-100.0, 0.0]


def test_features_no_larger_than_a_window_are_one_window_without_shift():
    block = SwinBlock(8, 2, side=4, window=7, shifted=True)
    assert (block.window, block.shift, block.attn_mask) == (4, 0, None)
    assert block(torch.randn(1, 4, 4, 8)).shape == (1, 4, 4, 8)


@pytest.mark.parametrize("shifted", [False, True])
def test_attention_stays_inside_its_window_unless_the_windows_are_shifted(shifted):
    block = SwinBlock(8, 2, side=8, window=4, shifted=shifted).eval()
    features = torch.randn(1, 8, 8, 8)
    changed = features.clone()
    changed[:, 3, 3] += torch.randn(8)
    with torch.inference_mode():
        touched = (block(features) - block(changed))[0].abs().amax(-1) > 1e-6
    reach = slice(2, 6) if shifted else slice(0, 4)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[reach, reach] = True
    assert torch.equal(touched, expected)


def test_the_last_rows_do_not_see_the_first_after_a_shift():
    block = SwinBlock(8, 2, side=8, window=4, shifted=True).eval()
    features = torch.randn(1, 8, 8, 8)
    changed = features.clone()
    changed[:, 0, 4] += torch.randn(8)
    with torch.inference_mode():
        touched = (block(features) - block(changed))[0].abs().amax(-1) > 1e-6
    assert touched[0, 4]
    assert not touched[6:].any()


@pytest.mark.parametrize("shift", [0, 2])
def test_a_block_equals_that_of_monai(shift):
    ours = SwinBlock(24, 3, side=16, window=4, shifted=shift > 0).eval()
    theirs = SwinTransformerBlock(24, 3, window_size=(4, 4), shift_size=(shift, shift)).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {name.replace("linear", "fc"): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(state | ({"attn_mask": ours.attn_mask} if shift else {}))
    features = torch.randn(2, 16, 16, 24)
    mask = compute_mask([16, 16], (4, 4), (shift, shift), "cpu") if shift else None
    with torch.inference_mode():
        torch.testing.assert_close(ours(features), theirs(features, mask), atol=1e-5, rtol=1e-5)


def test_merging_puts_four_neighbours_side_by_side_down_the_rows_first():
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    found = merging(torch.arange(16.0).reshape(1, 4, 4, 1))
    assert found.shape == (1, 2, 2, 4)
    # As in the official code: (0, 0), (1, 0), (0, 1), (1, 1).
    assert found[0, 0, 0].tolist() == [0, 4, 1, 5]


def test_patches_become_features():
    assert PatchEmbedding(3, 8)(torch.zeros(2, 3, 16, 24)).shape == (2, 4, 6, 8)


def test_stochastic_depth_keeps_the_mean_and_drops_whole_samples():
    part = StochasticDepth(0.25)
    found = part(torch.ones(4000, 2, 3))
    assert sorted(found.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(found[:, :1, :1].expand_as(found), found)
    assert found.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(part.eval()(found), found)
