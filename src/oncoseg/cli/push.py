"""`oncoseg push`: files into an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli import archives
from oncoseg.cli.show import say


def push(
    peer: archives.Peer,
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or folders that hold some.")],
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger to add to. Default: ledger.jsonl in the current folder.")
    ] = None,
    title: archives.Title = "ONCOSEG",
    tls: archives.Tls = False,
    ca: archives.Ca = None,
    certificate: archives.Certificate = None,
    key: archives.Key = None,
    credentials: archives.CredentialsFile = None,
    attempts: archives.Attempts = 6,
) -> None:
    """Send objects, by DICOMweb or DIMSE: each once. The archive is asked what it has before anything is sent."""
    from oncoseg.errors import PartialFailureError
    from oncoseg.pacs.ledger import LEDGER, Ledger
    from oncoseg.pacs.opening import open_archive
    from oncoseg.pacs.pushing import outgoing
    from oncoseg.pacs.pushing import push as push_all

    protected = archives.security(credentials, tls=tls, ca=ca, certificate=certificate, key=key)
    archive = open_archive(peer, protected, title)
    found = outgoing(files)
    # Not beside the files: folders that are pushed may be somebody's archive of images.
    place = ledger or Path(LEDGER)
    done = push_all(archive, found, Ledger(place), archives.patience(attempts))
    say(f"{len(found)} object(s): {done.sent} sent, {done.there} were there; ledger {place}")
    if done.refused:
        first, reason = next(iter(done.refused.items()))
        raise PartialFailureError(f"{len(done.refused)} object(s) were refused, e.g. {first}: {reason}.")
