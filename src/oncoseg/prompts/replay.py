"""The prompts of an earlier run once more, to whichever model is to be compared on exactly the same ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from oncoseg.config import fill
from oncoseg.contracts import Recorded, SimulatorInfo
from oncoseg.errors import InputError
from oncoseg.files import require_file, sha256
from oncoseg.io.prompts import prompts_from, read_prompts
from oncoseg.score import Prediction, read_predictions
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="replay",
    summary="Exactly the prompts that an earlier run recorded, with their sources; no reference is needed.",
    prompts=(),
    source="as recorded: user, automatic, simulated user, jittered or oracle",
)
_PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class ReplayOptions:
    """Where the record is.

    Attributes:
        file: `predictions.jsonl` of a cell, the cell's folder, or a folder with a prompt file `CASE.json` a case.
    """

    file: Path


class Replay:
    """Reads prompts back by the name of the case; draw 2 of a case is recorded as `CASE~2`."""

    info = INFO

    def __init__(self, options: ReplayOptions) -> None:
        self.options = options

    def recorded(self, case: str, draw: int, image: Volume) -> Recorded:
        """What was given for one draw of one case; a folder of prompt files gives every draw the same.

        Raises:
            InputError: when the file is missing, holds no such case, or holds one that failed; or when a prompt does
                not fit the image.
        """
        if self._source is None:
            return Recorded(read_prompts(self.options.file / f"{case}.json", image), None)
        held = self._held(case, draw)
        prompts = prompts_from(held.prompts, image, folder=self._source.parent, source=self._source)
        # Whether this image was cut out round the reference is not for the record to say.
        return Recorded(prompts, replace(held.ledger, crop_centre_known=False))

    def fingerprint(self) -> str:
        """Hex SHA-256 of the record with its masks; of all files where it is a folder of prompt files.

        Raises:
            InputError: when the file is missing.
        """
        if self._source is None:
            files = sorted(path for path in self.options.file.iterdir() if path.is_file())
        else:
            require_file(self._source)
            named = (item["file"] for p in self._predictions.values() for item in p.prompts if item["type"] == "mask")
            files = [self._source, *(self._source.parent / name for name in sorted(named))]
        digest = hashlib.sha256()
        for file in files:
            require_file(file)
            digest.update(f"{file.name}\0{sha256(file)}\0".encode())
        return digest.hexdigest()

    @property
    def _source(self) -> Path | None:
        """The record of a run; None for a folder of prompt files."""
        file = self.options.file
        if not file.is_dir():
            return file
        return file / _PREDICTIONS if (file / _PREDICTIONS).exists() else None

    @cached_property
    def _predictions(self) -> dict[str, Prediction]:
        return {} if self._source is None else {p.case: p for p in read_predictions(self._source)}

    def _held(self, case: str, draw: int) -> Prediction:
        names = [f"{case}~{draw}", *([case] if draw == 1 else [])]
        held = next((self._predictions[name] for name in names if name in self._predictions), None)
        if held is None:
            raise InputError(
                f"{self._source} holds no prompts for {names[0]}. Give the record of a run on the same cases."
            )
        if held.error is not None:
            raise InputError(f"{self._source}: {held.case} failed there, so it has no prompts to give: {held.error}")
        return held


def build(**options: Any) -> Replay:
    """Make the replayer; options are the fields of `ReplayOptions`."""
    return Replay(fill(ReplayOptions, options, "prompt simulator replay"))
