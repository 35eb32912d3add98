"""Names and messages about a DICOM tree in which nothing of its patients, paths and descriptions is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oncoseg.io.pseudonyms import read_key

if TYPE_CHECKING:
    from oncoseg.io.dicom import Series
    from oncoseg.io.studies import Study


class Veil:
    """What stands for patients, paths and descriptions of a tree in names and messages that are kept.

    Args:
        root: of the tree.
        studies: found in it.
        key: file with the key of `io.pseudonyms`.
    """

    def __init__(self, root: Path, studies: Sequence[Study], key: Path) -> None:
        self.names = read_key(key)
        paths = {str(root): "ROOT"}
        texts: dict[str, str] = {}
        for study in studies:
            patient = self.names.patient(_identity(study.image))
            files = [*study.image.files, *(d.path for d in study.drawings)]
            paths |= {str(file): f"{patient}/file-{self.names.text('path', str(file))}" for file in files}
            texts |= {study.image.uid: self.names.uid(study.image.uid), study.image.study: "STUDY"}
            texts |= {study.image.patient: patient, study.image.description: "SERIES"}
        for file in root.rglob("*"):
            paths.setdefault(str(file), f"file-{self.names.text('path', str(file))}")
        self._shown = texts | paths
        # A patient's ID may be a number or a word: only whole words are replaced.
        whole = [rf"(?<!\w){re.escape(text)}(?!\w)" for text in sorted(texts, key=len, reverse=True) if text]
        parts = [re.escape(path) for path in sorted(paths, key=len, reverse=True)]
        self._pattern = re.compile("|".join([*parts, *whole]))

    def over(self, message: str) -> str:
        """A message with every path, patient, description and UID of the tree replaced."""
        return self._pattern.sub(lambda found: self._shown[found[0]], message)

    def renamed(self, studies: Sequence[Study]) -> list[Study]:
        """Studies named by the key; several of a patient are told apart by their series."""
        patients = [self.names.patient(_identity(s.image)) for s in studies]
        counts = Counter(patients)
        made = []
        for study, patient in zip(studies, patients, strict=True):
            case = patient if counts[patient] == 1 else f"{patient}_{self.names.text('series', study.image.uid)}"
            made.append(replace(study, case=case, patient=patient))
        return sorted(made, key=lambda s: s.case)

    def numbered(self, strays: Mapping[Path, str]) -> dict[Path, str]:
        """Damaged files under names that say nothing."""
        return {Path(self.over(str(path))): message for path, message in strays.items()}


def _identity(image: Series) -> str:
    return image.patient.strip() or image.study
