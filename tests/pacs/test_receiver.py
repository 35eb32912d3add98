"""Our storage provider: what it takes, from whom, and what it refuses."""

import logging
import socket
import struct
import time

import pytest
from pydicom.uid import CTImageStorage

from oncoseg.errors import FetchError, InputError
from oncoseg.pacs.archive import Instance, RefusedError
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Security
from oncoseg.pacs.pushing import outgoing, push
from oncoseg.pacs.receiver import PDU_LIMIT, Receiver, require_exposed


@pytest.fixture
def receiving(tmp_path):
    """Start a receiver; returns it with its address."""
    made = []

    def start(**options):
        inbox = Inbox(tmp_path / "received", Ledger(tmp_path / "received.jsonl"))
        receiver = Receiver(inbox, "US", **options)
        made.append(receiver)
        return receiver, f"US@127.0.0.1:{receiver.start('127.0.0.1', 0)}"

    yield start
    for receiver in made:
        receiver.stop()


def test_what_is_sent_is_on_disk_before_it_is_acknowledged(receiving, ct, tmp_path, patience):
    folder = ct(5)
    receiver, address = receiving()
    ledger = Ledger(tmp_path / "sent.jsonl")
    done = push(open_archive(address, Security()), outgoing([folder]), ledger, patience)
    assert (done.sent, done.refused) == (5, {})
    came = list(Ledger(tmp_path / "received.jsonl").lines())
    assert [(line.outcome, line.sop) for line in came] == [("stored", line.sop) for line in ledger.lines()]
    assert len(list((tmp_path / "received").rglob("*.dcm"))) == 5
    (study,) = receiver.came()
    assert receiver.last(study) is not None


def test_a_peer_that_only_stores_is_sent_what_the_ledger_does_not_know(receiving, ct, tmp_path, patience):
    folder = ct(5)
    _, address = receiving()
    archive = open_archive(address, Security())
    files = outgoing([folder])
    push(archive, files[:3], Ledger(tmp_path / "sent.jsonl"), patience)
    rest = push(archive, files, Ledger(tmp_path / "sent.jsonl"), patience)
    assert (rest.sent, rest.there) == (2, 3)


def test_a_peer_without_c_get_is_told_apart_and_the_way_out_named(receiving):
    _, address = receiving()
    wanted = [Instance("1.2", "1.3", "1.4", CTImageStorage)]
    with pytest.raises(RefusedError, match=r"does not offer C-GET.*--move PORT"):
        open_archive(address, Security()).fetch(wanted, lambda content: None)


def test_an_object_that_differs_from_the_one_here_is_refused(receiving, content, tmp_path, patience):
    _, address = receiving()
    archive, results = open_archive(address, Security()), []
    for number, kvp in enumerate(("120", "100")):
        (tmp_path / f"{number}.dcm").write_bytes(content(SOPInstanceUID="1.2.7", KVP=kvp))
        ledger = Ledger(tmp_path / "sent.jsonl")
        results.append(push(archive, outgoing([tmp_path / f"{number}.dcm"]), ledger, patience))
    assert [r.sent for r in results] == [1, 0]
    assert "0xC000" in next(iter(results[1].refused.values()))


def test_a_full_disk_is_told_to_the_sender(receiving, ct, tmp_path, patience, monkeypatch):
    import oncoseg.pacs.inbox as inbox

    _, address = receiving()

    def full(path, content):
        raise InputError(f"Cannot write {path}: No space left on device.")

    monkeypatch.setattr(inbox, "write_bytes", full)
    archive = open_archive(address, Security())
    with pytest.raises(FetchError, match="out of resources"):
        push(archive, outgoing([ct(2)]), Ledger(tmp_path / "sent.jsonl"), patience)
    monkeypatch.undo()
    assert push(archive, outgoing([tmp_path / "ct0"]), Ledger(tmp_path / "sent.jsonl"), patience).sent == 2


