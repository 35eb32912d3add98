"""DIMSE as its provider: takes what is sent (C-STORE) and answers whether it is there (C-ECHO)."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from socketserver import TCPServer
from typing import Any

from pynetdicom import evt
from pynetdicom.presentation import AllStoragePresentationContexts, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from oncoseg.errors import InputError
from oncoseg.pacs.archive import RefusedError
from oncoseg.pacs.dimse import ENCODINGS, entity
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.peer import Security, is_loopback

#: Longest PDU that is read, bytes: ten times what we say we take, since agreements are longer than data.
PDU_LIMIT = 2**20
#: Longest object that is taken, bytes; it is held in memory until it is whole.
OBJECT_LIMIT = 2**31
#: Associations at once.
ASSOCIATIONS = 8
#: What the sender of an object is told.
SUCCESS, REFUSED, NO_SPACE = 0x0000, 0xC000, 0xA700

_LOG = logging.getLogger(__name__)


class _BoundedSocket(AssociationSocket):
    """Reads no PDU longer than the limit, whatever length its first bytes say, and no endless object."""

    received = 0

    def recv(self, nr_bytes: int) -> bytearray:
        self.received += nr_bytes
        if nr_bytes > PDU_LIMIT or self.received > OBJECT_LIMIT:
            _LOG.error("a peer sends more than is taken; its connection is closed")
            self._shutdown_socket()
            raise OSError("more than is taken")
        read: bytearray = super().recv(nr_bytes)
        return read


class _BoundedHandler(RequestHandler):
    """Gives every association a bounded socket."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        plain: Any = association.dul.socket
        association.dul.socket = _BoundedSocket(association, client_socket=plain.socket)
        association.dul.event_queue.get_nowait()  # each socket announces the connection; once is right
        return association


class StorageProvider:
    """Takes objects that others send (C-STORE), within limits, and answers C-ECHO.

    Args:
        title: our application entity title; calls by another are rejected.
        stored: handles one object and returns the status that its sender is told.
        callers: titles that may call; empty for all.
        security: `certificate` and `key` make it TLS, and `ca` asks callers for certificates.
    """

    def __init__(
        self,
        title: str,
        stored: Callable[[evt.Event], int],
        *,
        callers: tuple[str, ...] = (),
        security: Security | None = None,
    ) -> None:
        self._title, self._stored, self._callers = title, stored, callers
        self._tls = _server_context(security or Security())
        self._server: Any = None

    def start(self, host: str, port: int) -> int:
        """Listen in the background; returns the port, which the system chooses for 0.

        Raises:
            InputError: when the port is taken or may not be used.
        """
        ours = entity(self._title)
        ours.require_called_aet = True
        ours.require_calling_aet = list(self._callers)
        ours.maximum_associations = ASSOCIATIONS
        contexts = [build_context(c.abstract_syntax, list(ENCODINGS)) for c in AllStoragePresentationContexts]
        try:
            self._server = ours.make_server(
                (host, port),
                contexts=[*contexts, build_context(Verification)],
                ssl_context=self._tls,
                evt_handlers=[(evt.EVT_C_STORE, self._one), (evt.EVT_C_ECHO, lambda event: SUCCESS)],
                server_class=ThreadedAssociationServer,
                request_handler=_BoundedHandler,
            )
        except (OSError, socket.gaierror) as error:
            raise InputError(f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another.") from error
        threading.Thread(target=self._server.serve_forever, daemon=True, name="receiver").start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Take no more associations and end those that are open."""
        if self._server is not None:
            for association in self._server.active_associations:
                association.abort()
            # The server's own method wants to be on a list that only `AE.start_server` keeps.
            TCPServer.shutdown(self._server)
            self._server.server_close()

    def _one(self, event: evt.Event) -> int:
        event.assoc.dul.socket.received = 0
        return self._stored(event)


class Receiver:
    """A storage provider that writes to an inbox.

    Args:
        inbox: keeps what comes.
        title: our application entity title; calls by another are rejected.
        callers: titles that may call; empty for all.
        security: `certificate` and `key` make it TLS, and `ca` asks callers for certificates.
    """

    def __init__(
        self, inbox: Inbox, title: str, *, callers: tuple[str, ...] = (), security: Security | None = None
    ) -> None:
        self.inbox = inbox
        self._provider = StorageProvider(title, self._stored, callers=callers, security=security)
        self._lock = threading.Lock()
        self._senders: dict[str, set[Any]] = {}
        self._last: dict[str, float] = {}

    def start(self, host: str, port: int) -> int:
        """As `StorageProvider.start`."""
        return self._provider.start(host, port)

    def stop(self) -> None:
        """As `StorageProvider.stop`."""
        self._provider.stop()

    def last(self, study: str) -> float | None:
        """When the newest object of a study came, by `time.monotonic`; None when none did since the start."""
        with self._lock:
            return self._last.get(study)

    def sending(self, study: str) -> bool:
        """Whether an association that brought objects of a study is still open."""
        with self._lock:
            return any(association.is_established for association in self._senders.get(study, ()))

    def came(self) -> list[str]:
        """Names of the folders of all studies of which something came since the start."""
        with self._lock:
            return list(self._last)

    def _stored(self, event: evt.Event) -> int:
        caller = f"{event.assoc.requestor.ae_title}@{event.assoc.requestor.address}"
        try:
            found = self.inbox.keep(event.encoded_dataset(), caller)
        except InputError as error:
            _LOG.error("%s", error)
            return NO_SPACE
        except RefusedError as error:
            _LOG.error("refused from %s: %s", caller, error)
            return REFUSED
        study = self.inbox.study_folder(found.study).name
        with self._lock:
            self._senders.setdefault(study, set()).add(event.assoc)
            self._senders[study] = {a for a in self._senders[study] if a.is_established}
            self._last[study] = time.monotonic()
        return SUCCESS


def _server_context(security: Security) -> ssl.SSLContext | None:
    if security.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(security.certificate, security.key)
    if security.ca is not None:
        context.load_verify_locations(security.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def require_exposed(host: str, *, exposed: bool, callers: tuple[str, ...]) -> None:
    """Raise InputError when others than this machine could connect and nobody said that they may, and who."""
    if not is_loopback(host) and not (exposed and callers):
        raise InputError(
            f"{host} is open to other machines. To allow that, say so with --expose and name who may call with --from "
            "TITLE; give --certificate and --key too, since DIMSE is not encrypted otherwise."
        )
