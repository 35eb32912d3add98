"""NIfTI files as challenges publish them: in whatever folders, zipped or not, test cases without a segmentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from oncoseg.case import Case
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.io.case_files import CaseFiles, FileDataset, LabelMap, read_case

_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


class ChallengeDataset(FileDataset):
    """A challenge's labelled cases; one that is listed and lacks a file says so when it is loaded.

    Attributes:
        excluded: case -> why it is left out though it has a segmentation.
    """

    def __init__(
        self,
        info: DatasetInfo,
        root: Path,
        cases: Iterable[CaseFiles],
        labels: LabelMap,
        *,
        excluded: Mapping[str, str],
    ) -> None:
        self.excluded: Mapping[str, str] = dict(excluded)
        super().__init__(info, root, (c for c in cases if c.case not in self.excluded), labels)

    def load(self, case: str) -> Case:
        """Read one case.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: for an excluded case, with the reason; names the file that is missing and the layout it
                belongs to, or the file that is broken, has label values outside the map, or lies on another grid.
        """
        if case in self.excluded:
            raise InputError(f"case {case} of {self.info.name} is left out: {self.excluded[case]}")
        if case in self._cases:
            for file in self._cases[case].files:
                if not file.exists():
                    raise InputError(f"{file} does not exist. {self.info.summary}")
            return self.read(self._cases[case])
        return super().load(case)

    def read(self, files: CaseFiles) -> Case:
        """The case of files that exist; raises as `read_case`."""
        return read_case(files, self.labels)


def find_nifti(root: Path, pattern: str) -> dict[tuple[str, ...], Path]:
    """Every `.nii` and `.nii.gz` file below a folder whose path fits.

    Args:
        root: searched with all its folders; side files of macOS and other hidden files are left out.
        pattern: regular expression that the path below `root`, with "/" and without suffix, must end with.

    Returns:
        The groups of the pattern -> the file.

    Raises:
        InputError: when `root` is no folder, or two files fit the same way, such as a zipped and an unzipped copy.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder. Give the data set's folder as `root`.")
    wanted = re.compile(rf"(?:^|/){pattern}$")
    found: dict[tuple[str, ...], Path] = {}
    for file in sorted(f for f in root.rglob("*") if _SUFFIX.search(f.name) and not f.name.startswith(".")):
        match = wanted.search(_SUFFIX.sub("", file.relative_to(root).as_posix()))
        if match is None or not file.is_file():
            continue
        if match.groups() in found:
            raise InputError(f"{found[match.groups()]} and {file} are the same file of the data set. Remove one.")
        found[match.groups()] = file
    return found


def telling_of_unlabelled(info: DatasetInfo, cases: Sequence[str]) -> DatasetInfo:
    """The info with a warning that these cases have no segmentation and are not used; as it is when there is none.

    Example:
        >>> info = DatasetInfo("lits", "LiTS", "Give it.", "own", None, "CT")
        >>> telling_of_unlabelled(info, ["volume-2", "volume-3"]).warning
        '2 cases that come without a segmentation are not used: volume-2 to volume-3.'
    """
    if not cases:
        return info
    span = f"{cases[0]} to {cases[-1]}" if len(cases) > 1 else cases[0]
    verb = (
        "cases that come without a segmentation are" if len(cases) > 1 else "case that comes without a segmentation is"
    )
    told = f"{len(cases)} {verb} not used: {span}."
    return replace(info, warning=f"{info.warning} {told}" if info.warning else told)
