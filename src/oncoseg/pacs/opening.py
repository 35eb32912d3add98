"""Archives by their address; the libraries that speak to them are loaded here, when they are needed."""

from __future__ import annotations

from importlib.util import find_spec

from oncoseg.errors import InputError
from oncoseg.pacs.archive import Archive
from oncoseg.pacs.peer import Security, WebPeer, parse_peer, require_aet

#: Our application entity title where nobody says another.
TITLE = "ONCOSEG"


def open_archive(
    text: str, security: Security, title: str = TITLE, *, move_to: tuple[str, int] | None = None
) -> Archive:
    """The archive at `https://host/dicom-web` or `AET@host:port`; nothing is sent yet.

    Args:
        text: its address.
        security: certificates and credentials.
        title: our application entity title, for DIMSE.
        move_to: address and port of ours that objects are sent to (C-MOVE); None for C-GET.

    Raises:
        InputError: for another text, credentials that would go unencrypted, a library that is missing, or `move_to`
            with DICOMweb.
    """
    peer = parse_peer(text)
    require_aet(title)
    require_libraries()
    if isinstance(peer, WebPeer) and move_to is not None:
        raise InputError(f"--move is for DIMSE; {peer.url} is asked by DICOMweb. Leave it away.")
    if isinstance(peer, WebPeer):
        from oncoseg.pacs.web import WebArchive

        return WebArchive(peer, security)
    if move_to is not None:
        from oncoseg.pacs.moving import MovingArchive

        return MovingArchive(peer, security, title, move_to)
    from oncoseg.pacs.dimse import DimseArchive

    return DimseArchive(peer, security, title)


def require_libraries() -> None:
    """Raise InputError unless the extra `pacs` is installed."""
    for name in ("pynetdicom", "dicomweb_client"):
        if find_spec(name) is None:
            raise InputError(f"Archives are reached through {name}, which is missing: pip install 'oncoseg[pacs]'.")
