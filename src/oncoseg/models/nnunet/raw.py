"""Cases as nnU-Net reads them: images, label maps, `dataset.json` and the split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.case import Case
from oncoseg.files import write_json, write_text
from oncoseg.inference.slices import axial_view
from oncoseg.io.images import write_volume
from oncoseg.models.nnunet.options import NnunetOptions
from oncoseg.preprocess.resample import resample
from oncoseg.volume import Volume

#: Name and number of the only data set in nnU-Net's folders.
DATASET, NUMBER = "Dataset001_oncoseg", 1
_WRITTEN = "written.json"


def write_cases(
    folder: Path, cases: Sequence[Case], options: NnunetOptions, tell: Callable[[int], None] = lambda done: None
) -> list[str]:
    """Write cases that are not written yet.

    Cases are turned to the axial display order and lie on a plain grid: nnU-Net looks at spacing alone.

    Args:
        folder: of the data set.
        cases: in an order that does not change; those already written are not read again.
        options: labels, spacing and window.
        tell: told the number of written cases after each.

    Returns:
        Their names inside nnU-Net, `case_0000` and so on, in order: those of our cases may hold any character.

    Raises:
        UnknownNameError: when a case lacks a mask that `options.labels` asks for.
    """
    source = folder / _WRITTEN
    written: list[str] = json.loads(source.read_text(encoding="utf-8")) if source.exists() else []
    for number in range(len(written), len(cases)):
        case, name = cases[number], f"case_{number:04d}"
        write_volume(folder / "imagesTr" / f"{name}_0000.nii.gz", image_for(case.image, options))
        write_volume(folder / "labelsTr" / f"{name}.nii.gz", _label_map(case, options))
        written.append(name)
        write_json(source, written)
        tell(len(written))
    write_json(folder / "dataset.json", described(len(written), options))
    return written


def described(cases: int, options: NnunetOptions) -> dict[str, Any]:
    """Content of `dataset.json`: one CT channel, and a number for each label."""
    labels = {name: number for number, name in enumerate(options.classes, start=1)}
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **labels},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }


def image_for(image: Volume, options: NnunetOptions) -> Volume:
    """An image as nnU-Net is given it: axial, float32, at the options' spacing and window, on a plain grid."""
    view = axial_view(image).volume
    voxels = view.voxels if options.window is None else np.clip(view.voxels, *options.window)
    moved = view.with_voxels(voxels.astype(np.float32))
    if options.spacing is not None:
        moved = resample(moved, spacing=options.spacing, order=3, antialias=True, clip=True)
    return Volume.from_spacing(moved.voxels, moved.spacing)


def split_of(names: Sequence[str], training: int, stage_folds: int) -> list[dict[str, list[str]]]:
    """Content of `splits_final.json`: our split first, then those of the cascade's first stage.

    Args:
        names: inside nnU-Net, training cases first.
        training: how many of them are trained on; all others choose nothing, they are only watched.
        stage_folds: parts that the first stage is cross-validated in; 1 gives none.

    Returns:
        {"train", "val"}; every case is once in "val" of the first stage, which never trains on it.
    """
    ours = {"train": list(names[:training]), "val": list(names[training:])}
    parts = [list(names[part::stage_folds]) for part in range(stage_folds if stage_folds > 1 else 0)]
    return [ours, *({"train": [n for n in names if n not in part], "val": part} for part in parts)]


def write_split(folder: Path, splits: Sequence[dict[str, list[str]]]) -> None:
    """Write `splits_final.json`."""
    write_text(folder / "splits_final.json", json.dumps(list(splits), indent=2) + "\n")


def _label_map(case: Case, options: NnunetOptions) -> Volume:
    """Class of every voxel as uint8; where masks overlap the later class counts, so tumour overrides lung."""
    classes: Volume | None = None
    for number, name in enumerate(options.classes, start=1):
        mask = axial_view(case.mask(name)).volume
        if options.spacing is not None:
            mask = resample(mask, spacing=options.spacing, order=0)
        if classes is None:
            classes = mask.with_voxels(np.zeros(mask.shape, np.uint8))
        classes.voxels[mask.voxels] = number
    if classes is None:  # an options class always names the tumour
        raise AssertionError("no class")
    return Volume.from_spacing(classes.voxels, classes.spacing)
