"""`oncoseg data`: check a data set, import another layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Check a data set; import other layouts into a prepared folder.")

if TYPE_CHECKING:
    from oncoseg.preparation.importing import ImportResult

Settings = Annotated[list[str] | None, typer.Option("--set", help="Option of the data set, name=value. Repeatable.")]


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="A name from `oncoseg datasets`, a prepared folder, or one of DICOM.")],
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="New folder for a DICOM folder without what disturbs (copies, localisers); then checks that."
        ),
    ] = None,
) -> None:
    """Read every case and say what is wrong with it: geometry, values, references, duplicates."""
    from oncoseg.cli.progress import case_bar
    from oncoseg.cli.settings import open_dataset
    from oncoseg.config import plain
    from oncoseg.contracts import Undrawn
    from oncoseg.errors import PartialFailureError
    from oncoseg.preparation.checking import check_dataset

    dataset, settings = _as_dicom(dataset, settings or [])
    if fix is not None:
        settings = _fixed(dataset, settings, fix)
    opened = open_dataset(dataset, settings)
    undrawn = len(opened.undrawn) if isinstance(opened, Undrawn) else 0
    with case_bar(len(opened.entries()) + undrawn) as tell:
        findings = check_dataset(opened, tell)
    if as_json:
        print_json([plain(f) for f in findings])
    elif findings:
        print_table(
            f"Findings in {dataset}",
            ["case", "severity", "message"],
            [[f.case, f.severity, f.message] for f in findings],
        )
    errors = {f.case for f in findings if f.severity == "error"}
    found = len({*(e.case for e in opened.entries()), *errors})
    say(f"{found} cases, {len(findings)} findings, {len(errors)} cases with errors")
    if errors:
        raise PartialFailureError(f"{len(errors)} of {found} cases cannot be used: {', '.join(sorted(errors)[:5])}")


def _as_dicom(dataset: str, settings: list[str]) -> tuple[str, list[str]]:
    """A folder of DICOM files as the data set `dicom`; anything else as it is."""
    from oncoseg import registry
    from oncoseg.preparation.importing import recognise

    folder = Path(dataset)
    if dataset in registry.names("datasets") or not folder.is_dir() or recognise(folder) != "dicom":
        return dataset, settings
    return "dicom", [f"root={folder}", *settings]


def _fixed(dataset: str, settings: list[str], target: Path) -> list[str]:
    """Mend the root of a DICOM data set into a new folder; the settings with that as root."""
    from oncoseg.config import parse_settings
    from oncoseg.errors import InputError
    from oncoseg.preparation.repairing import repair_folder

    root = parse_settings(settings).get("root")
    if root is None or dataset not in ("dicom", "lung1"):
        raise InputError(
            f"--fix mends folders of DICOM files; {dataset} is none. Give the folder, or --set root=FOLDER."
        )
    made = repair_folder(Path(str(root)), target, say)
    say(f"{target}: {made.copied} files copied, {len(made.left_out)} left out; {root} is as it was")
    return [f"root={target}", *(s for s in settings if not s.startswith("root="))]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="DICOM tree, MSD task, nnU-Net data set, or folder of pairs.")],
    target: Annotated[Path, typer.Argument(help="Prepared folder to make or to complete.")],
    layout: Annotated[str, typer.Option(help="auto, dicom, msd, nnunet, pairs, or a data set with a root.")] = "auto",
    settings: Settings = None,
) -> None:
    """Import a data set into a prepared folder; finished cases are skipped, a bad one does not stop the rest."""
    from oncoseg.config import parse_settings
    from oncoseg.preparation.importing import import_dataset

    result = import_dataset(source, target, layout=layout, say=say, **parse_settings(settings or []))
    _tell(result)


@app.command()
def export(
    dataset: Annotated[str, typer.Argument(help="A name from `oncoseg datasets`.")],
    target: Annotated[Path, typer.Argument(help="Prepared folder to make or to complete.")],
    settings: Settings = None,
) -> None:
    """Write any data set as a prepared folder of NIfTI files; finished cases are skipped."""
    from oncoseg.cli.settings import open_dataset
    from oncoseg.config import parse_settings
    from oncoseg.preparation.importing import prepare

    opened = open_dataset(dataset, settings or [])
    _tell(prepare(opened, target, begun_with={"layout": dataset, "options": parse_settings(settings or [])}, say=say))


def _tell(result: ImportResult) -> None:
    """Say what was written; fail when a case could not be."""
    from oncoseg.errors import PartialFailureError

    counts = f"{len(result.imported)} written, {len(result.skipped)} already there, {len(result.failed)} failed"
    say(f"{result.target}: {counts}, {len(result.excluded)} left out by the data set")
    for case, reason in result.excluded.items():
        if case not in result.damaged:
            say(f"  left out {case}: {reason}")
    if unread := {**result.failed, **result.damaged}:
        lines = "\n".join(f"  {case}: {reason}" for case, reason in unread.items())
        raise PartialFailureError(f"{len(unread)} cases could not be read; the others are in {result.target}.\n{lines}")
