"""A box round the lungs, found on the image: where a lung tumour must be, without looking at the reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.preprocess.lungs import lungs
from oncoseg.prompt import Prompt, tight_box
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="lung_box",
    summary="A box round each lung of a chest CT, found by classical means: no reference is needed.",
    prompts=("box",),
    source="automatic",
)


@dataclass(frozen=True)
class LungBoxOptions:
    """What is boxed.

    Attributes:
        together: one box round both lungs in place of one round each.
    """

    together: bool = False


@dataclass(frozen=True)
class LungBoxProposer:
    """Finds the lungs, see `oncoseg.preprocess.lungs`, and draws tight boxes round them."""

    options: LungBoxOptions
    info: SimulatorInfo = INFO

    def propose(self, image: Volume, rng: np.random.Generator) -> list[Prompt]:
        """A box round each lung, or one round both; empty where no lung is found. `rng` is not used."""
        found = lungs(image)
        if self.options.together:
            masks = [image.with_voxels(found.right.voxels | found.left.voxels)]
        else:
            masks = [found.right, found.left]
        boxes = [box for mask in masks if (box := tight_box(mask, source="automatic")) is not None]
        return [replace(box, lesion=number) for number, box in enumerate(boxes, start=1)]


def build(**options: Any) -> LungBoxProposer:
    """Make the proposer; options are the fields of `LungBoxOptions`."""
    return LungBoxProposer(fill(LungBoxOptions, options, "prompt simulator lung_box"))
