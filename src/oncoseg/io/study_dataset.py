"""Studies of a DICOM tree as a data set: which are cases, which are left out and why, and in whose words."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oncoseg.case import Case
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.fingerprint import fingerprint
from oncoseg.io.dicom import read_series
from oncoseg.io.studies import ReadingRules, best_of_each, read_study, survey, without_tumour
from oncoseg.io.veil import Veil
from oncoseg.volume import Volume

_logger = logging.getLogger(__name__)


class StudyDataset:
    """A data set of DICOM studies; what `oncoseg.datasets` builds from a DICOM tree.

    Attributes:
        info: what the data set is.
        excluded: case -> reason, for everything that was found and cannot be used by its headers.
        damaged: those of them whose files are damaged or incomplete, and damaged files of no image series.
        undrawn: those of them whose image is in order and has no tumour drawn on it.
    """

    def __init__(self, info: DatasetInfo, root: Path, rules: ReadingRules) -> None:
        self.info, self.root, self.rules = info, root, rules
        studies, strays, unused = survey(root)
        self._veil = Veil(root, studies, rules.key) if rules.key else None
        if self._veil is not None:
            studies, strays = self._veil.renamed(studies), self._veil.numbered(strays)
        studies, passed_over = best_of_each(studies, rules) if rules.series == "best" else (studies, {})
        problems = {s.case: s.problem or without_tumour(s, rules) for s in studies}
        reasons = {case: self._shown(reason) for case, reason in problems.items() if reason}
        self.excluded: Mapping[str, str] = reasons | passed_over
        self.damaged: Mapping[str, str] = {
            s.case: self._shown(s.problem) for s in studies if s.problem and s.drawings
        } | {str(path): self._shown(message) for path, message in strays.items()}
        self._studies = {s.case: s for s in studies if s.case not in self.excluded}
        self._undrawn = {s.case: s.image for s in studies if s.case in reasons and not s.problem}
        self.undrawn: Sequence[str] = list(self._undrawn)
        for file in unused:
            _logger.warning(
                "%s: %s refers to no image series below the folder; it is not used.", info.name, self._shown(str(file))
            )
        for case, reason in self.excluded.items():
            _logger.warning("%s: case %s is left out: %s", info.name, case, reason)
        if not studies:
            raise InputError(f"{root} holds no DICOM image series. {info.summary}")

    def entries(self) -> Sequence[Entry]:
        """Every case that is not excluded, sorted by name."""
        return [Entry(s.case, s.patient) for s in self._studies.values()]

    def load(self, case: str) -> Case:
        """Read image and masks of one case.

        Raises:
            UnknownNameError: for a name not in `entries`; says why when it is excluded.
            InputError: names the file that is wrong.
        """
        if case in self.excluded:
            raise InputError(f"case {case} of {self.info.name} is left out: {self.excluded[case]}")
        if case not in self._studies:
            raise UnknownNameError(f"case of {self.info.name}", case, self._studies)
        with self._veiled():
            return read_study(self._studies[case], self.rules)

    def image_of(self, case: str) -> tuple[Volume, str]:
        """Image and modality of a case that is left out because no tumour is drawn on it.

        Raises:
            UnknownNameError: for another case.
            InputError: names the file that is wrong.
        """
        if case not in self._undrawn:
            raise UnknownNameError(f"case without a drawing of {self.info.name}", case, self._undrawn)
        with self._veiled():
            return read_series(self._undrawn[case]), self._undrawn[case].modality

    @contextmanager
    def _veiled(self) -> Iterator[None]:
        """Errors without what names patients, where a key was given."""
        try:
            yield
        except InputError as error:
            if self._veil is None:
                raise
            # Without the original, whose text a traceback would show.
            raise type(error)(self._veil.over(str(error))) from None

    def _shown(self, message: str) -> str:
        return message if self._veil is None else self._veil.over(message)

    def fingerprint(self) -> str:
        """Hex SHA-256 of names and contents of all files that are read."""
        files = (f for s in self._studies.values() for f in (*s.image.files, *(d.path for d in s.drawings)))
        about: dict[str, Any] = {"prefer": self.rules.prefer, "several": self.rules.several}
        about["aliases"] = dict(self.rules.aliases)
        if self.rules.series != "all":
            about["series"] = self.rules.series
        if self._veil is not None:
            about["key"] = self._veil.names.mark
        return fingerprint(self.root, files, about)
