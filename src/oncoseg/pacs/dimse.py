"""DIMSE as its user: C-FIND, C-GET and C-STORE (PS3.4, PS3.7) through pynetdicom."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as FindModel,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as GetModel,
)

from oncoseg.errors import InputError
from oncoseg.pacs.archive import (
    Instance,
    Outgoing,
    Query,
    RefusedError,
    SeriesFound,
    TransientError,
    fits,
    is_uid,
)
from oncoseg.pacs.peer import DimsePeer, Security

#: Longest PDU that we say we take, bytes.
PDU_BYTES = 2**17
#: Seconds to connect, to agree, and to wait for the next message.
CONNECT_S, ACSE_S, DIMSE_S = 10, 30, 60
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
#: Deflated objects are not taken: a small message may hold any amount of memory.
ENCODINGS = tuple(uid for uid in AllTransferSyntaxes if not uid.is_deflated and "JPIP" not in uid.name)
#: Objects that are asked for at once.
_TOGETHER = 50
#: Presentation contexts that one association holds (PS3.8 9.3.2.2).
_CONTEXTS = 128
_NOT_TAKEN = "the archive does not take this kind of object in this encoding"
_PENDING, _TRANSIENT = (0xFF00, 0xFF01), range(0xA700, 0xA800)
#: Out of resources; 0xA702, where not one object could be sent, is no such thing.
_BUSY = (0xA700, 0xA701)


def entity(title: str) -> AE:
    """An application entity with limits on sizes and times."""
    made = AE(ae_title=title)
    made.maximum_pdu_size = PDU_BYTES
    made.connection_timeout, made.acse_timeout = CONNECT_S, ACSE_S
    made.dimse_timeout = made.network_timeout = DIMSE_S
    return made


class DimseArchive:
    """An archive by DIMSE.

    Args:
        peer: its title and address.
        security: certificates; `tls` encrypts the connection and checks the archive's certificate.
        title: our application entity title, which the archive must know.
    """

    def __init__(self, peer: DimsePeer, security: Security, title: str) -> None:
        self.name, self.peer, self.title = peer.name, peer, title
        self._tls: tuple[ssl.SSLContext, str] | None = None
        if security.tls:
            trusted = ssl.create_default_context(cafile=None if security.ca is None else str(security.ca))
            if security.certificate is not None:
                trusted.load_cert_chain(security.certificate, security.key)
            self._tls = (trusted, peer.host)

    def find(self, query: Query) -> list[SeriesFound]:
        """As `Archive.find`: level STUDY, then SERIES."""
        with self.associated([build_context(FindModel)]) as association:
            studies = [Dataset()]
            if query.of_study:
                studies = self._ask(association, "STUDY", query.of_study, ("StudyInstanceUID",))
            found = []
            for study in studies:
                uid = str(study.get("StudyInstanceUID", ""))
                if query.of_study and not is_uid(uid):
                    continue
                wanted = {"StudyInstanceUID": uid, **query.of_series}
                for series in self._ask(association, "SERIES", wanted, ("SeriesInstanceUID", "Modality")):
                    owner, own = uid or str(series.get("StudyInstanceUID", "")), str(series.SeriesInstanceUID)
                    if is_uid(owner) and is_uid(own):
                        found.append(SeriesFound(owner, own, str(series.get("Modality", ""))))
            return found

    def instances(self, series: SeriesFound) -> list[Instance]:
        """As `Archive.instances`."""
        with self.associated([build_context(FindModel)]) as association:
            wanted = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.series}
            answers = self._ask(association, "IMAGE", wanted, ("SOPInstanceUID", "SOPClassUID"))
        pairs = [(str(a.get("SOPInstanceUID", "")), str(a.get("SOPClassUID", ""))) for a in answers]
        return [Instance(series.study, series.series, sop, kind) for sop, kind in pairs if is_uid(sop)]

    def present(self, series: SeriesFound) -> frozenset[str] | None:
        """As `Archive.present`; None for a peer that only stores."""
        try:
            return frozenset(instance.sop for instance in self.instances(series))
        except _NotOfferedError:
            return None

    def fetch(self, wanted: Sequence[Instance], keep: Callable[[bytes], None]) -> None:
        """As `Archive.fetch`: C-GET of lists of objects, or of one after the other where lists are refused."""
        errors: list[Exception] = []

        def stored(event: evt.Event) -> int:
            try:
                keep(event.encoded_dataset())
            except (InputError, RefusedError, TransientError) as error:
                errors.append(error)
                return 0xA700 if isinstance(error, InputError) else 0xC000
            return 0x0000

        classes = sorted({i.sop_class for i in wanted if is_uid(i.sop_class)}) or [UID("1.2.840.10008.5.1.4.1.1.2")]
        contexts = [build_context(GetModel), *_one_context_an_encoding(classes)][:_CONTEXTS]
        roles = [build_role(kind, scp_role=True) for kind in classes]
        with self.associated(contexts, roles, [(evt.EVT_C_STORE, stored)]) as association:
            in_parts(wanted, lambda part: self._get(association, part, errors), errors)

    def _get(self, association: Association, part: Sequence[Instance], errors: list[Exception]) -> None:
        for status, _ in within(association.send_c_get, of_instances(part), GetModel):
            if errors:
                raise errors[0]
            require_success(status, "C-GET")

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, str]]:
        """As `Archive.store`: one association for as many kinds of objects as it can hold."""
        for part in _by_contexts(files):
            kinds = dict.fromkeys((file.instance.sop_class, file.transfer_syntax) for file in part)
            try:
                with self.associated([_context(*kind) for kind in kinds]) as association:
                    for file in part:
                        yield file, self._store_one(association, file)
            except _NotOfferedError:
                yield from ((file, _NOT_TAKEN) for file in part)

    def _store_one(self, association: Association, file: Outgoing) -> str:
        try:
            status = association.send_c_store(pydicom.dcmread(file.path))
        except ValueError:
            return _NOT_TAKEN
        except RuntimeError as error:
            raise TransientError("the association ended") from error
        if "Status" not in status:
            raise TransientError("the connection failed while an object was sent")
        if status.Status in _TRANSIENT:
            raise TransientError(f"it is out of resources (0x{status.Status:04X})")
        stored = status.Status == 0x0000 or status.Status >> 12 == 0xB  # 0xBxxx: stored, with a warning
        return "" if stored else f"the archive refuses it (status 0x{status.Status:04X})"

    def _ask(
        self, association: Association, level: str, wanted: dict[str, str], returned: Sequence[str]
    ) -> list[Dataset]:
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        for keyword in returned:
            setattr(asked, keyword, "")
        for keyword, value in wanted.items():
            setattr(asked, keyword, value)
        found = []
        for status, answer in within(association.send_c_find, asked, FindModel):
            require_success(status, "C-FIND")
            given = answer if answer is not None else Dataset()
            if status.Status in _PENDING and fits({k: v for k, v in wanted.items() if v}, given):
                found.append(given)
        return found

    @contextmanager
    def associated(
        self,
        contexts: list[PresentationContext],
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[Association]:
        """An association with some accepted context, C-GET where asked for; released, or aborted after errors."""
        association = entity(self.title).associate(
            self.peer.host,
            self.peer.port,
            contexts=contexts,
            ae_title=self.peer.aet,
            max_pdu=PDU_BYTES,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
            tls_args=self._tls,
        )
        if not association.is_established:
            raise self._why_not(association)
        try:
            if contexts[0].abstract_syntax == GetModel and not any(
                c.abstract_syntax == GetModel for c in association.accepted_contexts
            ):
                raise _NotOfferedError(f"it does not offer C-GET to {self.title}; it may know C-MOVE: --move PORT")
            yield association
            association.release()
        finally:
            if association.is_established:  # after an error the archive may still be sending: it hears no release
                association.abort()

    def _why_not(self, association: Association) -> Exception:
        if association.is_rejected:
            answer = association.acceptor.primitive
            if answer is not None and answer.result == 0x02:
                return TransientError("it rejects the association for now")
            return RefusedError(
                f"it rejects the association: it must know our title {self.title} (--aet) and be called by its own"
            )
        if association.rejected_contexts:
            return _NotOfferedError(f"it offers nothing of what is needed to {self.title}")
        if self._tls is not None:
            return TransientError("no connection, or one of the certificates is not trusted (--ca, --certificate)")
        return TransientError("no connection")


class _NotOfferedError(RefusedError):
    """The service is none of the archive's."""


