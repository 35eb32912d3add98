"""A promptable model that answers without a prompt has a zero-click row; others have none."""

from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.store import read_cell
from oncoseg.models import sam_med3d

CELLS = """
[[cells]]
dataset = "balls"
model = ["sam_med3d", "toy_painter"]
options = {options}
prompt = ["none"]
"""


def toml(options):
    def value(v):
        return str(v).lower() if isinstance(v, bool) else repr(v)

    return "{ " + ", ".join(f"{name} = {value(v)}" for name, v in options.items()) + " }"


def test_the_row_is_planned_counted_as_level_0_and_says_where_was_looked(matrix_of, tmp_path):
    options = toml({**sam_med3d.RECIPES["smoke"].options, "spacing_mm": 1.0})
    zero, other = matrix_of(CELLS.format(options=options)).plan()
    assert zero.skipped is None
    assert "toy_painter needs a prompt" in other.skipped
    result = read_cell(run_cell(zero, tmp_path / "run"))
    assert {(p.level, p.ledger.prompt_source, p.error) for p in result.predictions} == {(0, "none", None)}
    assert any("Without a click the cube in the middle" in note for note in result.record.notes)
