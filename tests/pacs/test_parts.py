"""Queries, the ledger, the inbox and patience, without any network."""

import pytest

from oncoseg.errors import FetchError, InputError
from oncoseg.pacs.archive import Query, RefusedError, TransientError, fits
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.ledger import Ledger, Line
from oncoseg.pacs.pushing import outgoing
from oncoseg.pacs.retry import Patience


@pytest.mark.parametrize(
    "wanted",
    [{}, {"modality": "CT"}, {"study": "1.2/../3"}, {"patient": "*"}, {"patient": "P\\Q"}, {"date": "2020"}],
)
def test_queries_for_everything_and_malformed_ones_are_refused(wanted):
    with pytest.raises(InputError):
        Query(**wanted)


@pytest.mark.parametrize(
    ("asked", "found", "fit"),
    [
        ("20200101", "20200101", True),
        ("20200101", "20200102", False),
        ("20200101-20201231", "20200506", True),
        ("20200101-20201231", "20210101", False),
        ("20200101-", "20300101", True),
        ("-20200101", "20190101", True),
        ("-20200101", "20200102", False),
        ("20200101", "", True),
    ],
)
def test_answers_outside_the_dates_do_not_fit(asked, found, fit):
    assert fits({"StudyDate": asked}, {"StudyDate": found}) is fit


def test_the_ledger_survives_half_a_line(tmp_path):
    place = tmp_path / "ledger.jsonl"
    ledger = Ledger(place)
    ledger.add(Line("out", "A@h:1", "1", "2", "3.1", "stored", "aa"))
    with place.open("ab") as stream:
        stream.write(b'{"way": "out", "peer"')
    again = Ledger(place)
    assert [line.sop for line in again.lines()] == ["3.1"]
    again.add(Line("out", "A@h:1", "1", "2", "3.2", "refused", "bb", "full"))
    assert [line.sop for line in Ledger(place).lines()] == ["3.1", "3.2"]
    assert again.was_sent("A@h:1", "3.1", "aa")
    assert not again.was_sent("A@h:1", "3.2", "bb")
    assert not again.was_sent("B@h:1", "3.1", "aa")


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    place = tmp_path / "ledger.jsonl"
    place.write_text("hello\nworld\n")
    with pytest.raises(InputError, match="line 1"):
        Ledger(place)


def test_names_of_files_are_our_own(tmp_path, content):
    inbox = Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    found = inbox.keep(content(PatientID="SECRET"), "A")
    path = inbox.path(found)
    assert path.is_file()
    assert all(
        set(part.removesuffix(".dcm")) <= set("0123456789abcdef") for part in path.relative_to(inbox.folder).parts
    )


@pytest.mark.parametrize("uid", ["../../../tmp/evil", "1.2.3/4", "", "9" * 65, "1.2\x003"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_identifiers_that_are_none_are_refused(tmp_path, content, uid):
    inbox = Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    with pytest.raises(RefusedError, match="no UID"):
        inbox.keep(content(StudyInstanceUID=uid), "A")
    assert not (tmp_path / "in").exists()


def test_bytes_that_are_no_object_are_refused(tmp_path):
    inbox = Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    with pytest.raises(RefusedError):
        inbox.keep(b"nothing", "A")


def test_the_same_object_twice_is_kept_once_and_another_of_its_name_is_refused(tmp_path, content):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    inbox = Inbox(tmp_path / "in", ledger)
    first = content(SOPInstanceUID="1.2.7", KVP="120")
    inbox.keep(first, "A")
    inbox.keep(first, "A")
    with pytest.raises(RefusedError, match="differs"):
        inbox.keep(content(SOPInstanceUID="1.2.7", KVP="100"), "B")
    assert [line.outcome for line in ledger.lines()] == ["stored", "there", "refused"]
    assert len(list((tmp_path / "in").rglob("*.dcm"))) == 1


def test_an_object_that_was_not_asked_for_is_refused(tmp_path, content):
    inbox = Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    asked = inbox.keep(content(SOPInstanceUID="1.2.7"), "A")
    with pytest.raises(RefusedError, match="another object"):
        inbox.keep(content(SOPInstanceUID="1.2.8"), "A", asked)


def test_leftovers_of_a_kill_are_cleared_away(tmp_path, content):
    inbox = Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    path = inbox.path(inbox.keep(content(), "A"))
    stray = path.with_name(".partial-abc-x.dcm")
    stray.write_bytes(b"half")
    Inbox(tmp_path / "in", Ledger(tmp_path / "ledger.jsonl"))
    assert not stray.exists()
    assert path.exists()


def test_patience_doubles_its_pauses_and_starts_anew_after_progress():
    pauses, done = [], []
    steps = iter([0, 0, 1, 0, 0])

    def step():
        for _ in range(next(steps, -1) + 0 or 0):
            done.append(1)
        if len(pauses) < 5:
            raise TransientError("busy")
        return "ready"

    patience = Patience(attempts=4, first_s=1, pause=pauses.append)
    assert patience.until_done(step, progress=lambda: len(done), what="A") == "ready"
    assert pauses == [1, 2, 1, 2, 4]


def test_a_refusal_is_not_tried_again():
    tried = []

    def step():
        tried.append(1)
        raise RefusedError("no")

    with pytest.raises(FetchError, match="A: no"):
        Patience(pause=tried.append).until_done(step, what="A")
    assert tried == [1]


def test_two_files_of_one_identifier_that_differ_are_not_sent(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content(SOPInstanceUID="1.2.7", KVP="120"))
    (tmp_path / "b.dcm").write_bytes(content(SOPInstanceUID="1.2.7", KVP="120"))
    assert len(outgoing([tmp_path])) == 1
    (tmp_path / "b.dcm").write_bytes(content(SOPInstanceUID="1.2.7", KVP="100"))
    with pytest.raises(InputError, match="differ"):
        outgoing([tmp_path])


def test_nothing_to_send_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no DICOM object"):
        outgoing([tmp_path])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="not a DICOM file"):
        outgoing([tmp_path / "notes.txt"])
