"""Users who correct, models that answer; and what is kept of it."""

import json

import numpy as np
import pytest

from oncoseg.errors import ConfigError
from oncoseg.evaluation.interactive import area_under
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.rounds import play
from oncoseg.experiments.store import read_cell
from oncoseg.io.images import read_mask
from oncoseg.prompt import Click
from oncoseg.volume import Volume

#: What a case with masks of several readers is scored by besides.
AGAINST_READERS = ("dice_staple", "soft_dice", "soft_brier")

INTERACTIVE = """
[[cells]]
dataset = "balls"
model = "{model}"
prompt = {{ use = "{use}", then = "{then}", rounds = {rounds}{more} }}
"""


@pytest.fixture
def played(matrix_of, tmp_path):
    """The result of one interactive cell on the toy balls."""

    def run(model="toy_painter", use="centre_click", then="edt_error", rounds=4, more="", options=""):
        text = INTERACTIVE.format(model=model, use=use, then=then, rounds=rounds, more=more)
        (cell,) = matrix_of(text, options=options).plan()
        return read_cell(run_cell(cell, tmp_path / "run"))

    return run


def test_the_user_sees_what_the_model_answered():
    image = Volume.from_spacing(np.zeros((1, 2, 4), np.float32), (1.0, 1.0, 1.0))
    told = []

    def tell(prompts):
        told.append([p.index for p in prompts])
        mask = np.zeros(image.shape, bool)
        for row in told:
            for index in row:
                mask[index] = True
        return image.with_voxels(mask)

    def correct(mask, number):
        missing = np.argwhere(~mask.voxels)
        return [Click(tuple(missing[0].tolist()))] if number < 4 else []

    steps = play(tell, [Click((0, 1, 3))], correct, rounds=5)
    assert told == [[(0, 1, 3)], [(0, 0, 0)], [(0, 0, 1)], [(0, 0, 2)]]
    assert [len(s.prompts) for s in steps] == [1, 1, 1, 1, 0, 0]
    assert [int(s.mask(image).voxels.sum()) for s in steps] == [1, 2, 3, 4, 4, 4]
    assert steps[-1].seconds == 0


def test_every_round_is_kept_with_its_dice(played):
    result = played()
    assert [(r.case, r.number) for r in result.rounds[:6]] == [("ball-0", n) for n in range(5)] + [("ball-1", 0)]
    assert [r.given for r in result.rounds[:5]] == [1, 2, 3, 4, 5]
    for prediction in result.predictions:
        own = [r for r in result.rounds if r.case == prediction.case]
        assert [item for r in own for item in r.prompts] == prediction.prompts
        scores = {s.metric: s.value for s in result.scores if s.case == prediction.case}
        assert scores["dice"] == own[-1].dice
        assert scores["dice_clicks_area"] == pytest.approx(area_under([r.dice for r in own]))
        assert own[-1].dice > own[0].dice
        assert prediction.seconds == pytest.approx(sum(r.seconds for r in own), abs=1e-3)


def test_corrections_are_counted_as_looking_at_the_errors(played):
    ledger = played().predictions[0].ledger
    assert (ledger.error_map_used, ledger.level, ledger.prompt_source) == (True, 3, "oracle")
    assert ledger.clicks_positive + ledger.clicks_negative == 5
    assert " on errors, oracle, level 3" in ledger.label
    assert played(use="whole_image").predictions[0].ledger.level == 3


def test_a_session_and_a_plain_model_give_the_same_rounds(played):
    import toy_painter

    opened = len(toy_painter.OPENED)
    plain, session = played(), played(model="toy_painter.session")
    assert [(r.prompts, r.dice) for r in plain.rounds] == [(r.prompts, r.dice) for r in session.rounds]
    assert len(toy_painter.OPENED) - opened == 3  # once a case


def test_the_same_user_again_clicks_the_same(played, matrix_of, tmp_path):
    first = played(then="uniform_error")
    (cell,) = matrix_of(
        INTERACTIVE.format(model="toy_painter", use="centre_click", then="uniform_error", rounds=4, more="")
    ).plan()
    again = read_cell(run_cell(cell, tmp_path / "another"))
    assert [r.prompts for r in again.rounds] == [r.prompts for r in first.rounds]


def test_draws_correct_differently(played):
    result = played(use="random_click", then="balanced_error", more=", repeats = 2")
    by_draw = {draw: [r.prompts for r in result.rounds if r.case == f"ball-0~{draw}"] for draw in (1, 2)}
    assert by_draw[1] != by_draw[2]
    assert {s.case for s in result.scores if s.metric == "noc@85"} == {
        f"ball-{n}~{d}" for n in range(3) for d in (1, 2)
    }


def test_an_empty_reference_has_no_rounds(played):
    result = played(options='options = { empty = ["ball-1"] }')
    assert {r.case for r in result.rounds} == {"ball-0", "ball-2"}
    assert {s.metric for s in result.scores if s.case == "ball-1"} == {"dice", "hd95_max", *AGAINST_READERS}


def test_prompts_about_no_lesion_stay_so(played):
    result = played(more=', per = "volume"')
    assert not any("lesion" in item for p in result.predictions for item in p.prompts)
    assert all("lesion" in item for p in played().predictions for item in p.prompts)


def test_masks_that_were_prompts_are_files(played):
    result = played(use="rough_mask", rounds=2)
    first = result.predictions[0].prompts[0]
    assert first["type"] == "mask"
    mask = read_mask(result.folder / first["file"])
    assert mask.voxels.any()
    assert result.rounds[0].prompts == [first]


def test_several_corrections_a_round(matrix_of, tmp_path):
    text = """
[[cells]]
dataset = "balls"
model = "toy_painter"
prompt = { use = "centre_click", then = { use = "uniform_error", clicks = 3 }, rounds = 2 }
"""
    (cell,) = matrix_of(text).plan()
    result = read_cell(run_cell(cell, tmp_path))
    assert [r.given for r in result.rounds[:3]] == [1, 4, 7]
    assert result.record.prompt == "centre click, then 2 x uniform error clicks 3"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ('{ use = "box", then = "edt_error" }', "give both"),
        ('{ use = "box", rounds = 3 }', "give both"),
        ('{ use = "box", then = "centre_click", rounds = 3 }', "does not look at predictions"),
    ],
)
def test_wrong_corrections_are_refused(matrix_of, prompt, message):
    with pytest.raises(ConfigError, match=message):
        matrix_of(f'[[cells]]\ndataset = "balls"\nmodel = "toy_painter"\nprompt = {prompt}\n')


def test_a_model_without_clicks_cannot_be_corrected_by_them(matrix_of):
    text = INTERACTIVE.format(model="toy_bright.boxed", use="box", then="edt_error", rounds=3, more="")
    (cell,) = matrix_of(text).plan()
    assert cell.skipped == "toy_bright.boxed takes box, and edt_error corrects with click"


def test_rounds_are_json_lines(played):
    result = played(rounds=1)
    lines = (result.folder / "rounds.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert set(json.loads(lines[0])) == {
        "case", "patient", "roi", "number", "prompts", "given", "dice", "reason", "seconds",
    }  # fmt: skip
