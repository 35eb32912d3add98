"""Whether an image that is trained on in one data set is scored in another, whatever its patient is called there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.contracts import Dataset
from oncoseg.errors import InputError, OncosegError
from oncoseg.experiments.matrix import Cell
from oncoseg.experiments.sides import Sides
from oncoseg.experiments.specs import DatasetSpec
from oncoseg.files import read_json, write_json

#: Folder of a run with the hashes of the images of a data set.
IMAGES = "images"


def require_other_images(cell: Cell, parted: Sides, output: Path) -> None:
    """Raise InputError when a scored image is one of those trained on, voxel by voxel; names both cases.

    Cases that cannot be read are passed over: training and scoring report them. Hashes are kept in the run, so every
    image is read once for it.

    Args:
        cell: trained on another data set than it is scored on; any other passes.
        parted: its sides.
        output: folder of the run.
    """
    if cell.source is None:
        return
    learned = {*parted.train, *parted.validation, *parted.choosing}
    trained = _hashes(cell.source_id, cell.source, learned, output)
    scored = _hashes(cell.dataset_id, cell.dataset, parted.test, output)
    known = {digest: case for case, digest in trained.items()}
    both = [(known[digest], case) for case, digest in scored.items() if digest in known]
    if both:
        first, second = both[0]
        raise InputError(
            f"{cell.label}: {len(both)} scored images are among those trained on: {second} of {cell.dataset_id} is "
            f"{first} of {cell.source_id}. Leave them out of one of the two with `cases` or split files."
        )


def image_hash(voxels: NDArray[Any]) -> str:
    """Hex SHA-256 of shape and values; equal for equal values of any type."""
    as_float = np.ascontiguousarray(voxels, np.float32)
    return hashlib.sha256(repr(as_float.shape).encode() + as_float.tobytes()).hexdigest()


def _hashes(name: str, spec: DatasetSpec, cases: Iterable[str], output: Path) -> dict[str, str]:
    """Case -> hash of its image."""
    # Lungs are masks, which nobody needs here and which may take long.
    dataset = replace(spec, lungs=None).open()
    held = output / IMAGES / f"{name}-{dataset.fingerprint()[:8]}.json"
    found: dict[str, str] = read_json(held) if held.exists() else {}
    missing = sorted(set(cases) - found.keys())
    found |= {case: digest for case in missing if (digest := _hash(dataset, case)) is not None}
    if missing:
        write_json(held, found)
    return {case: found[case] for case in sorted(cases) if case in found}


def _hash(dataset: Dataset, case: str) -> str | None:
    try:
        return image_hash(dataset.load(case).image.voxels)
    except OncosegError:
        return None
