"""Medical Segmentation Decathlon as downloaded: Task06 Lung, Task07 Pancreas, Task08 HepaticVessel, Task03 Liver.

Antonelli et al., Nat Commun 13:4128 (2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.files import read_json
from oncoseg.io.case_files import CaseFiles, FileDataset, label_map, without_suffix

INFO = DatasetInfo(
    name="msd",
    title="Medical Segmentation Decathlon",
    summary="Give `root`: an unpacked folder such as Task06_Lung with dataset.json, imagesTr and labelsTr.",
    licence="CC BY-SA 4.0",
    doi="10.1038/s41467-022-30695-9",
    modality="CT",
)

_WARNINGS = {
    "Task03": "Task03 Liver holds the same cases as LiTS: never put the two on different sides of a comparison.",
}


@dataclass(frozen=True)
class MsdOptions:
    """Which task.

    Attributes:
        root: folder that holds `dataset.json`.
        tumour: which label is the tumour; the tasks about tumours name one only.
    """

    root: Path
    tumour: str | None = None


def build(**options: Any) -> FileDataset:
    """Open a task; options are the fields of `MsdOptions`. Cases are those with public labels.

    Raises:
        InputError: when `dataset.json` is missing or has no `training` list.
        ConfigError: for a wrong option, or a task in which no label is the tumour.
    """
    chosen = fill(MsdOptions, options, "data set msd")
    source = chosen.root / "dataset.json"
    described = read_json(source)
    if not isinstance(described, dict) or not isinstance(described.get("labels"), dict):
        raise InputError(f"{source} has no table 'labels'. Give the folder of one task, e.g. Task06_Lung.")
    names = {str(name): int(value) for value, name in described["labels"].items()}
    labels = label_map(names, chosen.tumour, str(source))
    modality = next(iter(described.get("modality", {"0": "CT"}).values()))
    info = replace(
        INFO,
        title=f"{INFO.title}, {chosen.root.name}",
        part=chosen.root.name,
        modality="CT" if modality == "CT" else "MR" if "MR" in modality else "any",
        warning=next((text for task, text in _WARNINGS.items() if chosen.root.name.startswith(task)), None),
    )
    return FileDataset(info, chosen.root, _cases(chosen.root, described, source), labels)


def _cases(root: Path, described: Mapping[str, Any], source: Path) -> Iterator[CaseFiles]:
    """The training list; a listed file that is missing is named when its case is loaded or checked."""
    listed = described.get("training")
    if not isinstance(listed, list) or not all(isinstance(p, dict) and {"image", "label"} <= set(p) for p in listed):
        raise InputError(f"{source} has no list 'training' of image and label files. Unpack the archive again.")
    for pair in listed:
        image, label = Path(pair["image"]), Path(pair["label"])
        if not image.name.startswith("._"):  # side files of macOS
            case = without_suffix(image.name)
            yield CaseFiles(case, case, _as_found(root / image), _as_found(root / label))


def _as_found(listed: Path) -> Path:
    """The file itself, or its unzipped copy where only that is there: some mirrors unzip and keep the list."""
    unzipped = listed.with_suffix("") if listed.suffix == ".gz" else listed
    return unzipped if unzipped.exists() and not listed.exists() else listed
