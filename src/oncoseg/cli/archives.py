"""Options that the verbs for archives share: how a connection is protected and how long it is tried."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import say

if TYPE_CHECKING:
    from oncoseg.pacs.peer import Security
    from oncoseg.pacs.retry import Patience

Peer = Annotated[str, typer.Argument(help="URL of DICOMweb services, or TITLE@host:port for DIMSE.")]
Title = Annotated[str, typer.Option("--aet", help="Our application entity title, for DIMSE.")]
Tls = Annotated[bool, typer.Option("--tls", help="DIMSE over TLS; https says it for DICOMweb.")]
Ca = Annotated[Path | None, typer.Option(help="PEM file of the authorities to trust. Default: the system's.")]
Certificate = Annotated[Path | None, typer.Option(help="PEM file of our certificate.")]
Key = Annotated[Path | None, typer.Option(help="PEM file of its key, where it is a file of its own.")]
CredentialsFile = Annotated[
    Path | None,
    typer.Option("--credentials", help="TOML file of user and password, or token. Default: the environment."),
]
Attempts = Annotated[int, typer.Option(min=1, help="Attempts in a row without progress before giving up.")]


def security(
    credentials_file: Path | None, *, tls: bool, ca: Path | None, certificate: Path | None, key: Path | None
) -> Security:
    """What these options say together."""
    from oncoseg.pacs.peer import Security, credentials

    return Security(tls, ca, certificate, key, credentials(credentials_file))


def patience(attempts: int) -> Patience:
    """Says every failure."""
    from oncoseg.pacs.retry import Patience

    return Patience(attempts, say=say)


def opened_to(bind: str, port: int, *, exposed: bool) -> tuple[str, int]:
    """Address and port that an archive sends to, once others may connect there or cannot.

    Raises:
        InputError: for an address that other machines reach, unless `exposed`.
    """
    from oncoseg.errors import InputError
    from oncoseg.pacs.peer import is_loopback

    if not is_loopback(bind) and not exposed:
        raise InputError(
            f"{bind} is open to other machines while the archive sends. To allow that, say so with --expose, and give "
            "--tls, --certificate and --key where you can: DIMSE is not encrypted otherwise."
        )
    return bind, port
