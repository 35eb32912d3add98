"""Received studies become results that are sent once, whoever is killed and when."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest

from oncoseg import registry
from oncoseg.cli.clinical import Choices
from oncoseg.cli.listen import _answerer, _Result
from oncoseg.errors import InputError, PartialFailureError
from oncoseg.io.dicom import find_series
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.listening import RECEIVED, RESULTS, Desk, Task
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Security
from oncoseg.pacs.pushing import outgoing, push
from oncoseg.pacs.retry import Patience


class Office:
    """A desk whose clock, model and archive are ours."""

    def __init__(self, out):
        self.out, self.now, self.newest, self.senders = out, 0.0, {}, set()
        self.answered, self.sent, self.said, self.broken = [], [], [], []
        self.inbox = Inbox(out / RECEIVED, Ledger(out / "ledger.jsonl"))
        self.desk = self.open()

    def open(self):
        return Desk(
            self.out,
            Task(self.answer, self.send, maker="model"),
            quiet_s=10,
            last=self.newest.get,
            sending=self.senders.__contains__,
            say=self.said.append,
            clock=lambda: self.now,
        )

    def receive(self, folder, files=slice(None)):
        for path in sorted(folder.glob("*.dcm"))[files]:
            found = self.inbox.keep(path.read_bytes(), "SCANNER")
            study = self.inbox.study_folder(found.study).name
            self.newest[study] = self.now
        return study

    def answer(self, series, place):
        if "answer" in self.broken:
            raise InputError("the model fails")
        self.answered.append(len(series.headers))
        place.mkdir(parents=True, exist_ok=True)
        (place / "seg.dcm").write_bytes(b"result")
        return [place / "seg.dcm"], {"series": series.uid}

    def send(self, files):
        if "send" in self.broken:
            raise PartialFailureError("the archive is down")
        self.sent.append(files[0].parent.name)

    def wait(self, seconds):
        self.now += seconds
        return self.desk.work()


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path / "out")


def test_a_study_is_looked_at_once_it_is_quiet(office, ct):
    office.receive(ct(8))
    assert office.wait(9) == 0
    assert office.wait(2) == 1
    assert (office.answered, len(office.sent)) == ([8], 1)
    assert office.wait(100) == 0


def test_a_study_that_is_still_being_sent_waits(office, ct):
    study = office.receive(ct(8))
    office.senders.add(study)
    assert office.wait(60) == 0
    office.senders.clear()
    assert office.wait(0) == 1


def test_slices_that_come_later_make_a_new_result(office, ct):
    folder = ct(8)
    office.receive(folder, slice(0, 6))
    office.wait(11)
    office.receive(folder, slice(6, 8))
    office.wait(11)
    assert office.answered == [6, 8]
    assert len(set(office.sent)) == 2


def test_the_same_study_again_is_not_answered_again(office, ct):
    folder = ct(8)
    office.receive(folder)
    office.wait(11)
    office.receive(folder)
    office.wait(11)
    assert (office.answered, len(office.sent)) == ([8], 1)


def test_a_study_that_was_removed_and_comes_again_is_kept_again_and_not_answered_again(office, ct):
    folder = ct(8)
    study = office.receive(folder)
    office.wait(11)
    shutil.rmtree(office.out / RECEIVED / study)
    assert office.wait(11) == 0
    office.receive(folder)
    office.wait(11)
    assert (office.answered, len(office.sent)) == ([8], 1)
    assert len(list((office.out / RECEIVED / study).rglob("*.dcm"))) == 8


def test_a_restart_goes_on_with_what_is_not_done(office, ct):
    office.receive(ct(8))
    office.broken = ["send"]
    office.wait(11)
    assert (office.answered, office.sent) == ([8], [])
    office.broken = []
    office.newest.clear()
    office.desk = office.open()
    office.wait(11)
    assert (office.answered, len(office.sent)) == ([8], 1), "the result was there and only had to be sent"
    office.desk = office.open()
    office.wait(11)
    assert (office.answered, len(office.sent)) == ([8], 1)


def test_a_result_that_was_cut_off_is_made_again(office, ct):
    office.receive(ct(8))
    office.wait(11)
    (place,) = (office.out / RESULTS).iterdir()
    for name in ("done.json", "result.json"):
        (place / name).unlink()
    office.desk = office.open()
    office.wait(11)
    assert office.answered == [8, 8]


def test_a_failure_is_tried_again_later_and_leaves_the_others(office, ct):
    office.broken = ["answer"]
    office.receive(ct(8))
    office.wait(11)
    assert "tried again" in office.said[-1]
    office.broken = []
    office.receive(ct(5))
    assert office.wait(11) == 1
    assert office.wait(300) == 1
    assert sorted(office.answered) == [5, 8]


def test_what_is_no_image_of_that_kind_is_left_alone(office, ct):
    office.receive(ct(3, Modality="MR"))
    assert office.wait(11) == 1
    assert office.answered == []


def test_what_is_said_holds_nothing_of_the_patient(office, ct):
    office.receive(ct(8, PatientID="SECRET77", PatientName="Canary^Bird", SeriesDescription="SECRET text"))
    broken = ct(8, PatientID="SECRET78", SeriesDescription="SECRET text")
    sorted(broken.glob("*.dcm"))[3].unlink()
    office.receive(broken)
    office.wait(11)
    assert office.answered == [8]
    assert len(office.said) > 2
    assert "SECRET" not in " ".join(office.said)


def test_errors_that_name_a_series_lose_the_patient(office, ct, caplog):
    office.receive(ct(8, PatientID="SECRET77", SeriesDescription="SECRET text"))

    def fail(series, place):
        raise InputError(f"{series} has no FrameOfReferenceUID.")

    office.desk.task = Task(fail, None)
    office.wait(11)
    assert "FrameOfReferenceUID" in office.said[-1]
    assert "SECRET" not in office.said[-1] + caplog.text


# The verb itself, with a real archive on the other side.


class Listening:
    """The verb in a process of its own."""

    def __init__(self, out: Path, peer: str, port: int) -> None:
        self.out = out
        command = "import sys; sys.argv[0] = 'oncoseg'; from oncoseg.cli.main import run; run()"
        options = ["--model", "empty", "--out", str(out), "--send-to", peer, "--quiet", "1", "--port", str(port)]
        self.log = (out.parent / "listen.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "listen", *options],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.address = f"ONCOSEG@127.0.0.1:{port}"

    def text(self):
        return (self.out.parent / "listen.log").read_text()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def listen(tmp_path):
    """Start the verb; what still runs at the end is killed."""
    started = []

    def start(peer, port):
        started.append(Listening(tmp_path / "out", peer, port))
        return started[-1]

    yield start
    for listening in started:
        if listening.process.poll() is None:
            listening.end(signal.SIGKILL)
        listening.log.close()


def until(true, seconds=60.0):
    for _ in range(int(seconds * 10)):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@pytest.mark.slow
def test_a_study_goes_in_and_its_result_comes_back_through_kills_of_both_sides(orthanc, ct, tmp_path, listen):
    folder, out = ct(12), tmp_path / "out"
    files, sent = outgoing([folder]), Ledger(tmp_path / "sent.jsonl")
    waiting = Patience(attempts=200, first_s=0.2, pause=lambda seconds: time.sleep(0.2))
    listening = listen(orthanc.web, orthanc.listener)
    archive = open_archive(listening.address, Security())
    # Killed while a study comes in.
    assert push(archive, files[:5], sent, waiting).sent == 5
    listening.end(signal.SIGKILL)
    orthanc.kill()
    listening = listen(orthanc.web, orthanc.listener)
    assert push(archive, files, sent, waiting).there == 5
    # The archive is away when the result is ready, and the listener is killed again.
    until(lambda: list(out.glob("results/*/result.json")))
    until(lambda: "trying again" in listening.text())
    listening.end(signal.SIGKILL)
    made = {p.name: p.read_bytes() for p in out.glob("results/*/*.dcm")}
    orthanc.start()
    listening = listen(orthanc.web, orthanc.listener)
    until(lambda: list(out.glob("results/*/done.json")))
    assert listening.end() == 0
    assert set(made) == {"rtstruct.dcm", "seg.dcm", "sr.dcm"}
    assert {p.name: p.read_bytes() for p in out.glob("results/*/*.dcm")} == made
    expected = sorted(str(pydicom.dcmread(p).SOPInstanceUID) for p in out.glob("results/*/*.dcm"))
    assert orthanc.holds() == expected
    assert orthanc.arrivals() == 3
    lines = list(Ledger(out / "ledger.jsonl").lines())
    stored = sorted(line.sop for line in lines if line.outcome == "stored" and line.way == "in")
    assert stored == sorted(file.instance.sop for file in files)
    (received,) = find_series(out / RECEIVED)
    assert len(received.files) == 12
    about = json.loads(next(out.glob("results/*/result.json")).read_text())
    assert about["series"] == received.uid
    assert about["made_by"].startswith("Drawn by empty")


class Failing:
    """A model whose library raises what is none of oncoseg's errors."""

    info = registry.load("models", "empty").INFOS[0]

    def predict(self, image, prompts=()):
        raise RuntimeError(f"out of memory at {image.shape}")


def test_a_model_that_fails_in_its_own_way_ends_no_listener(office, ct):
    wanted = _Result("empty", None, "GTV", 0.5, Choices(allow_empty=True))
    office.desk.task = Task(_answerer(Failing(), lambda image: [], wanted), None)
    office.receive(ct(8))
    office.wait(11)
    assert "failed (RuntimeError)" in office.said[-1]
    assert not list((office.out / RESULTS).rglob("*.dcm"))


def test_another_threshold_is_another_result():
    told = {_Result("empty", None, "GTV", threshold, Choices(site=site)).told
            for threshold, site in ((0.5, None), (0.4, None), (0.5, "lung"))}  # fmt: skip
    assert len(told) == 3


def test_a_model_that_needs_prompts_is_refused():
    from typer.testing import CliRunner

    from oncoseg.cli.main import app

    result = CliRunner().invoke(app, ["listen", "--model", "region_growing", "--out", "x"])
    assert isinstance(result.exception, InputError)
    assert "lung_box" in str(result.exception)
    assert not Path("x").exists()
