import json

import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.prompt import Box, Click
from oncoseg.score import Ledger, Prediction, Score, ledger_of, read_predictions, read_scores, write_jsonl


def score(value=0.5, reason=None):
    return Score("c", "p", "tumour", "dice", "case3d", value, reason, "", True)


def test_scores_survive_the_file(tmp_path):
    scores = [score(), score(None, "both_empty")]
    write_jsonl(tmp_path / "scores.jsonl", scores)
    assert read_scores(tmp_path / "scores.jsonl") == scores
    assert json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[1])["value"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_is_never_nan_or_infinite(value):
    with pytest.raises(ValueError, match="undefined scores are None"):
        score(value)


def test_an_undefined_score_needs_a_reason():
    with pytest.raises(ValueError, match="without a reason"):
        score(None)


def test_predictions_survive_the_file(tmp_path):
    boxes = [Box((0, 0, 0), (3, 2, 2), "oracle")]
    ledger = ledger_of(boxes)
    prediction = Prediction("c", "p", "tumour", ledger, ledger.level, [{"type": "box"}], 1.5, "masks/c.nii.gz")
    write_jsonl(tmp_path / "p.jsonl", [prediction])
    assert read_predictions(tmp_path / "p.jsonl") == [prediction]


def test_damaged_lines_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\n{")
    with pytest.raises(InputError, match=r"a\.jsonl:2 is not JSON"):
        read_scores(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"a\.jsonl:1: key 'case' is missing"):
        read_scores(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("prompts", "facts", "level"),
    [
        ([], {}, 0),
        ([Box((0, 0, 0), (3, 2, 2), "automatic")], {}, 0),
        ([Click((0, 0, 0))], {}, 1),
        ([Box((0, 0, 0), (3, 2, 2), "oracle")], {}, 2),
        ([Box((0, 0, 0), (3, 2, 2), "jittered", 5.0)], {}, 2),
        ([Click((0, 0, 0), source="simulated user")], {}, 2),
        ([Box((k, 0, 0), (k + 1, 2, 2), "oracle") for k in range(4)], {}, 3),
        ([], {"crop_centre_known": True}, 3),
        ([], {"class_list_known": True}, 2),
        ([], {"selected_on_test": True}, 4),
        ([], {"prompt_source": "human reader"}, 1),
    ],
)
def test_ledger_level_follows_what_reached_the_model(prompts, facts, level):
    assert ledger_of(prompts, **facts).level == level


def test_ledger_counts_prompts_and_slices():
    prompts = [
        Box((2, 0, 0), (5, 2, 2), "jittered", 5.0),
        Click((4, 0, 0), source="simulated user"),
        Click((7, 0, 0), positive=False, source="simulated user"),
    ]
    ledger = ledger_of(prompts)
    assert ledger == Ledger(
        prompt_source="jittered",
        boxes=1,
        clicks_positive=1,
        clicks_negative=1,
        prompted_slices=4,
        jitter_mm=5.0,
    )
    assert ledger.label == "1 box + 1 positive click + 1 negative click, jittered 5 mm, level 2"


def test_boxes_are_counted_in_english():
    assert Ledger(prompt_source="oracle", boxes=3).label == "3 boxes, oracle, level 2"
    assert Ledger().label == "no prompt, level 0"


def test_one_slice_boxes_of_different_lesions_say_nothing_about_where_one_ends():
    def box(index, lesion):
        return Box((index, 0, 0), (index + 1, 2, 2), "oracle", lesion=lesion)

    assert not ledger_of([box(2, 1), box(7, 2)]).z_extent_known
    assert ledger_of([box(2, 1), box(3, 1)]).z_extent_known
    assert ledger_of([box(2, None), box(7, None)]).z_extent_known


def test_every_result_carries_type_source_number_and_jitter():
    ledger = ledger_of([Box((2, 0, 0), (3, 2, 2), "jittered", jitter_px=10.0), Click((2, 0, 0), source="oracle")])
    assert (ledger.boxes, ledger.clicks_positive, ledger.prompts, ledger.jitter_px) == (1, 1, 2, 10.0)
    assert ledger.label == "1 box + 1 positive click, oracle 10 px, level 2"
    assert ledger.prompt_types == ("box", "click")


def test_ledgers_of_older_runs_are_read(tmp_path):
    """Fields that came later have their defaults."""
    write_jsonl(tmp_path / "p.jsonl", [Prediction("c", "p", "tumour", Ledger(boxes=1), 2, [], 1.0, None)])
    old = json.loads((tmp_path / "p.jsonl").read_text())
    del old["ledger"]["jitter_px"]
    (tmp_path / "p.jsonl").write_text(json.dumps(old) + "\n")
    assert read_predictions(tmp_path / "p.jsonl")[0].ledger == Ledger(boxes=1)
