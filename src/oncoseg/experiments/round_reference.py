"""Images that are cut round the reference before a model sees them, as some published evaluations do, and the way back.

SAM-Med3D and M-SAM cut (or pad) every test volume to 128 voxels round its label (`utils/data_loader.py`,
`utils/infer_utils.py`). The model learns from it where the tumour lies and that nothing lies elsewhere, so each such
prediction has `crop_centre_known` in its ledger. The reference itself stays here: the model gets the smaller image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncoseg.case import Case
from oncoseg.errors import ConfigError
from oncoseg.experiments.rounds import Step
from oncoseg.prompt import Box, Click, Index, MaskPrompt, Prompt, Scribble, tight_box
from oncoseg.volume import Volume


@dataclass(frozen=True)
class Cube:
    """How much is shown round the middle of the box of a reference: sides in voxels, or in mm; 0 for the other."""

    voxels: int = 0
    mm: float = 0.0

    def __post_init__(self) -> None:
        if min(self.voxels, self.mm) < 0 or (self.voxels > 0) == (self.mm > 0):
            raise ConfigError(
                f"prompt: around_reference is {self.voxels} voxels and around_reference_mm is {self.mm:g}; give one of "
                "them, above 0."
            )

    def __str__(self) -> str:
        return f"{self.voxels} voxels" if self.voxels else f"{self.mm:g} mm"

    def sides(self, image: Volume) -> list[int]:
        """In voxels of an image."""
        return [self.voxels or max(1, math.ceil(self.mm / spacing - 1e-9)) for spacing in image.spacing]


@dataclass(frozen=True, eq=False)
class Part:
    """What a model is shown of a case.

    Attributes:
        case: image and masks as far as they are shown.
        whole: the image it was cut out of.
        start: first voxel of the part.
        note: what reports say about it; "" for a whole case.
    """

    case: Case
    whole: Volume
    start: Index = (0, 0, 0)
    note: str = ""

    def restored(self, mask: Volume) -> Volume:
        """A mask or probability of the part on the grid of the whole image, 0 outside."""
        if mask.shape == self.whole.shape:
            return mask
        voxels = np.zeros(self.whole.shape, mask.voxels.dtype)
        voxels[tuple(slice(a, a + n) for a, n in zip(self.start, mask.shape, strict=True))] = mask.voxels
        return self.whole.with_voxels(voxels)

    def prompts(self, given: Sequence[Prompt]) -> tuple[Prompt, ...]:
        """Prompts of the part in voxels of the whole image."""
        return tuple(_moved(prompt, self.start, self.restored) for prompt in given)

    def shown(self, given: Sequence[Prompt]) -> tuple[Prompt, ...]:
        """Prompts of the whole image in voxels of the part, which holds them."""
        back: Index = (-self.start[0], -self.start[1], -self.start[2])
        stop = [a + n for a, n in zip(self.start, self.case.image.shape, strict=True)]
        return tuple(_moved(prompt, back, lambda mask: mask.crop(self.start, stop)) for prompt in given)

    def step(self, step: Step) -> Step:
        """A round in the part as one of the whole image."""
        mask = self.restored(step.mask(self.case.image))
        return replace(step, prompts=self.prompts(step.prompts), packed=np.packbits(mask.voxels))


def part_round_reference(case: Case, roi: str, cube: Cube | None) -> Part:
    """What a model is shown of a case: a cube round the reference, cut off where the image ends, or all of it.

    Args:
        case: with the reference.
        roi: name of the reference; when it is empty the cube lies in the middle of the image, as published.
        cube: how much; None for the whole case.
    """
    image = case.image
    if cube is None:
        return Part(case, image)
    box = tight_box(case.mask(roi)) or Box((0, 0, 0), image.shape)
    sides = cube.sides(image)
    first = [(a + b) // 2 - side // 2 for a, b, side in zip(box.start, box.stop, sides, strict=True)]
    start = [max(0, a) for a in first]
    stop = [min(n, a + side) for a, side, n in zip(first, sides, image.shape, strict=True)]
    masks = {name: mask.crop(start, stop) for name, mask in case.masks.items()}
    shown = Case(case.name, case.patient, image.crop(start, stop), masks, case.facts, case.notes)
    note = f"The model was shown {cube} round the reference, not the whole image."
    return Part(shown, image, (start[0], start[1], start[2]), note)


def _moved(prompt: Prompt, by: Index, mask: Callable[[Volume], Volume]) -> Prompt:
    def there(index: Index) -> Index:
        return (index[0] + by[0], index[1] + by[1], index[2] + by[2])

    match prompt:
        case Box():
            return replace(prompt, start=there(prompt.start), stop=there(prompt.stop))
        case Click():
            return replace(prompt, index=there(prompt.index))
        case Scribble():
            return replace(prompt, indices=tuple(there(index) for index in prompt.indices))
        case MaskPrompt():
            return replace(prompt, mask=mask(prompt.mask))
