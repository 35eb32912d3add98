"""DIMSE archives that send what they are asked for to a port of ours (C-MOVE, PS3.4 C.4.2): many offer no C-GET."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from io import BytesIO

from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as MoveModel,
)

from oncoseg.errors import InputError
from oncoseg.pacs.archive import Instance, RefusedError, TransientError
from oncoseg.pacs.dimse import DimseArchive, in_parts, of_instances, require_success, within
from oncoseg.pacs.inbox import identify
from oncoseg.pacs.peer import DimsePeer, Security
from oncoseg.pacs.receiver import NO_SPACE, REFUSED, SUCCESS, StorageProvider


class MovingArchive(DimseArchive):
    """An archive by DIMSE that is asked by C-MOVE.

    While it is fetched from, a port is open to callers of the archive's own title, and takes only what was asked for.

    Args:
        peer: its title and address.
        security: with `tls` both directions are encrypted, and `certificate` is ours there too.
        title: our application entity title, which the archive must know with this machine and the port.
        address: of ours that objects are sent to, and the port that the archive knows our title by.

    Raises:
        InputError: for TLS without a certificate of ours.
    """

    def __init__(self, peer: DimsePeer, security: Security, title: str, address: tuple[str, int]) -> None:
        super().__init__(peer, security, title)
        if security.tls and security.certificate is None:
            raise InputError("--move with --tls needs our --certificate (and --key): the archive calls us too.")
        self._security, self._address = security if security.tls else None, address

    def fetch(self, wanted: Sequence[Instance], keep: Callable[[bytes], None]) -> None:
        """As `Archive.fetch`."""
        handed = _Handed(frozenset(instance.sop for instance in wanted), keep)
        provider = StorageProvider(self.title, handed, callers=(self.peer.aet,), security=self._security)
        provider.start(*self._address)
        try:
            with self.associated([build_context(MoveModel)]) as association:
                in_parts(wanted, lambda part: self._move(association, part, handed), handed.errors)
        finally:
            provider.stop()

    def _move(self, association: Association, part: Sequence[Instance], handed: _Handed) -> None:
        for status, _ in within(association.send_c_move, of_instances(part), self.title, MoveModel):
            if handed.errors:
                raise handed.errors[0]
            try:
                require_success(status, "C-MOVE")
            except RefusedError as error:  # 0xA801 says it, and other archives say 0xC000 of it
                raise RefusedError(
                    f"{error}. The archive must know {self.title} by this machine's address and port {self._address[1]}"
                ) from error


class _Handed:
    """Hands on the objects that were asked for, one at a time, and remembers what went wrong."""

    def __init__(self, asked: frozenset[str], keep: Callable[[bytes], None]) -> None:
        self.errors: list[Exception] = []
        self._asked, self._keep, self._lock = asked, keep, threading.Lock()

    def __call__(self, event: evt.Event) -> int:
        content = event.encoded_dataset()
        with self._lock:
            try:
                if identify(BytesIO(content)).sop not in self._asked:
                    return REFUSED
                self._keep(content)
            except (InputError, RefusedError, TransientError) as error:
                self.errors.append(error)
                return NO_SPACE if isinstance(error, InputError) else REFUSED
        return SUCCESS
