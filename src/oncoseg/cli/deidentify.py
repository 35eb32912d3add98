"""`oncoseg deidentify`: a folder of DICOM files without what identifies patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from oncoseg.cli.show import say


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of DICOM files; only read.")],
    out: Annotated[Path, typer.Argument(help="Folder for the new files, outside IN; made or completed.")],
    keep_dates: Annotated[
        Literal["shift", "remove"],
        typer.Option(
            help="shift: a patient's dates move back by one number of days; remove: as the basic profile says."
        ),
    ] = "shift",
    key: Annotated[
        Path | None,
        typer.Option(help="File with the key of the mapping, made when absent. Keep it apart from OUT, and secret."),
    ] = None,
) -> None:
    """Take what identifies patients out of DICOM files: PS3.15 basic profile, identifiers and dates consistent.

    Text that is burned into pixels cannot be found by headers and stays.
    """
    from oncoseg.errors import PartialFailureError
    from oncoseg.preparation.deidentifying import deidentify_folder

    result = deidentify_folder(source, out, dates=keep_dates, key=key, say=say)
    say(
        f"{out}: {result.written} files written, {result.skipped} already there, {len(result.left_out)} left out, "
        f"{result.others} that are no DICOM not copied"
    )
    for path, reason in result.left_out.items():
        say(f"  left out {path}: {reason}")
    say("Only headers were looked at: text burned into pixels stays. Look at the images before you give them on.")
    if result.screens:
        say(f"{result.screens} files are of a kind that often shows text in its pixels (screens, ultrasound).")
    if not result.key_kept:
        say("No --key was given: nobody can give the same names again or go on with this folder.")
    if result.failed:
        lines = "\n".join(f"  {reason}" for reason in result.failed.values())
        raise PartialFailureError(f"{len(result.failed)} files could not be read; the others are in {out}.\n{lines}")
