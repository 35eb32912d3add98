"""The ellipsoid inscribed in the box: the best guess from the prompt without looking at the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.inference.accept import boxes, take_nothing
from oncoseg.inference.shapes import inscribed
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFOS = (
    ModelInfo(
        name="ellipsoid",
        variant="",
        title="Ellipsoid in the box",
        summary="Fills the ellipsoid inscribed in the box without looking at the image.",
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


class Ellipsoid:
    """Calls the ellipsoid that touches every face of a box tumour."""

    info = INFOS[0]

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """One where a voxel's centre lies in the ellipsoid inscribed in a box, zero elsewhere.

        A box of one slice gives an ellipse on that slice; several boxes give the union.

        Raises:
            InputError: without a box, with another prompt, or with a box that leaves the image.
        """
        probability = np.zeros(image.shape, np.float32)
        for box in boxes(self.info, image, prompts):
            part = probability[box.region]
            part[inscribed(part.shape)] = 1.0
        return image.with_voxels(probability)


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> Ellipsoid:
    """Make the model; it has no variants, weights or options.

    Raises:
        InputError: for a variant, weights or an option.
    """
    choose_variant(INFOS, variant)
    take_nothing(INFOS[0], weights, options)
    return Ellipsoid()
