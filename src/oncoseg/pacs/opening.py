"""Archives by their address; the libraries that speak to them are loaded here, when they are needed."""

from __future__ import annotations

from importlib.util import find_spec

from oncoseg.errors import InputError
from oncoseg.pacs.archive import Archive
from oncoseg.pacs.peer import Security, WebPeer, parse_peer, require_aet

#: Our application entity title where nobody says another.
TITLE = "ONCOSEG"


def open_archive(text: str, security: Security, title: str = TITLE) -> Archive:
    """The archive at `https://host/dicom-web` or `AET@host:port`; nothing is sent yet.

    Args:
        text: its address.
        security: certificates and credentials.
        title: our application entity title, for DIMSE.

    Raises:
        InputError: for another text, credentials that would go unencrypted, or a library that is missing.
    """
    peer = parse_peer(text)
    require_aet(title)
    require_libraries()
    if isinstance(peer, WebPeer):
        from oncoseg.pacs.web import WebArchive

        return WebArchive(peer, security)
    from oncoseg.pacs.dimse import DimseArchive

    return DimseArchive(peer, security, title)


def require_libraries() -> None:
    """Raise InputError unless the extra `pacs` is installed."""
    for name in ("pynetdicom", "dicomweb_client"):
        if find_spec(name) is None:
            raise InputError(f"Archives are reached through {name}, which is missing: pip install 'oncoseg[pacs]'.")
