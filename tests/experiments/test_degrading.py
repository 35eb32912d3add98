"""Worse and worse prompts: the same cases, the same draws, one level after the other."""

import numpy as np
import pytest

from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.degrading import AXES, axis_and_levels, degradation_matrix
from oncoseg.experiments.specs import DatasetSpec, ModelSpec
from oncoseg.experiments.store import read_cell
from oncoseg.report.degradation import area_of, curves
from oncoseg.report.groups import make_groups

BALLS = {"balls": DatasetSpec("toy_balls", {"cases": 4})}


def matrix(model, axes=(), **more):
    return degradation_matrix(ModelSpec(model), BALLS, [axis_and_levels(a) for a in axes], **more)


@pytest.mark.parametrize("axis", AXES.values(), ids=lambda axis: axis.name)
def test_every_axis_starts_with_the_prompt_it_degrades(axis):
    levels = [axis.prompt(level, 3) for level in axis.levels]
    assert levels[0].repeats == 1
    assert [axis.level_of({"use": p.use, "options": p.options}) for p in levels] == list(axis.levels)
    rests = [axis.rest_of({"use": p.use, "options": p.options, "repeats": p.repeats}) for p in levels]
    assert all(rest == rests[0] for rest in rests)
    assert len({p.label for p in levels}) == len(levels)  # tables are told apart by it
    assert len(axis.levels) >= 4


def test_a_model_meets_the_axes_of_its_prompts():
    only = {cell.prompt.use for cell in matrix("toy_bright.boxed", beside=()).plan()}
    assert only == {"box", "shifted_range", "key_slice", "wrong_slice"}
    every = {cell.prompt.use for cell in matrix("toy_painter", beside=()).plan()}
    assert every == {axis.use for axis in AXES.values()}
    assert not any(cell.skipped for cell in matrix("toy_painter").plan())


def test_the_null_models_stand_beside_it_on_the_same_prompts():
    cells = matrix("toy_painter", ["jitter_mm", "off_centre"]).plan()
    by_model = {name: [c.prompt.label for c in cells if c.model.name == name] for name in ("toy_painter", "ellipsoid")}
    assert by_model["ellipsoid"] == by_model["toy_painter"][:5]


def test_levels_as_typed():
    axis, levels = axis_and_levels("range_slices=0,3,7")
    assert (axis.name, levels) == ("range_slices", (0, 3, 7))
    with pytest.raises(UnknownNameError, match="jitter_mm"):
        axis_and_levels("jitter_m")
    for text in ("jitter_mm=1,2", "jitter_mm=0", "jitter_mm=0,x", "jitter_mm=0,5,2", "range_slices=0,1.5"):
        with pytest.raises(ConfigError, match="rising"):
            axis_and_levels(text)


def test_axes_without_a_prompt_for_the_model_are_refused():
    with pytest.raises(ConfigError, match=r"toy_bright\.automatic takes no prompt, so none can be degraded"):
        matrix("toy_bright.automatic")
    with pytest.raises(ConfigError, match=r"takes box, so off_centre cannot be tried\. Its axes: jitter_mm"):
        matrix("toy_bright.boxed", ["off_centre"])


@pytest.fixture
def run(tmp_path):
    def run(*arguments, **named):
        return [read_cell(run_cell(cell, tmp_path)) for cell in matrix(*arguments, **named).plan()]

    return run


def test_draws_are_paired_over_levels_and_models(run):
    results = run("toy_painter", ["jitter_mm=0,2,4"], repeats=2, beside=("filled_box",))
    boxes = {
        (r.record.model, r.record.jitter_mm, p.case): (*p.prompts[0]["start"], *p.prompts[0]["stop"])
        for r in results
        for p in r.predictions
    }
    for case in ("ball-0", "ball-1", "ball-2"):
        exact = np.array(boxes["toy_painter", 0.0, case])
        assert boxes["filled_box", 0.0, case] == tuple(exact)
        for draw in (1, 2):
            near, far = (np.array(boxes["toy_painter", mm, f"{case}~{draw}"]) - exact for mm in (2.0, 4.0))
            assert boxes["filled_box", 4.0, f"{case}~{draw}"] == boxes["toy_painter", 4.0, f"{case}~{draw}"]
            assert (near * far >= 0).all()
            assert (np.abs(near) <= np.abs(far)).all()


def test_one_slice_only_is_worse_than_all_of_them(run):
    results = run("toy_painter", ["missing_slices"], beside=())
    (at,) = curves(make_groups(results), AXES["missing_slices"]).values()
    dice = [np.mean(list(at[level].by_case("dice").values())) for level in sorted(at)]
    assert dice == sorted(dice, reverse=True)
    assert dice[0] > 0.8
    assert dice[-1] < 0.45
    area = area_of(at)
    assert area.summary.mean == pytest.approx(np.trapezoid(dice, sorted(at)))
    assert area.kept == pytest.approx(area.summary.mean / dice[0])
    assert area.summary.low < area.summary.mean < area.summary.high


def test_a_wrong_slice_leaves_nothing(run):
    results = run("toy_painter", ["wrong_slice=0,1"], beside=(), repeats=2)
    (at,) = curves(make_groups(results), AXES["wrong_slice"]).values()
    assert set(at[1.0].by_case("dice").values()) == {0.0}
    assert area_of(at).kept == pytest.approx(0.5)
