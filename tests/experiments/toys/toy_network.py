"""One 3x3 convolution, slice by slice."""

import numpy as np
import torch
from torch import nn

from oncoseg.contracts import ModelInfo
from oncoseg.weights.loading import load_strictly, read_tensors

INFOS = (
    ModelInfo(
        name="toy_network",
        variant="",
        title="Toy network",
        summary="A convolution.",
        parameters=10,
        trainable_parameters=10,
        dimension="2d",
        prompts=(),
        doi=None,
        licence="CC0",
        fidelity="baseline",
        trainable=True,
    ),
)


class ToyNetwork:
    info = INFOS[0]

    def __init__(self):
        self.network = nn.Conv2d(1, 1, 3, padding=1)

    def predict(self, image, prompts=()):
        with torch.no_grad():
            x = torch.from_numpy(image.voxels.astype(np.float32))[:, None] / 1000 + 0.5
            return image.with_voxels(torch.sigmoid(self.network(x))[:, 0].numpy())

    def samples(self, case, rng):
        while True:
            k = int(rng.integers(case.image.shape[0]))
            image = case.image.voxels[k].astype(np.float32) / 1000 + 0.5
            yield {"image": image[None], "tumour": case.mask().voxels[k].astype(np.float32)[None]}

    def losses(self, batch):
        logits = self.network(batch["image"])
        yield "network", nn.functional.binary_cross_entropy_with_logits(logits, batch["tumour"])

    def parameter_groups(self):
        return {"network": self.network.parameters()}

    def options(self):
        return {}


def build(variant=None, *, weights=None):
    model = ToyNetwork()
    if weights is not None:
        load_strictly(model.network, read_tensors(weights).state, str(weights))
    return model
