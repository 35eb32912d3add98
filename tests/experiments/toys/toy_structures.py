"""Labels the halves of an image and what is bright in it; its probability of tumour is 0 everywhere."""

import numpy as np

from oncoseg.contracts import ModelInfo

#: What was asked of it, in turn.
CALLS = []

INFOS = (
    ModelInfo(
        name="toy_structures",
        variant="",
        title="Toy structures",
        summary="Labels.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=(),
        doi=None,
        licence="CC0",
        fidelity="baseline",
    ),
)


class ToyStructures:
    info = INFOS[0]
    classes = ("lung_right", "lung_left", "tumour")

    def predict(self, image, prompts=()):
        CALLS.append("predict")
        return image.with_voxels(np.zeros(image.shape, np.float32))

    def predict_labels(self, image, prompts=()):
        CALLS.append("predict_labels")
        labels = np.ones(image.shape, np.uint8)
        labels[:, :, image.shape[2] // 2 :] = 2
        labels[image.voxels > -400] = 3
        return image.with_voxels(labels)


def build(variant=None, *, weights=None):
    return ToyStructures()
