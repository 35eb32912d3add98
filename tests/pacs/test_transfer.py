"""Pulling from and pushing to a real Orthanc, which is killed in the middle."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pydicom
import pytest

from oncoseg.errors import FetchError, InputError
from oncoseg.io.dicom import find_series, read_image
from oncoseg.pacs.archive import Query, TransientError
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Security
from oncoseg.pacs.pulling import pull
from oncoseg.pacs.pushing import outgoing, push
from oncoseg.pacs.retry import Patience


def opened(orthanc, protocol):
    return open_archive(orthanc.peer(protocol), Security(), move_to=orthanc.move_to(protocol))


def sent(orthanc, protocol, folder, ledger, patience):
    return push(opened(orthanc, protocol), outgoing([folder]), ledger, patience)


def study_of(folder):
    return str(pydicom.dcmread(next(folder.glob("*.dcm"))).StudyInstanceUID)


def sops(folder):
    return sorted(str(pydicom.dcmread(p).SOPInstanceUID) for p in folder.rglob("*.dcm"))


def test_what_is_pushed_comes_back_with_the_same_voxels(orthanc, protocol, ct, tmp_path, patience):
    folder = ct()
    done = sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)
    assert (done.sent, done.there, done.refused) == (8, 0, {})
    assert orthanc.holds() == sops(folder)
    pulled = pull(opened(orthanc, protocol), Query(study=study_of(folder)), tmp_path / "in", patience)
    assert (pulled.series, pulled.fetched, pulled.there, pulled.refused) == (1, 8, 0, {})
    before, after = read_image(folder), read_image(pulled.folders[0])
    assert np.array_equal(before.voxels, after.voxels)
    assert before.same_grid(after)


def test_nothing_goes_or_comes_twice(orthanc, protocol, ct, tmp_path, patience):
    folder, ledger = ct(), tmp_path / "out.jsonl"
    sent(orthanc, protocol, folder, Ledger(ledger), patience)
    again = sent(orthanc, protocol, folder, Ledger(ledger), patience)
    elsewhere = sent(orthanc, protocol, folder, Ledger(tmp_path / "another.jsonl"), patience)
    assert (again.sent, again.there) == (elsewhere.sent, elsewhere.there) == (0, 8)
    assert orthanc.arrivals() == 8
    query, out = Query(study=study_of(folder)), tmp_path / "in"
    pull(opened(orthanc, protocol), query, out, patience)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")}
    second = pull(opened(orthanc, protocol), query, out, patience)
    assert (second.fetched, second.there) == (0, 8)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")} == before


def test_a_pull_fetches_what_is_missing_or_damaged(orthanc, protocol, ct, tmp_path, patience):
    folder, out = ct(), tmp_path / "in"
    sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)
    query = Query(study=study_of(folder))
    pull(opened(orthanc, protocol), query, out, patience)
    files = sorted(out.rglob("*.dcm"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-100])
    again = pull(opened(orthanc, protocol), query, out, patience)
    assert (again.fetched, again.there) == (2, 6)
    assert np.array_equal(read_image(again.folders[0]).voxels, read_image(folder).voxels)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda s: {"patient": "P7", "modality": "CT"},
        lambda s: {"series": s["series"]},
        lambda s: {"date": "20210101-20211231"},
        lambda s: {"study": s["study"], "series": s["series"]},
    ],
)
def test_series_are_found_by_what_is_known(orthanc, protocol, ct, tmp_path, patience, wanted):
    folder = ct(3, PatientID="P7", StudyDate="20210506")
    other = ct(3)
    for place in (folder, other):
        sent(orthanc, protocol, place, Ledger(tmp_path / "out.jsonl"), patience)
    series = find_series(folder)[0]
    query = Query(**wanted({"study": series.study, "series": series.uid}))
    found = opened(orthanc, protocol).find(query)
    assert [(f.study, f.series, f.modality) for f in found] == [(series.study, series.uid, "CT")]


def test_a_query_without_an_answer_finds_nothing(orthanc, protocol):
    assert opened(orthanc, protocol).find(Query(study="1.2.3.4.5")) == []


class CutOff:
    """Passes everything on and kills the archive after some objects have gone by; somebody starts it again later."""

    def __init__(self, archive, orthanc, after):
        self.archive, self.orthanc, self.after, self.name = archive, orthanc, after, archive.name
        self.restarting = None

    def __getattr__(self, what):
        return getattr(self.archive, what)

    def _count(self):
        self.after -= 1
        if self.after == 0:
            self.orthanc.kill()
            self.restarting = threading.Timer(0.5, self.orthanc.start)
            self.restarting.start()

    def fetch(self, wanted, keep):
        def counted(content):
            keep(content)
            self._count()

        self.archive.fetch(wanted, counted)

    def store(self, files):
        # One file a request, so that there is a middle.
        for file in files:
            for outcome in self.archive.store([file]):
                self._count()
                yield outcome


def test_an_archive_killed_in_the_middle_of_a_push_gets_everything_once(orthanc, protocol, ct, tmp_path):
    folder, ledger, said = ct(20), Ledger(tmp_path / "out.jsonl"), []
    archive = CutOff(opened(orthanc, protocol), orthanc, after=7)
    done = push(archive, outgoing([folder]), ledger, Patience(attempts=20, first_s=0.2, say=said.append))
    archive.restarting.join()
    assert said, "the archive was killed, so something must have failed"
    assert done.sent + done.there == 20
    assert not done.refused
    assert orthanc.holds() == sops(folder)
    lines = list(ledger.lines())
    assert sorted(line.sop for line in lines) == sops(folder)
    assert {line.outcome for line in lines} <= {"stored", "there"}


def test_a_pull_from_an_archive_killed_in_the_middle_is_whole(orthanc, protocol, ct, tmp_path, patience):
    folder, out, said = ct(20), tmp_path / "in", []
    sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)
    archive = CutOff(opened(orthanc, protocol), orthanc, after=7)
    done = pull(archive, Query(study=study_of(folder)), out, Patience(attempts=20, first_s=0.2, say=said.append))
    archive.restarting.join()
    assert any("trying again" in line for line in said)
    assert (done.fetched, done.refused) == (20, {})
    lines = list(Ledger(out / "ledger.jsonl").lines())
    assert sorted(line.sop for line in lines if line.outcome == "stored") == sops(folder)
    assert np.array_equal(read_image(done.folders[0]).voxels, read_image(folder).voxels)


def test_a_pull_goes_on_after_it_was_given_up(orthanc, protocol, ct, tmp_path, patience):
    folder, out = ct(12), tmp_path / "in"
    sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)

    class Broken(CutOff):
        def _count(self):
            self.after -= 1
            if self.after <= 0:
                raise TransientError("cut")

    archive, query = opened(orthanc, protocol), Query(study=study_of(folder))
    with pytest.raises(FetchError, match="the same command goes on from there"):
        pull(Broken(archive, orthanc, 5), query, out, Patience(attempts=1))
    kept = len(list(out.rglob("*.dcm")))
    assert 5 <= kept < 12  # what was on its way by DIMSE when it was cut may still arrive
    rest = pull(archive, query, out, patience)
    assert (rest.fetched, rest.there) == (12 - kept, kept)


def test_an_archive_that_is_not_there_is_said_after_the_last_attempt(orthanc, protocol, ct, tmp_path):
    orthanc.kill()
    pauses = []
    with pytest.raises(FetchError, match="Given up after 3 attempts"):
        pull(opened(orthanc, protocol), Query(study="1.2.3"), tmp_path / "in", Patience(3, pause=pauses.append))
    assert pauses == [1.0, 2.0]


def test_compressed_images_travel_as_they_are(orthanc, protocol, ct, tmp_path, patience):
    folder = ct(3)
    for path in folder.glob("*.dcm"):
        made = pydicom.dcmread(path)
        made.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        made.save_as(path)
    done = sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)
    assert (done.sent, done.refused) == (3, {})
    pulled = pull(opened(orthanc, protocol), Query(study=study_of(folder)), tmp_path / "in", patience)
    syntaxes = {pydicom.dcmread(p).file_meta.TransferSyntaxUID for p in pulled.folders[0].glob("*.dcm")}
    assert syntaxes == {"1.2.840.10008.1.2.5"}
    assert np.array_equal(read_image(folder).voxels, read_image(pulled.folders[0]).voxels)


def test_contours_too_long_for_the_explicit_encoding_keep_theirs(orthanc, protocol, mock, tmp_path, patience, recwarn):
    turns = np.linspace(0, 2 * np.pi, 2500)
    circle = np.stack([100 * np.cos(turns), 100 * np.sin(turns), np.zeros_like(turns)], axis=1)
    made = mock.rtstruct({"External": [circle]})
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    made.StudyInstanceUID, path = "1.2.3.99", tmp_path / "rt.dcm"
    pydicom.dcmwrite(path, made, enforce_file_format=True, implicit_vr=True)
    done = sent(orthanc, protocol, path, Ledger(tmp_path / "out.jsonl"), patience)
    assert (done.sent, done.refused) == (1, {})
    pulled = pull(opened(orthanc, protocol), Query(study="1.2.3.99"), tmp_path / "in", patience)
    back = pydicom.dcmread(next(pulled.folders[0].glob("*.dcm")))
    assert back.ROIContourSequence[0].ContourSequence[0].ContourData == (
        made.ROIContourSequence[0].ContourSequence[0].ContourData
    )
    assert not [w for w in recwarn if "64 kByte" in str(w.message)]


def test_a_full_disk_is_an_error_and_leaves_no_half_a_file(orthanc, protocol, ct, tmp_path, patience, monkeypatch):
    folder, out = ct(6), tmp_path / "in"
    sent(orthanc, protocol, folder, Ledger(tmp_path / "out.jsonl"), patience)
    import oncoseg.pacs.inbox as inbox

    write, written = inbox.write_bytes, []

    def full(path, content):
        if len(written) == 3:
            from oncoseg.files import written_whole

            with written_whole(path) as temporary:
                temporary.write_bytes(content[:100])
                raise OSError(28, "No space left on device")
        written.append(path)
        write(path, content)

    monkeypatch.setattr(inbox, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        pull(opened(orthanc, protocol), Query(study=study_of(folder)), out, patience)
    files = [p for p in out.rglob("*") if p.is_file() and p.name != "ledger.jsonl"]
    assert sorted(files) == sorted(written)
    monkeypatch.undo()
    assert pull(opened(orthanc, protocol), Query(study=study_of(folder)), out, patience).fetched == 3


def test_the_ledger_says_what_came_and_nothing_of_the_patient(orthanc, protocol, ct, tmp_path, patience):
    folder = ct(2, PatientID="SECRET77", PatientName="Canary^Bird")
    ledger = tmp_path / "out.jsonl"
    sent(orthanc, protocol, folder, Ledger(ledger), patience)
    pull(opened(orthanc, protocol), Query(patient="SECRET77"), tmp_path / "in", patience)
    for path in (ledger, tmp_path / "in/ledger.jsonl"):
        text = path.read_text()
        assert "SECRET77" not in text
        assert "Canary" not in text
        lines = [json.loads(line) for line in text.splitlines()]
        assert {line["outcome"] for line in lines} == {"stored"}
        assert all(len(line["sha256"]) == 64 and line["time"].endswith("+00:00") for line in lines)
    assert not [p for p in (tmp_path / "in").rglob("*") if "SECRET" in str(p)]


def killed(arguments, place, after):
    """Run the verb in a process of its own and kill it as soon as its ledger has some lines."""
    command = "import sys; sys.argv[0] = 'oncoseg'; from oncoseg.cli.main import run; run()"
    process = subprocess.Popen([sys.executable, "-c", command, *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if place.exists() and place.read_bytes().count(b"\n") >= after:
            process.kill()
        time.sleep(0.002)
    return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dicomweb", "move"])
def test_a_push_and_a_pull_that_are_killed_again_and_again_lose_nothing(orthanc, ct, tmp_path, patience, way):
    folder, ledger, out = ct(40), tmp_path / "out.jsonl", tmp_path / "in"
    # DIMSE one way and DICOMweb or C-MOVE the other: all acknowledge object by object.
    arguments = ["push", orthanc.dimse, str(folder), "--ledger", str(ledger)]
    codes = [killed(arguments, ledger, after) for after in (5, 20)] + [killed(arguments, ledger, 1000)]
    assert codes == [-9, -9, 0]
    assert orthanc.holds() == sops(folder)
    assert orthanc.arrivals() == 40
    assert sorted({line.sop for line in Ledger(ledger).lines()}) == sops(folder)
    peer = [orthanc.web] if way == "dicomweb" else [orthanc.dimse, "--move", str(orthanc.listener)]
    arguments = ["pull", *peer, "--study", study_of(folder), "--out", str(out)]
    came = out / "ledger.jsonl"
    codes = [killed(arguments, came, after) for after in (5, 20)] + [killed(arguments, came, 1000)]
    assert codes == [-9, -9, 0]
    assert sops(out) == sops(folder)
    assert not [p for p in out.rglob(".partial*")]
    stored = [line.sop for line in Ledger(came).lines() if line.outcome == "stored"]
    assert len(stored) == len(set(stored)) >= 38
    assert sorted({line.sop for line in Ledger(came).lines()}) == sops(folder)
