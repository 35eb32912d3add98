"""The case: one image of one patient with the experts' masks; the unit of every statistic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.volume import Volume

#: Name of the mask that models segment and scores are computed on.
TUMOUR = "tumour"


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its reference masks, all on one grid.

    Attributes:
        name: unique within the data set; used in file names.
        patient: splits never put one patient on two sides.
        image: HU (CT) or raw intensities (MR), at the scanner's spacing.
        masks: ROI name -> bool volume; `tumour` is the one to segment. Others may be
            `lung_left`, `lung_right`, `reader_1`, ...
        facts: acquisition facts worth a column (modality, spacing, volume, scanner ...).
        notes: warnings that every report on this case repeats.

    Raises:
        InputError: for a mask that is not boolean.
        GridMismatchError: for a mask on another grid than the image.
    """

    name: str
    patient: str
    image: Volume
    masks: Mapping[str, Volume] = field(default_factory=dict)
    facts: Mapping[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for roi, mask in self.masks.items():
            self.image.require_same_grid(mask, f"case {self.name}: image and mask '{roi}'")
            if mask.voxels.dtype != bool:
                raise InputError(f"case {self.name}: mask '{roi}' must be boolean, got {mask.voxels.dtype}.")
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def mask(self, roi: str = TUMOUR) -> Volume:
        """The reference mask of one ROI.

        Raises:
            UnknownNameError: names the ROIs the case has.
        """
        if roi not in self.masks:
            raise UnknownNameError(f"ROI of case {self.name}", roi, self.masks)
        return self.masks[roi]
