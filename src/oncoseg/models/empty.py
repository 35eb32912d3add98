"""Predicts nothing: what a score is worth when the model says there is no tumour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.inference.accept import accept, take_nothing
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFOS = (
    ModelInfo(
        name="empty",
        variant="",
        title="Empty prediction",
        summary="Predicts no tumour anywhere: shows what a scoring rule pays for nothing.",
        parameters=0,
        trainable_parameters=0,
        dimension="3d",
        prompts=(),
        doi=None,
        licence="Apache-2.0",
        fidelity="baseline",
        reference_use="none",
    ),
)


class Empty:
    """Says that there is no tumour."""

    info = INFOS[0]

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Zero everywhere.

        Raises:
            InputError: for any prompt.
        """
        accept(self.info, image, prompts)
        return image.with_voxels(np.zeros(image.shape, np.float32))


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> Empty:
    """Make the model; it has no variants, weights or options.

    Raises:
        InputError: for a variant, weights or an option.
    """
    choose_variant(INFOS, variant)
    take_nothing(INFOS[0], weights, options)
    return Empty()
