"""`oncoseg pull`: series from an archive into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli import archives
from oncoseg.cli.show import say


def pull(
    peer: archives.Peer,
    out: Annotated[Path, typer.Option(help="Folder for the objects and the ledger.")],
    study: Annotated[str, typer.Option(help="StudyInstanceUID.")] = "",
    series: Annotated[str, typer.Option(help="SeriesInstanceUID.")] = "",
    patient: Annotated[str, typer.Option(help="PatientID, as it is.")] = "",
    modality: Annotated[str, typer.Option(help="CT, MR, RTSTRUCT ...")] = "",
    date: Annotated[str, typer.Option(help="StudyDate: YYYYMMDD or YYYYMMDD-YYYYMMDD.")] = "",
    move: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port of ours that the archive sends to (C-MOVE), which it must know. Default: C-GET.",
        ),
    ] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on with --move.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="Let another machine connect to --bind.")] = False,
    title: archives.Title = "ONCOSEG",
    tls: archives.Tls = False,
    ca: archives.Ca = None,
    certificate: archives.Certificate = None,
    key: archives.Key = None,
    credentials: archives.CredentialsFile = None,
    attempts: archives.Attempts = 6,
) -> None:
    """Fetch the series that fit, by DICOMweb or DIMSE. What is there is not fetched again; files are whole or absent.

    Names of files say nothing of the patient; `ledger.jsonl` says what came, when, and its SHA-256.
    """
    from oncoseg.errors import FetchError, PartialFailureError
    from oncoseg.pacs.archive import Query
    from oncoseg.pacs.opening import open_archive
    from oncoseg.pacs.pulling import pull as pull_all

    query = Query(study, series, patient, modality, date)
    move_to = None if move is None else archives.opened_to(bind, move, exposed=expose)
    protected = archives.security(credentials, tls=tls, ca=ca, certificate=certificate, key=key)
    done = pull_all(open_archive(peer, protected, title, move_to=move_to), query, out, archives.patience(attempts))
    for folder in done.folders:
        say(str(folder))
    say(f"{done.series} series: {done.fetched} object(s) fetched, {done.there} were there; {out / 'ledger.jsonl'}")
    if not done.series:
        raise FetchError(f"{peer} has no series that fits. Check the identifiers, and what it lets us see.")
    if done.refused:
        first, reason = next(iter(done.refused.items()))
        raise PartialFailureError(f"{len(done.refused)} object(s) could not be had, e.g. {first}: {reason}.")
