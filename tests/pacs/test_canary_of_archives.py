"""What is pulled, pushed and received leaves nothing of the patient in ledgers, names, messages and logs."""

from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from oncoseg.cli.clinical import Choices
from oncoseg.cli.listen import _answerer, _Result
from oncoseg.cli.main import app
from oncoseg.cli.settings import open_model
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.listening import RECEIVED, Desk, Task


@pytest.fixture
def marked(ct, canary):
    """A CT series whose every text is a mark; its files and folder are named by others."""
    folder = ct(8)
    for path in folder.glob("*.dcm"):
        made = pydicom.dcmread(path)
        canary.plant(made)
        made.save_as(path)
    return folder


def records(folder, place):
    """Copies of all that is no image under new names; names of all files are texts too."""
    place.mkdir()
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    (place / "names.txt").write_text("\n".join(str(p.relative_to(folder)) for p in found))
    for number, path in enumerate(p for p in found if p.suffix != ".dcm"):
        (place / f"{number}{path.suffix}").write_bytes(path.read_bytes())


def test_pulling_and_pushing(orthanc, protocol, marked, canary, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    peer, runner = orthanc.peer(protocol), CliRunner()
    study = str(pydicom.dcmread(next(marked.glob("*.dcm"))).StudyInstanceUID)
    ours = ["--move", str(orthanc.listener)] if protocol == "move" else []
    told = [
        runner.invoke(app, ["push", peer, str(marked), "--ledger", "out/ledger.jsonl"]),
        runner.invoke(app, ["pull", peer, "--study", study, "--out", "in", *ours]),
        runner.invoke(app, ["pull", peer, "--study", f"{study}.9", "--out", "in", *ours]),
    ]
    assert [t.exit_code for t in told[:2]] == [0, 0], told[1].output
    assert told[2].exception is not None
    assert len(list(Path("in").rglob("*.dcm"))) == 8
    for number, result in enumerate(told):
        (Path("out") / f"said-{number}.txt").write_text(f"{result.output}{result.exception}")
    (Path("out") / "log.txt").write_text(caplog.text)
    records(Path("in"), tmp_path / "records-in")
    records(Path("out"), tmp_path / "records-out")
    assert canary.hits(tmp_path / "records-in") == []
    assert canary.hits(tmp_path / "records-out") == []


def test_receiving_and_answering(marked, canary, tmp_path, caplog, capsys):
    out, said = tmp_path / "desk", []
    ledger = Ledger(out / "ledger.jsonl")
    inbox = Inbox(out / RECEIVED, ledger)
    for path in sorted(marked.glob("*.dcm")):
        inbox.keep(path.read_bytes(), "SCANNER@127.0.0.1")
    model = open_model("empty", None, {}, trained=True)
    answer = _answerer(model, lambda image: [], _Result("empty", None, "GTV", 0.5, Choices(allow_empty=True)))

    assert Desk(out, Task(answer, None), quiet_s=0, say=said.append).work() == 1
    assert len(list(out.glob("results/*/*.dcm"))) == 3
    records(out, tmp_path / "records")
    (tmp_path / "records/said.txt").write_text("\n".join(said) + caplog.text + "".join(capsys.readouterr()))
    assert canary.hits(tmp_path / "records") == []
    # By design: an archive files the result under the patient of the image.
    assert len(canary.hits(out / "results", marks=(canary.MARK,))) > 3
