"""nnU-Net's raw layout: Dataset000_Name with dataset.json, imagesTr and labelsTr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import ConfigError, InputError
from oncoseg.files import read_json
from oncoseg.io.case_files import CaseFiles, FileDataset, label_map, patient_of

INFO = DatasetInfo(
    name="nnunet",
    title="nnU-Net raw data set",
    summary="Give `root`: a folder Dataset000_Name with dataset.json, imagesTr/case_0000.nii.gz, labelsTr/case.nii.gz.",
    licence="that of the files",
    doi=None,
    modality="any",
)


@dataclass(frozen=True)
class NnunetOptions:
    """Which data set and what of it.

    Attributes:
        root: folder that holds `dataset.json`.
        channel: which channel of a multi-modal set is the image.
        tumour: which label (or region) is the tumour, where the names leave it open.
        patient: regular expression found in the case's name; its first group (or all of it) is the patient.
            None: every case is a patient of its own, as nnU-Net assumes.
    """

    root: Path
    channel: int = 0
    tumour: str | None = None
    patient: str | None = None


def build(**options: Any) -> FileDataset:
    """Open the data set; options are the fields of `NnunetOptions`.

    Raises:
        InputError: when `dataset.json` is missing or wrong, or no case is found.
        ConfigError: for a wrong option.
    """
    chosen = fill(NnunetOptions, options, "data set nnunet")
    source = chosen.root / "dataset.json"
    described = read_json(source)
    if not isinstance(described, dict) or not isinstance(described.get("labels"), dict):
        raise InputError(f"{source} has no table 'labels'. Give the folder of an nnU-Net raw data set.")
    if "file_ending" not in described:
        raise InputError(
            f"{source} has no 'file_ending', which nnU-Net v2 writes. For the Decathlon's layout use `msd`."
        )
    channels = described.get("channel_names", {"0": "any"})
    if str(chosen.channel) not in channels:
        raise ConfigError(f"data set nnunet: channel {chosen.channel} is not one of {', '.join(channels)} of {source}.")
    modality = str(channels[str(chosen.channel)])
    info = replace(
        INFO,
        title=str(described.get("name", chosen.root.name)),
        modality=modality if modality in ("CT", "MR") else "any",
        licence=str(described.get("licence", described.get("license", INFO.licence))),
    )
    labels = label_map(described["labels"], chosen.tumour, str(source))
    return FileDataset(info, chosen.root, _cases(chosen, str(described["file_ending"])), labels)


def _cases(options: NnunetOptions, ending: str) -> Iterator[CaseFiles]:
    """Cases with an image or a label file; what is missing of a pair is named when the case is loaded."""
    images, labels = options.root / "imagesTr", options.root / "labelsTr"
    suffix = f"_{options.channel:04d}{ending}"
    names = {f.name[: -len(suffix)] for f in images.glob(f"*{suffix}")}
    names |= {f.name[: -len(ending)] for f in labels.glob(f"*{ending}")}
    for case in sorted(n for n in names if not n.startswith(".")):
        yield CaseFiles(case, patient_of(case, options.patient), images / f"{case}{suffix}", labels / f"{case}{ending}")
