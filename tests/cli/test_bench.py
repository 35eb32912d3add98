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
