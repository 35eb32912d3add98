import pytest

MATRIX = """
name = "{name}"
[dataset.{dataset}]
use = "phantom"
options = {{ cases = 1, shape = [16, 48, 48], spacing = [10.0, 8.0, 8.0]{options} }}
[[cells]]
dataset = {dataset}
model = "unet"
{more}
"""


@pytest.fixture
def matrix(tmp_path, monkeypatch):
    """Write a matrix and go to its folder."""

    def write(name="small", dataset='"p"', options="", more=""):
        (tmp_path / "m.toml").write_text(MATRIX.format(name=name, dataset=dataset, options=options, more=more))
        monkeypatch.chdir(tmp_path)
        return "m.toml"

    return write


def test_a_missing_weights_file_is_one_cell_that_fails(oncoseg, matrix, tmp_path):
    result = oncoseg("bench", matrix(more='weights = "nowhere.pth"'), "--out", "run", "--no-report")
    assert result.code == 4
    assert "nowhere.pth does not exist" in result.err


def test_a_plan_that_cannot_run_says_so_by_its_exit_code(oncoseg, matrix):
    result = oncoseg("bench", matrix(options=", cases_ = 2"), "--out", "run", "--dry-run")
    assert result.code == 4
    assert "unknown key 'cases_'" in result.err


@pytest.mark.parametrize("names", [{"name": "../../run"}, {"name": ""}, {"dataset": '"../p"'}])
def test_names_that_would_lead_out_of_the_folder_are_refused(oncoseg, matrix, names):
    result = oncoseg("bench", matrix(**names), "--dry-run")
    assert result.code == 2
    assert f"'{next(iter(names.values())).strip(chr(34))}' names the run or a data set" in result.err


def test_a_disk_that_fills_up_in_a_cell_is_one_message_and_no_broken_line(oncoseg, matrix, tmp_path, monkeypatch):
    import errno
    import os

    command = ["bench", matrix(more='weights = "odd.pth"'), "--out", "run", "--no-report"]
    (tmp_path / "odd.pth").write_bytes(b"no weights")  # the cell fails, which is noted
    assert oncoseg(*command).code == 4
    noted = next((tmp_path / "run").glob("*/attempts.jsonl"))
    before = noted.read_bytes()
    replace = os.replace

    def full(source, target):
        if str(target).endswith("attempts.jsonl"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    result = oncoseg(*command)
    assert result.code == 2
    assert "attempts.jsonl: No space left on device" in result.err
    assert noted.read_bytes() == before


def test_what_no_verb_foresees_of_files_is_still_one_message(oncoseg, matrix, monkeypatch):
    def unreadable(*_):
        raise PermissionError(13, "Permission denied", "m.toml")

    monkeypatch.setattr("oncoseg.experiments.matrix.load_matrix", unreadable)
    result = oncoseg("bench", matrix())
    assert result.code == 1
    assert result.err.startswith("oncoseg: m.toml: Permission denied.")