def _one_context_an_encoding(classes: Sequence[str]) -> list[PresentationContext]:
    """Uncompressed contexts first, then compressed ones; with each by itself, archives send what they hold as it is."""
    compressed = [syntax for syntax in ENCODINGS if syntax.is_compressed]
    made = [build_context(kind, syntax) for syntax in UNCOMPRESSED for kind in classes]
    return made + [build_context(kind, syntax) for syntax in compressed for kind in classes]


def _context(sop_class: str, transfer_syntax: str) -> PresentationContext:
    """A file in its own encoding; explicit ones also in the implicit one, which every system takes.

    Never the other way round: contours over 64 KiB do not fit the explicit encoding.
    """
    also = [ImplicitVRLittleEndian] if transfer_syntax == ExplicitVRLittleEndian else []
    return build_context(sop_class, [transfer_syntax, *also])


def _by_contexts(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    part: list[Outgoing] = []
    kinds: set[tuple[str, str]] = set()
    for file in files:
        kind = (file.instance.sop_class, file.transfer_syntax)
        if part and len(kinds | {kind}) > _CONTEXTS:
            yield part
            part, kinds = [], set()
        part.append(file)
        kinds.add(kind)
    if part:
        yield part


def in_parts(
    wanted: Sequence[Instance], ask: Callable[[Sequence[Instance]], None], errors: Sequence[Exception]
) -> None:
    """Ask for objects in lists, or one by one where an archive knows no lists of objects, or lacks one of them.

    Args:
        wanted: objects of one series.
        ask: fetches a list; RefusedError when it is refused.
        errors: of our own side; after one of those nothing is asked again.
    """
    for first in range(0, len(wanted), _TOGETHER):
        part = wanted[first : first + _TOGETHER]
        try:
            ask(part)
        except RefusedError:
            if errors or len(part) == 1:
                raise
            for instance in part:
                ask([instance])


def of_instances(part: Sequence[Instance]) -> Dataset:
    """The identifier that asks for objects of one series."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.StudyInstanceUID, asked.SeriesInstanceUID = part[0].study, part[0].series
    asked.SOPInstanceUID = [instance.sop for instance in part]
    return asked


def within(
    send: Callable[..., Iterator[tuple[Dataset, Dataset | None]]], *arguments: Any
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """The answers to a request; TransientError when the association is no more."""
    try:
        yield from send(*arguments)
    except RuntimeError as error:  # the association is no more
        raise TransientError("the association ended") from error


def require_success(status: Dataset, service: str) -> None:
    """Raise TransientError or RefusedError unless a status says success, more to come, or a warning."""
    code = status.get("Status")
    if code is None:
        raise TransientError(f"the connection failed during {service}")
    if code in _BUSY:
        raise TransientError(f"{service}: it is out of resources (0x{code:04X})")
    if code not in (0x0000, *_PENDING) and code >> 12 != 0xB:
        raise RefusedError(f"{service} ended with status 0x{code:04X}")
