import subprocess
import sys

import pytest
import torch

from oncoseg.nn.sam import Sam, SlicePrompts


class Checkers(torch.nn.Module):
    """Stands in for an image encoder: (batch, 3, s, s) -> (batch, 256, s/4, s/4)."""

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images[:, :1], 4).repeat(1, 256, 1, 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Sam(Checkers(), image_size=64, patch_size=4).eval()


def test_has_the_parameters_of_the_paper(network):
    assert sum(p.numel() for p in network.prompt_encoder.parameters()) == 6_220
    assert sum(p.numel() for p in network.mask_decoder.parameters()) == 4_058_340


def test_each_image_of_a_batch_is_answered_by_its_own_box(network):
    images = torch.rand(2, 3, 64, 64)
    boxes = torch.tensor([[5.0, 5, 20, 30], [30.0, 10, 60, 50]])
    with torch.inference_mode():
        both = network(images, boxes)
        alone = torch.cat([network(images[i : i + 1], boxes[i : i + 1]) for i in range(2)])
    assert both.shape == (2, 64, 64)
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-4)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_rows_and_columns_are_not_mixed_up(network):
    """The positional encoding of the pixel at (row, column) is that of a point (column, row) there."""
    encode = network.prompt_encoder.shared_embedding
    positions = network.positions()
    row, column = 3, 11
    point = torch.tensor([[[[(column + 0.5) * 4, (row + 0.5) * 4]]]])
    torch.testing.assert_close(positions[0, :, row, column], encode(point, (64, 64))[0, 0, 0])


def test_every_kind_of_prompt_changes_the_answer(network):
    embedding = network.embed(torch.rand(1, 3, 64, 64))
    point = torch.tensor([[[20.0, 30.0]]])
    kinds = [
        SlicePrompts(boxes=torch.tensor([[5.0, 5, 20, 30]])),
        SlicePrompts(points=point, labels=torch.tensor([[1]])),
        SlicePrompts(points=point, labels=torch.tensor([[0]])),
        SlicePrompts(masks=torch.ones(1, 1, 64, 64)),
        SlicePrompts(torch.tensor([[5.0, 5, 20, 30]]), point, torch.tensor([[1]]), torch.ones(1, 1, 64, 64)),
    ]
    with torch.inference_mode():
        answers = [network.decode(embedding, kind) for kind in kinds]
    assert {tuple(a.logits.shape) for a in answers} == {(1, 1, 64, 64)}
    for n, one in enumerate(answers):
        assert all((one.logits - other.logits).abs().max() > 1e-4 for other in answers[:n])


def test_three_masks_are_given_where_they_are_asked_for_and_the_best_is_the_one_it_expects_most_of(network):
    prompts = SlicePrompts(boxes=torch.tensor([[5.0, 5, 20, 30]]))
    with torch.inference_mode():
        answer = network.decode(network.embed(torch.rand(1, 3, 64, 64)), prompts, multimask=True)
    assert answer.logits.shape == (1, 3, 64, 64)
    torch.testing.assert_close(answer.best()[0], answer.logits[0, answer.quality[0].argmax()])


def test_importing_the_room_does_not_import_transformers():
    command = "import sys, oncoseg.nn.sam; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
