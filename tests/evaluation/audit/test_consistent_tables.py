"""Tables made from per-case scores are never flagged; the same tables with one value changed are."""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.evaluation.audit.cells import table_cells
from oncoseg.evaluation.audit.checking import audit
from oncoseg.evaluation.published import Printed


def rounded(value, decimals, scale):
    return float(f"{value * scale:.{decimals}f}")


def cases(rng, n):
    """Dice of n cases of one method: beta-distributed, some missed, as segmentation of lesions has it."""
    mean, concentration = rng.uniform(0.3, 0.97), rng.uniform(3, 40)
    dice = rng.beta(mean * concentration, (1 - mean) * concentration, n)
    return np.where(rng.random(n) < rng.choice([0, 0.05, 0.2]), 0.0, dice)


def table(rng):
    """Methods by targets; Dice and IoU of every case averaged, then rounded, with an average column by one rule."""
    decimals, scale = [(4, 1), (3, 1), (2, 100), (1, 100)][rng.integers(4)]
    n, weight = int(rng.integers(5, 120)), rng.choice([1 / 2, 1 / 3])
    suffix = "_percent" if scale == 100 else ""
    found = []
    for method in range(int(rng.integers(3, 10))):
        parts = {"lungs": cases(rng, n), "tumour": cases(rng, n)}
        for name, function in (("Dice", lambda d: d), ("IoU", lambda d: d / (2 - d))):
            means = {target: function(dice).mean() for target, dice in parts.items()}
            means["average"] = (1 - weight) * means["lungs"] + weight * means["tumour"]
            found += [
                Printed(
                    "own",
                    "1",
                    "data",
                    f"model {method}",
                    "",
                    t,
                    name + suffix,
                    rounded(v, decimals, scale),
                    decimals,
                )
                for t, v in means.items()
            ]
    return found


def test_a_thousand_consistent_tables_raise_nothing():
    rng = np.random.default_rng(7)
    flagged = []
    for number in range(1000):
        told = audit(table_cells(table(rng))).findings
        flagged += [(number, f.check, f.sentence) for f in told]
    assert flagged == []


def test_pooled_counts_and_medians_raise_nothing_either():
    rng = np.random.default_rng(8)
    for _ in range(100):
        tp, extra = rng.integers(0, 900, 30), rng.integers(1, 900, 30)
        pooled = 2 * tp.sum() / (2 * tp.sum() + extra.sum())
        median = float(np.median(2 * tp / (2 * tp + extra)))
        for dice, iou in ((pooled, pooled / (2 - pooled)), (median, float(np.median(tp / (tp + extra))))):
            cells = [
                Printed("own", "1", "", "one", "", "tumour", "Dice", rounded(dice, 4, 1), 4),
                Printed("own", "1", "", "one", "", "tumour", "IoU", rounded(iou, 4, 1), 4),
            ]
            assert audit(table_cells(cells)).findings == ()


def test_transfer_tables_with_exact_differences_raise_nothing():
    rng = np.random.default_rng(9)
    for _ in range(200):
        before, after = rng.uniform(20, 95, 2)
        values = {"before": before, "after": after, "delta": after - before, "rate": 100 * (after - before) / before}
        cells = [
            Printed("own", "2", "a -> b", "one", "", "tumour", f"Dice_{stage}_percent", rounded(v, 2, 1), 2)
            for stage, v in values.items()
        ]
        assert audit(table_cells(cells)).findings == ()


@pytest.mark.parametrize("seed", range(5))
def test_an_iou_that_is_too_low_for_its_dice_is_told(seed):
    rng = np.random.default_rng(seed)
    cells = table(rng)
    row = next(n for n, c in enumerate(cells) if c.metric.startswith("IoU") and c.target == "lungs")
    reach = 30 * cells[row].half_digit + 0.2 * cells[row].value
    cells[row] = replace(cells[row], value=round(cells[row].value - reach, cells[row].decimals))
    assert any(f.check == "jensen" for f in audit(table_cells(cells)).findings)


def test_an_iou_above_its_dice_is_told_once():
    cells = [
        Printed("own", "1", "", "one", "", "tumour", "Dice", 0.8000, 4),
        Printed("own", "1", "", "one", "", "tumour", "IoU", 0.8100, 4),
    ]
    assert [f.check for f in audit(table_cells(cells)).findings] == ["order"]


def test_rounding_is_given_its_room():
    dice = 0.8
    lowest = dice / (2 - dice)
    cells = [
        Printed("own", "1", "", "one", "", "tumour", "Dice", 0.80, 2),
        Printed("own", "1", "", "one", "", "tumour", "IoU", round(lowest - 0.005, 2), 2),
    ]
    assert audit(table_cells(cells)).findings == ()


def test_a_fraction_among_percentages_is_told():
    cells = [Printed("own", "1", "", f"m{n}", "", "", "Dice", v, d) for n, (v, d) in enumerate([(81.2, 1), (0.794, 3)])]
    [told] = audit(table_cells(cells)).findings
    assert (told.check, told.grade) == ("percent", "I")


def test_a_share_finer_than_its_items_allow_is_told():
    from oncoseg.evaluation.audit.facts import Facts, Share, Where

    cells = table_cells(
        [Printed("own", "1", "", m, "", "", "sensitivity", v, 3) for m, v in (("a", 0.917), ("b", 0.9))]
    )
    facts = Facts(shares=(Share(Where(metric="sensitivity"), n=12, items="lesions"),))
    [told] = audit(cells, facts).findings
    assert told.check == "granularity"
    assert told.cells == ("Table 1, b: sensitivity 0.900",)
    assert "10/12" in told.sentence
    assert "11/12" in told.sentence
