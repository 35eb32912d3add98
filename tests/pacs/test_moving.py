"""C-MOVE: the archive calls us back, and we take what we asked for from it alone."""

import pydicom
import pytest
from typer.testing import CliRunner

from oncoseg.cli.main import app
from oncoseg.errors import FetchError, InputError
from oncoseg.pacs.archive import Query
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Security
from oncoseg.pacs.pulling import pull
from oncoseg.pacs.pushing import outgoing, push


@pytest.fixture
def held(start_orthanc, ct, tmp_path, patience):
    """An archive that holds a series of three slices, and the study's UID."""
    folder, orthanc = ct(3), start_orthanc(DicomAlwaysAllowFind=True, DicomAlwaysAllowMove=True)
    push(open_archive(orthanc.web, Security()), outgoing([folder]), Ledger(tmp_path / "out.jsonl"), patience)
    return orthanc, str(pydicom.dcmread(next(folder.glob("*.dcm"))).StudyInstanceUID)


def test_an_archive_that_does_not_know_us_is_told_apart(held, tmp_path, patience):
    orthanc, study = held
    archive = open_archive(orthanc.dimse, Security(), "STRANGER", move_to=("127.0.0.1", orthanc.listener))
    done = pull(archive, Query(study=study), tmp_path / "in", patience)
    assert done.fetched == 0
    assert len(done.refused) == 3
    assert all("must know STRANGER" in reason for reason in done.refused.values())
    assert not list((tmp_path / "in").rglob("*.dcm"))


def test_only_the_archive_may_call_while_it_is_fetched_from(held, ct, tmp_path, patience):
    orthanc, study = held
    archive = open_archive(orthanc.dimse, Security(), move_to=("127.0.0.1", orthanc.listener))
    other, tried = ct(2), []

    class Listening(type(archive)):
        def _move(self, association, part, handed):
            for title in ("THIEF", "ORTHANC"):
                intruder = open_archive(f"ONCOSEG@127.0.0.1:{orthanc.listener}", Security(), title)
                try:
                    sent = push(intruder, outgoing([other]), Ledger(tmp_path / f"{title}.jsonl"), patience)
                    tried.append(f"{title}: {sent.sent} taken, {len(sent.refused)} refused")
                except FetchError as error:
                    tried.append(f"{title}: {error}")
            super()._move(association, part, handed)

    archive.__class__ = Listening
    assert pull(archive, Query(study=study), tmp_path / "in", patience).fetched == 3
    assert "rejects the association" in tried[0]
    assert tried[1] == "ORTHANC: 0 taken, 2 refused", "what nobody asked for is not taken, whoever sends it"
    assert len(list((tmp_path / "in").rglob("*.dcm"))) == 3


def test_a_port_that_is_taken_is_said(held, tmp_path, patience):
    orthanc, study = held
    archive = open_archive(orthanc.dimse, Security(), move_to=("127.0.0.1", orthanc.http))
    with pytest.raises(InputError, match="Cannot listen on"):
        pull(archive, Query(study=study), tmp_path / "in", patience)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://pacs.example/dicom-web", "--move", "11112"], "--move is for DIMSE"),
        (["PACS@pacs.example:104", "--move", "11112", "--bind", "0.0.0.0"], "--expose"),
        (["PACS@pacs.example:104", "--move", "11112", "--tls"], "--certificate"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(arguments, message, tmp_path):
    peer, *more = arguments
    result = CliRunner().invoke(app, ["pull", peer, "--study", "1.2", "--out", str(tmp_path / "in"), *more])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
