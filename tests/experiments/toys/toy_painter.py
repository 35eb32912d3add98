"""Paints a small ball at every positive click and rubs one out at every negative one; boxes and masks are filled.

The variant `session` is told prompt by prompt, and says how often it looked at the image.
"""

import numpy as np

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.prompt import Box, Click, MaskPrompt

RADIUS_MM = 2.5


def _info(variant):
    return ModelInfo(
        name="toy_painter",
        variant=variant,
        title="Toy painter",
        summary="Paints where it is told.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=("box", "click", "scribble", "mask"),
        doi=None,
        licence="CC0",
        fidelity="baseline",
    )


INFOS = (_info("plain"), _info("session"))
#: Images that a session was opened on, in turn.
OPENED = []


def paint(image, prompts):
    painted = np.zeros(image.shape, np.float32)
    index = np.stack(np.indices(image.shape), axis=-1)
    for prompt in prompts:
        match prompt:
            case Box():
                painted[prompt.region] = 1
            case MaskPrompt():
                painted[prompt.mask.voxels] = 1
            case Click():
                near = np.linalg.norm((index - prompt.index) * image.spacing, axis=-1) <= RADIUS_MM
                painted[near] = float(prompt.positive)
            case _:
                painted[tuple(np.array(prompt.indices).T)] = 1
    return image.with_voxels(painted)


class ToyPainter:
    def __init__(self, info):
        self.info = info

    def predict(self, image, prompts=()):
        return paint(image, prompts)


class ToySession:
    def __init__(self, image):
        self.image, self.prompts = image, []

    def add(self, prompt):
        self.prompts.append(prompt)
        return paint(self.image, self.prompts)

    def undo(self):
        self.prompts.pop()
        return paint(self.image, self.prompts)

    def reset(self):
        self.prompts = []


class ToyInteractive(ToyPainter):
    def session(self, image):
        OPENED.append(image)
        return ToySession(image)


def build(variant=None, *, weights=None):
    info = choose_variant(INFOS, variant)
    return ToyInteractive(info) if info.variant == "session" else ToyPainter(info)
