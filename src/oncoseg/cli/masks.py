"""Masks given on the command line: one tumour, or labels of which the user names the tumour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oncoseg.cli.show import say
from oncoseg.errors import InputError
from oncoseg.volume import Volume

#: Values besides 0 in a label map; whole-body maps have about 120.
MOST_LABELS = 255


def read_binary_mask(path: Path, labels: list[int] | None) -> Volume:
    """Read a mask file as one binary mask.

    Args:
        path: NIfTI or NRRD with whole-number values.
        labels: values that are tumour, a file without them is an empty mask, which is said when it holds
            others; None accepts files with one value besides 0.

    Raises:
        InputError: when several labels exist and none was chosen, or the values are those of an image.
    """
    from oncoseg.io.images import read_labels

    volume = read_labels(path)
    found = np.unique(volume.voxels)
    found = found[found != 0]
    values = ", ".join(str(int(v)) for v in found[:8])
    if found.size > MOST_LABELS or (found < 0).any():
        raise InputError(
            f"{path} holds {found.size} values besides 0 ({values} ...): that is an image, not a mask. "
            "Give the mask, as NIfTI or NRRD."
        )
    if labels:
        if found.size and not np.isin(found, labels).any():
            say(f"note: {path} holds label {values} and not {', '.join(map(str, labels))}: taken as no tumour")
        return volume.with_voxels(np.isin(volume.voxels, labels))
    if found.size > 1:
        raise InputError(f"{path} holds the labels {values}: say which is the tumour, e.g. --label {int(found[-1])}.")
    return volume.with_voxels(volume.voxels != 0)