@pytest.mark.parametrize(("title", "called"), [("STRANGER", "US"), ("FRIEND", "THEM")])
def test_strangers_and_wrong_titles_are_rejected(receiving, ct, tmp_path, patience, title, called):
    _, address = receiving(callers=("FRIEND",))
    archive = open_archive(address.replace("US@", f"{called}@"), Security(), title)
    with pytest.raises(FetchError, match="rejects"):
        push(archive, outgoing([ct(1)]), Ledger(tmp_path / "sent.jsonl"), patience)
    friend = open_archive(address, Security(), "FRIEND")
    assert push(friend, outgoing([ct(1)]), Ledger(tmp_path / "sent.jsonl"), patience).sent == 1


@pytest.mark.parametrize("length", [PDU_LIMIT + 1, 2**32 - 1])
def test_a_pdu_that_announces_too_much_closes_the_connection(receiving, ct, tmp_path, patience, length):
    _, address = receiving()
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        stranger.sendall(struct.pack(">BBL", 1, 0, length))
        assert stranger.recv(100) == b""
    archive = open_archive(address, Security())
    assert push(archive, outgoing([ct(1)]), Ledger(tmp_path / "sent.jsonl"), patience).sent == 1


def test_noise_does_not_stop_it(receiving, ct, tmp_path, patience):
    _, address = receiving()
    port = int(address.rpartition(":")[2])
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x01\x00\x00\x00\x00\x04abcd", b"\x00" * 600):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
            stranger.sendall(noise)
    archive = open_archive(address, Security())
    assert push(archive, outgoing([ct(1)]), Ledger(tmp_path / "sent.jsonl"), patience).sent == 1


def test_other_machines_need_to_be_let_in_on_purpose():
    require_exposed("127.0.0.1", exposed=False, callers=())
    require_exposed("0.0.0.0", exposed=True, callers=("PACS",))
    for exposed, callers in ((False, ()), (True, ()), (False, ("PACS",))):
        with pytest.raises(InputError, match="--expose"):
            require_exposed("0.0.0.0", exposed=exposed, callers=callers)


def test_a_port_that_is_taken_is_said(receiving, tmp_path):
    _, address = receiving()
    other = Receiver(Inbox(tmp_path / "x", Ledger(tmp_path / "x.jsonl")), "US")
    with pytest.raises(InputError, match="Cannot listen"):
        other.start("127.0.0.1", int(address.rpartition(":")[2]))


def test_tls_works_with_a_trusted_certificate_and_with_no_other(receiving, ct, tmp_path, patience, certificate):
    made, key = certificate
    _, address = receiving(security=Security(tls=True, certificate=made, key=key))
    files, ledger = outgoing([ct(2)]), Ledger(tmp_path / "sent.jsonl")
    with pytest.raises(FetchError, match="not trusted"):
        push(open_archive(address, Security(tls=True)), files, ledger, patience)
    with pytest.raises(FetchError):
        push(open_archive(address, Security()), files, ledger, patience)
    assert push(open_archive(address, Security(tls=True, ca=made)), files, ledger, patience).sent == 2


def test_callers_are_asked_for_certificates(receiving, ct, tmp_path, patience, certificate):
    made, key = certificate
    _, address = receiving(security=Security(tls=True, certificate=made, key=key, ca=made))
    files, ledger = outgoing([ct(2)]), Ledger(tmp_path / "sent.jsonl")
    with pytest.raises(FetchError):
        push(open_archive(address, Security(tls=True, ca=made)), files, ledger, patience)
    known = Security(tls=True, ca=made, certificate=made, key=key)
    assert push(open_archive(address, known), files, ledger, patience).sent == 2


def test_logs_hold_nothing_of_the_patient(receiving, ct, tmp_path, patience, caplog):
    caplog.set_level(logging.DEBUG)
    _, address = receiving()
    folder = ct(2, PatientID="SECRET77", PatientName="Canary^Bird")
    push(open_archive(address, Security()), outgoing([folder]), Ledger(tmp_path / "sent.jsonl"), patience)
    time.sleep(0.1)
    assert "SECRET77" not in caplog.text
    assert "Canary" not in caplog.text
