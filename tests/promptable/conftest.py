import numpy as np
import pytest
import torch

from oncoseg.contracts import ModelInfo
from oncoseg.nn.sam import Answer
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.options import PromptedOptions
from oncoseg.promptable.slices import PromptedSliceModel
from oncoseg.volume import Volume

INFO = ModelInfo(
    name="echo",
    variant="",
    title="Echo",
    summary="Fills what it is asked about.",
    parameters=1,
    trainable_parameters=1,
    dimension="2d",
    prompts=("box", "click", "scribble", "mask"),
    doi=None,
    licence="Apache-2.0",
    fidelity="baseline",
    reference_use="a prompt",
)


class EchoNetwork(torch.nn.Module):
    """Stands in for SAM at 64 px: the mask is the box, or a disc of 5 px round every positive click.

    Discs round negative clicks are cut out; an earlier mask is kept. It remembers what it was asked.
    """

    image_size, patch_size = 64, 4

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.image_encoder = torch.nn.Identity()
        self.shown, self.asked, self.multimask = [], [], []

    def embed(self, images):
        self.shown.append(images)
        return images[:, :1]

    def decode(self, embedding, prompts, *, multimask=False):
        self.asked.append(prompts)
        self.multimask.append(multimask)
        row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        found = torch.zeros(len(embedding), 64, 64, dtype=torch.bool)
        if prompts.boxes is not None:
            left, top, right, bottom = prompts.boxes[:, :, None, None].unbind(1)
            found |= (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
        if prompts.masks is not None:
            found |= prompts.masks[:, 0] > 0
        for point in range(0 if prompts.points is None else prompts.points.shape[1]):
            x, y = prompts.points[:, point, :, None, None].unbind(1)
            disc = (column - x) ** 2 + (row - y) ** 2 <= 25
            positive = prompts.labels[:, point, None, None] == 1
            found = torch.where(positive, found | disc, found & ~disc)
        logits = torch.where(found, 8.0, -8.0)[:, None]
        if multimask:
            logits = torch.cat([-logits, logits, -logits], dim=1)
            return Answer(logits, torch.tensor([[0.1, 0.9, 0.2]]).expand(len(logits), 3))
        return Answer(logits, torch.ones(len(logits), 1))


class BrightNetwork(EchoNetwork):
    """Finds what is bright within 3 px round the box, so that it can be followed from slice to slice."""

    def decode(self, embedding, prompts, *, multimask=False):
        left, top, right, bottom = prompts.boxes[:, :, None, None].unbind(1)
        row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        near = (column >= left - 3) & (column <= right + 3) & (row >= top - 3) & (row <= bottom + 3)
        return Answer(torch.where(near & (embedding[:, 0] > 0.5), 8.0, -8.0)[:, None], torch.ones(len(embedding), 1))


@pytest.fixture
def echo():
    def make(network=None, frame=None, **options):
        options = {"crop": "slice", **options}
        return PromptedSliceModel(INFO, PromptedOptions(**options), network or EchoNetwork(), frame or Frame(64))

    return make


@pytest.fixture
def bright():
    return BrightNetwork


@pytest.fixture
def image():
    voxels = np.random.default_rng(0).integers(-1000, 400, (7, 64, 64)).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 0.5, 0.5))
