"""The box prompt itself as the prediction: what the prompt alone is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.inference.accept import boxes, take_nothing
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFOS = (
    ModelInfo(
        name="filled_box",
        variant="",
        title="Filled box",
        summary="Fills the box it is given: what a box prompt is worth without a model.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=("box",),
        doi=None,
        licence="Apache-2.0",
        fidelity="baseline",
        reference_use="the box",
    ),
)


class FilledBox:
    """Calls every voxel of every box tumour."""

    info = INFOS[0]

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """One in the boxes, zero elsewhere.

        Raises:
            InputError: without a box, with another prompt, or with a box that leaves the image.
        """
        probability = np.zeros(image.shape, np.float32)
        for box in boxes(self.info, image, prompts):
            probability[box.region] = 1.0
        return image.with_voxels(probability)


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> FilledBox:
    """Make the model; it has no variants, weights or options.

    Raises:
        InputError: for a variant, weights or an option.
    """
    choose_variant(INFOS, variant)
    take_nothing(INFOS[0], weights, options)
    return FilledBox()
