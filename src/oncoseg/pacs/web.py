"""DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18) through dicomweb-client; the only module that knows it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pydicom
import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset

from oncoseg.errors import InputError
from oncoseg.io.dicom_header import UNREADABLE
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
from oncoseg.pacs.peer import Security, WebPeer, is_loopback

#: Seconds to connect, and to wait for the next bytes.
TIMEOUT_S = (10.0, 60.0)
#: Bytes of files that go in one request.
BATCH_BYTES = 32 * 2**20
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_NOTHING = (204, 404)
_FAILED, _STORED = "FailedSOPSequence", "ReferencedSOPSequence"

# Its lines at level DEBUG and INFO hold queries, and so identifiers of patients.
logging.getLogger("dicomweb_client").setLevel(logging.ERROR)


class WebArchive:
    """An archive by DICOMweb.

    Args:
        peer: its address.
        security: certificates and credentials; credentials go over https only, or stay on this machine.

    Raises:
        InputError: for credentials over plain http to another machine.
    """

    def __init__(self, peer: WebPeer, security: Security) -> None:
        self.name = peer.name
        secret = security.credentials
        if secret.given and peer.url.lower().startswith("http:") and not is_loopback(peer.host):
            raise InputError(f"{peer.url} is not encrypted, so no credentials are sent there. Use its https address.")
        session = requests.Session()
        # Compressing pixels costs more than sending them, and a small answer may inflate to any size.
        session.headers["Accept-Encoding"] = "identity"
        session.trust_env = False  # .netrc and proxies of the environment say nothing here
        session.verify = True if security.ca is None else str(security.ca)
        if security.certificate is not None:
            key = security.key or security.certificate
            session.cert = (str(security.certificate), str(key))
        if secret.token:
            session.headers["Authorization"] = f"Bearer {secret.token}"
        elif secret.user:
            session.auth = (secret.user, secret.password)
        self._client = DICOMwebClient(peer.url, session=session, permissive_uid=True, timeout=TIMEOUT_S)
        self._client.set_http_retry_params(retry=False)  # `retry.Patience` does that, knowing what is done already

    def find(self, query: Query) -> list[SeriesFound]:
        """As `Archive.find`: studies first, then their series, which every archive can answer."""
        if not query.of_study:
            answers = self._search(self._client.search_for_series, search_filters=query.of_series)
            return self._series(answers, query)
        found = []
        for study in self._search(self._client.search_for_studies, search_filters=query.of_study):
            uid = str(study.get("StudyInstanceUID", ""))
            if is_uid(uid) and fits(query.of_study, study):
                filters = query.of_series
                answers = self._search(self._client.search_for_series, study_instance_uid=uid, search_filters=filters)
                found += self._series(answers, query, uid)
        return found

    def _series(self, answers: list[Dataset], query: Query, study: str = "") -> list[SeriesFound]:
        found = []
        for series in answers:
            uid, owner = str(series.get("SeriesInstanceUID", "")), study or str(series.get("StudyInstanceUID", ""))
            if is_uid(uid) and is_uid(owner) and fits(query.of_series, series):
                found.append(SeriesFound(owner, uid, str(series.get("Modality", ""))))
        return found

    def instances(self, series: SeriesFound) -> list[Instance]:
        """As `Archive.instances`; none of a series that the archive does not know."""
        answers = self._search(
            self._client.search_for_instances,
            study_instance_uid=series.study,
            series_instance_uid=series.series,
        )
        uids = [(str(a.get("SOPInstanceUID", "")), str(a.get("SOPClassUID", ""))) for a in answers]
        return [Instance(series.study, series.series, sop, kind) for sop, kind in uids if is_uid(sop)]

    def present(self, series: SeriesFound) -> frozenset[str]:
        """As `Archive.present`."""
        return frozenset(instance.sop for instance in self.instances(series))

    def fetch(self, wanted: Sequence[Instance], keep: Callable[[bytes], None]) -> None:
        """As `Archive.fetch`: one request an object, in the encoding that the archive holds."""
        for instance in wanted:
            with _told_apart(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="message sent by origin server")
                try:
                    found = self._client.retrieve_instance(
                        instance.study,
                        instance.series,
                        instance.sop,
                        media_types=(("application/dicom", "*"),),
                    )
                    _require_whole(found)
                    content = BytesIO()
                    found.save_as(content, enforce_file_format=True)
                except requests.RequestException:
                    raise
                except UNREADABLE as error:
                    raise TransientError(f"an object came damaged ({type(error).__name__})") from error
            keep(content.getvalue())

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, str]]:
        """As `Archive.store`: requests of up to 32 MB, or of one file."""
        for batch in _batches(files):
            with _told_apart():
                try:
                    answer = self._client.store_instances([pydicom.dcmread(file.path) for file in batch])
                except requests.HTTPError as error:
                    answer = _refusals(error)
            failed = {str(item.get("ReferencedSOPInstanceUID", "")): item for item in answer.get(_FAILED) or []}
            stored = {str(item.get("ReferencedSOPInstanceUID", "")) for item in answer.get(_STORED) or []}
            for file in batch:
                if file.instance.sop in stored:
                    yield file, ""
                elif item := failed.get(file.instance.sop):
                    yield file, f"the archive refuses it (reason 0x{int(item.get('FailureReason', 0)):04X})"
                else:
                    yield file, "the archive does not say that it has it"

    def _search(self, search: Callable[..., list[dict[str, Any]]], **wanted: Any) -> list[Dataset]:
        with _told_apart():
            try:
                # Archives may answer a part at a time; an offset that they do not know would never end.
                answers = search(**wanted, limit=_PAGE)
                found, seen = list(answers), {str(a) for a in answers}
                while len(answers) == _PAGE:
                    answers = search(**wanted, limit=_PAGE, offset=len(found))
                    fresh = [a for a in answers if str(a) not in seen]
                    if not fresh:
                        break
                    found += fresh
                    seen |= {str(a) for a in fresh}
            except requests.HTTPError as error:
                if error.response is not None and error.response.status_code in _NOTHING:
                    return []
                raise
            try:
                return [Dataset.from_json(answer) for answer in found]
            except UNREADABLE as error:
                raise RefusedError(f"its answer is no DICOM JSON ({type(error).__name__})") from error


#: Answers that are asked for at once.
_PAGE = 500


def _batches(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    for file in files:
        if batch and sum(f.size for f in batch) + file.size > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _refusals(error: requests.HTTPError) -> Dataset:
    """The answer that names refused objects (409 Conflict carries one); raises any other error again."""
    if error.response is None or error.response.status_code != 409:
        raise error
    try:
        return Dataset.from_json(error.response.json())
    except (requests.JSONDecodeError, *UNREADABLE):
        raise error from None


def _require_whole(found: Dataset) -> None:
    """Raise EOFError when uncompressed pixel data are shorter than the header says: the answer was cut."""
    if "PixelData" not in found or found.file_meta.TransferSyntaxUID.is_compressed:
        return
    counts = [int(found.get(keyword) or 1) for keyword in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")]
    bits = int(found.get("BitsAllocated") or 8)
    for count in counts:
        bits *= count
    if found.get("PhotometricInterpretation") != "YBR_FULL_422" and len(found.PixelData) < (bits + 7) // 8:
        raise EOFError


@contextmanager
def _told_apart() -> Iterator[None]:
    """Errors of the connection as transient or refused; without addresses, which hold what was asked for."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise RefusedError(
            "its certificate is not trusted, or it does not trust ours. Give its authority with --ca FILE, "
            "and --certificate FILE where it asks for one."
        ) from error
    except requests.HTTPError as error:
        code = 0 if error.response is None else error.response.status_code
        if code in _BUSY:
            raise TransientError(f"it answers {code}") from error
        hint = " Set ONCOSEG_PACS_USER and ONCOSEG_PACS_PASSWORD, or give --credentials FILE." * (code in (401, 403))
        raise RefusedError(f"it answers {code}.{hint}") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise TransientError("the connection failed or ended early") from error
    except (requests.RequestException, ValueError) as error:
        raise RefusedError(f"its answer cannot be used ({type(error).__name__})") from error
