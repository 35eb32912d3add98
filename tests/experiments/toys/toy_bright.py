"""Calls bright voxels tumour, inside the box if there is one; misbehaves on request."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.errors import InputError, NotApplicableError


def _info(variant, prompts):
    return ModelInfo(
        name="toy_bright",
        variant=variant,
        title="Toy",
        summary="Bright voxels.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=prompts,
        doi=None,
        licence="CC0",
        fidelity="baseline",
    )


INFOS = (_info("automatic", ()), _info("boxed", ("box",)))


class ToyBright:
    def __init__(self, info, level, mode, seconds, marker):
        self.info, self.level, self.mode, self.seconds, self.marker = info, level, mode, seconds, marker

    def predict(self, image, prompts=()):
        time.sleep(self.seconds)
        if self.mode == "fails":
            raise InputError("the toy does not like this image")
        if self.mode == "dies" or (self.mode == "dies once" and not Path(self.marker).exists()):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "peeks":
            image.masks["tumour"]
        inside = np.zeros(image.shape, bool) if prompts else np.ones(image.shape, bool)
        for box in prompts:
            inside[box.region] = True
        bright = (image.voxels > self.level) & inside
        low, high = (0.1, 0.9) if self.mode == "doubts" else (0.0, 1.0)
        return image.with_voxels(np.where(bright, high, low).astype(np.float32))


def build(variant=None, *, weights=None, level=-400.0, mode="good", seconds=0.0, marker="marker"):
    if mode == "does not apply":
        raise NotApplicableError("toy_bright not applicable: the images are too small")
    return ToyBright(choose_variant(INFOS, variant), level, mode, seconds, marker)
