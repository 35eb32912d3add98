"""How much of the references lies outside the part of an image that a model looks at; it is said and scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncoseg.contracts import Model, Windowed
from oncoseg.inference.slices import axial_view
from oncoseg.volume import Volume


@dataclass
class Coverage:
    """Counts over the scored cases; the model never learns of them.

    Attributes:
        cases: with a window.
        slices, voxels: of the references, on axial slices.
        slices_outside: slices with any tumour outside the window.
        voxels_outside: tumour outside.
    """

    cases: int = 0
    slices: int = 0
    voxels: int = 0
    slices_outside: int = 0
    voxels_outside: int = 0

    def add(self, model: Model, image: Volume, reference: Volume) -> str | None:
        """Count one case; a sentence where some of its tumour lies outside, None otherwise."""
        window = model.window_on(image) if isinstance(model, Windowed) else None
        if window is None:
            return None
        tumour = axial_view(reference).volume.voxels
        missed = axial_view(reference.with_voxels(reference.voxels & ~window)).volume.voxels
        found = [int(np.count_nonzero(part.any(axis=(1, 2)))) for part in (tumour, missed)]
        counted = [int(np.count_nonzero(part)) for part in (tumour, missed)]
        self.cases += 1
        self.slices, self.slices_outside = self.slices + found[0], self.slices_outside + found[1]
        self.voxels, self.voxels_outside = self.voxels + counted[0], self.voxels_outside + counted[1]
        if not counted[1]:
            return None
        share = _share(counted[1], counted[0], "tumour voxels")
        return f"Outside the model's window: {share} on {found[1]} of {found[0]} slices."

    @property
    def told(self) -> list[str]:
        """One sentence over all cases; none without a window."""
        if not self.cases:
            return []
        slices = _share(self.slices_outside, self.slices, "slices with tumour have some of it")
        voxels = _share(self.voxels_outside, self.voxels, "tumour voxels")
        return [f"{slices} outside the window, {voxels} lie there; all of it is scored."]


def _share(part: int, whole: int, what: str) -> str:
    return f"{part} of {whole} {what} ({part / max(whole, 1):.1%})"
