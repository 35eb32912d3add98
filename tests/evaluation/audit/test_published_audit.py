"""The audit of the three papers' printed tables finds what can be computed by hand, and nothing else.

Expected numbers: pages of arithmetic on the printed values, recomputed with a pocket calculator; ids are those of the
published audit (B lung-ct-benchmark, M m-sam, G gtv-samgan, X between papers).
"""

import re
from functools import cache

import pytest

from oncoseg.evaluation.audit.cells import table_cells
from oncoseg.evaluation.audit.checking import audit, audit_published, published_facts
from oncoseg.evaluation.published import printed


@cache
def findings(paper):
    return audit_published(paper).findings


def two(finding):
    return round(finding.numbers["first"], 4), round(finding.numbers["second"], 4)


def found(paper, group, check=None):
    return [f for f in findings(paper) if f.group == group and check in (None, f.check)]


def at(found_, text):
    one = [f for f in found_ if any(text in c for c in f.cells) or text in f.sentence]
    assert len(one) == 1, [f.sentence for f in one]
    return one[0]


LUNG, MSAM, GTV = "lung-ct-benchmark", "m-sam", "gtv-samgan"


def test_b1_five_cells_whose_dice_is_larger_than_their_iou_allows():
    b1 = found(LUNG, "B1")
    assert len(b1) == 5
    assert len({tuple(f.numbers.values()) for f in b1}) == 4
    rows = {
        "train_fraction=25%": (0.9683, 0.9967, 0.9839, 0.9934),
        "train_fraction=50%": (0.9712, 0.9980, 0.9854, 0.9960),
        "train_fraction=75%": (0.9747, 0.9989, 0.9872, 0.9978),
        "train_fraction=100%": (0.9749, 0.9985, 0.9873, 0.9970),
    }
    for setting, expected in rows.items():
        numbers = at(b1, setting).numbers
        names = ("IoU printed", "Dice printed", "Dice at most", "IoU at least")
        assert [round(numbers[name], 4) for name in names] == list(expected)
    assert {round(f.numbers["excess"], 4) for f in b1} == {0.0112, 0.0117, 0.0126, 0.0128}
    assert all("MSD Task06 Lung, MedSAM 2 bbox" in f.sentence and f.grade == "C" for f in b1)


def test_all_other_pairs_of_the_lung_paper_can_hold():
    held = [o for o in audit_published(LUNG).in_order if o.check == "jensen"]
    assert [o.count for o in held] == [108 - 5]


def test_b2_two_averages_need_a_part_above_one():
    b2 = found(LUNG, "B2")
    assert [f.grade for f in b2] == ["I", "I"]
    for setting, needed, by_rule in (("75%", 1.0019, 0.9598), ("100%", 1.0018, 0.9594)):
        numbers = at(b2, f"train_fraction={setting}").numbers
        assert numbers["part needed"] == pytest.approx(needed, abs=5e-5)
        assert numbers["average by the rule"] == pytest.approx(by_rule, abs=5e-5)


def test_b3_rows_average_by_different_rules():
    b3 = found(LUNG, "B3", "average_rule")
    weights = {
        ("NSCLC", "DeepLabV3"): (0.215, 0.130),
        ("Task06", "DeepLabV3"): (0.144, 0.154),
        ("NSCLC", "U-Net"): (-0.001, -0.013),
        ("Task06", "U-Net"): (-0.012, -0.018),
        ("NSCLC", "MedSAM"): (0.124, 0.123),
        ("Task06", "MedSAM"): (0.067, 0.066),
    }
    table_two = [f for f in b3 if f.sentence.startswith("Table II,")]
    assert len(table_two) == 6
    for (data, method), expected in weights.items():
        one = [f for f in table_two if data in f.sentence and f", {method}:" in f.sentence]
        assert [round(one[0].numbers[f"weight {m}"], 3) for m in ("IoU", "Dice")] == list(expected)


def test_b3_the_rule_of_a_third_holds_in_20_of_32_and_in_37_of_40_values():
    held = {o.what[:10]: o.count for o in audit_published(LUNG).in_order if o.check == "average_rule"}
    assert held["Table II: "] == 20
    assert sum(held.values()) - 20 == 37
    others = [f for f in found(LUNG, "B3", "average_rule") if not f.sentence.startswith("Table II,")]
    assert len(others) == 3
    slip = at(others, "train_fraction=0%")
    assert slip.numbers["by the rule IoU"] == pytest.approx(0.86233, abs=1e-5)
    assert "last digit" in slip.sentence


def test_b3_averages_of_the_unet_lie_outside_their_parts():
    outside = found(LUNG, "B3", "average_range")
    assert sorted(f.numbers["average"] for f in outside) == [0.6590, 0.6995, 0.8383, 0.8938]
    assert all("U-Net" in f.sentence for f in outside)


def test_b4_columns_of_lungs_and_tumour_move_together():
    b4 = found(LUNG, "B4")
    expected = {
        ("NSCLC", "IoU"): (0.99999, 0.9702, 0.9726),
        ("NSCLC", "Dice"): (0.99998, 0.9715, 0.9733),
        ("Task06", "IoU"): (0.9992, 0.8789, 0.8871),
        ("Task06", "Dice"): (0.9988, 0.8788, 0.8876),
    }
    assert len(b4) == 4
    for (data, metric), (r, low, high) in expected.items():
        one = [f for f in b4 if data in f.sentence and f"lungs {metric}" in f.sentence]
        numbers = one[0].numbers
        assert numbers["rows"] == 8
        assert numbers["r"] == pytest.approx(r, abs=5e-5)
        assert (round(numbers["ratio at least"], 4), round(numbers["ratio at most"], 4)) == (low, high)
        assert one[0].grade == "K"
    lungs_minus_tumour = next(f for f in b4 if "NSCLC" in f.sentence and "lungs IoU" in f.sentence).numbers
    assert lungs_minus_tumour["difference at least"] == pytest.approx(0.0226, abs=1e-9)
    assert lungs_minus_tumour["difference at most"] == pytest.approx(0.0245, abs=1e-9)


def test_b5_marks_on_other_values_than_the_best():
    marks = found(LUNG, "B5", "best_marks")
    assert {(f.numbers["value"], f.numbers["position"]) for f in marks} == {(0.9092, 1), (0.9091, 2), (0.9910, 2)}
    [said] = found(LUNG, "B5", "text_claims")
    assert "nnU-Net best in lung segmentation" in said.sentence


def test_b6_the_maximum_of_fine_tuning_stands_at_zero_percent():
    told = [f for f in found(LUNG, "B6") if f.check == "text_claims"]
    lung1 = next(value for name, value in at(told, "Lung1)").numbers.items() if name != "stated")
    task06 = next(value for name, value in at(told, "Task06)").numbers.items() if name != "stated")
    assert lung1 == pytest.approx(0.9091 - 0.9092, abs=1e-9)
    assert task06 == pytest.approx(0.8816 - 0.9508, abs=1e-9)


def test_b7_tumours_of_task06_are_not_easier_for_the_two_best():
    [b7] = found(LUNG, "B7")
    numbers = sorted(round(v, 4) for name, v in b7.numbers.items() if name != "stated")
    assert numbers == [round(0.8770 - 0.9091, 4), round(0.8736 - 0.9039, 4)]


def test_b8_gains_are_smaller_than_the_half_width_of_a_mean():
    b8 = found(LUNG, "B8")
    assert [(round(f.numbers["gain"], 4), round(f.numbers["half-width"], 3)) for f in b8] == [
        (0.0052, 0.039),
        (0.0034, 0.085),
    ]
    assert {f.grade for f in b8} == {"I"}


def test_b9_costs_of_images_beside_costs_of_volumes():
    b9 = found(LUNG, "B9")
    certain = [f for f in b9 if f.grade == "C"]
    assert {f.numbers.get("ratio") for f in certain} == {2.0, None}
    assert any("cited" in f.sentence for f in certain)
    per_volume = [f.numbers for f in b9 if "per volume" in f.numbers]
    assert sorted(round(n["per volume"]) for n in per_volume) == [6377, 24182]
    assert max(round(n["with mirroring"]) for n in per_volume) == 25509
    ratio = next(f.numbers for f in b9 if "mirror passes" in f.numbers)
    assert (round(ratio["ratio"], 1), round(ratio["slices"], 1)) == (403.7, 100.9)


def test_b10_to_b15():
    assert found(LUNG, "B10")[0].numbers["spread"] == pytest.approx(0.9039 - 0.7023)
    assert found(LUNG, "B10")[0].grade == "K"
    assert {f.check for f in found(LUNG, "B11")} == {"device", "epochs", "cross_table"}
    assert found(LUNG, "B12")[0].numbers["share %"] == pytest.approx(27.96, abs=0.01)
    assert "two products share a name" in found(LUNG, "B13")[0].sentence
    [b14] = found(LUNG, "B14")
    assert [round(v, 3) for v in b14.numbers.values()] == [0.697, 0.545]
    mixture = {f.cells[0].split(":")[0]: f.numbers for f in found(LUNG, "B15")}
    box = mixture["Table II, MSD Task06 Lung, MedSAM 2 bbox"]
    assert (round(box["Dice where found"], 3), round(100 * box["miss rate"], 1)) == (0.973, 9.8)
    click = mixture["Table II, NSCLC-Radiomics (Lung1), MedSAM 2 point"]
    assert (round(click["Dice where found"], 3), round(100 * click["miss rate"])) == (0.915, 13)
    box = mixture["Table II, NSCLC-Radiomics (Lung1), MedSAM 2 bbox"]
    assert (round(box["Dice where found"], 3), round(100 * box["miss rate"], 1)) == (0.944, 3.7)


def test_m1_iou_is_the_iou_of_the_mean_dice():
    [m1] = found(MSAM, "M1")
    assert len(m1.cells) == 24
    assert m1.numbers["largest difference, as printed"] == pytest.approx(0.0104, abs=5e-5)
    assert round(m1.numbers["smallest SD that the pairs allow at most"], 3) == 0.004
    assert round(m1.numbers["largest SD that the pairs allow"], 3) == 0.014
    assert round(100 * m1.numbers["gap at SD 0.10, lowest Dice"], 2) == 0.29
    assert round(100 * m1.numbers["gap at SD 0.10, second lowest Dice"], 2) == 0.98
    assert round(100 * m1.numbers["gap at SD 0.10, highest Dice"], 2) == 1.62


def test_m2_two_values_under_one_name():
    pairs = {two(f) for f in found(MSAM, "M2")}
    assert pairs == {(0.9258, 0.9350), (0.7329, 0.7199)}
    agreeing = [o for o in audit_published(MSAM).in_order if o.check == "cross_table"]
    assert [o.count for o in agreeing] == [4]  # BraTS21; MSD Lung of SAM-Med3D and M-SAM; Lung100


def test_m3_the_private_gain_differs_and_the_public_one_is_a_bound_that_holds():
    told = [round(v, 2) for f in found(MSAM, "M3") for name, v in f.numbers.items() if name != "stated"]
    assert told == [4.21, 5.86]
    held = [v for o in audit_published(MSAM).in_order if o.group == "M3" for v in o.numbers.values()]
    assert sorted(round(v, 2) for v in held) == [5.83, 7.73, 9.60, 12.38]


def test_m4_tumour_in_one_table_is_not_tumour_in_the_other():
    pairs = {two(f) for f in found(MSAM, "M4")}
    assert pairs == {(0.8148, 0.6494), (0.8871, 0.8501), (0.8995, 0.8689)}


def test_m5_and_m9_raise_nothing():
    assert found(MSAM, "M5") == []
    assert found(MSAM, "M9") == []
    held = {(o.check, o.group): o.count for o in audit_published(MSAM).in_order}
    assert held["delta_columns", "M5"] == 16 + 16
    assert held["text_claims", "M9"] == 1


def test_m6_counts_of_cases_without_public_labels():
    counted = {f.numbers["counted"]: f.numbers["with a public reference at most"] for f in found(MSAM, "M6")}
    assert counted == {300: 210, 96: 63, 420: 282, 201: 131, 443: 303}


def test_m7_five_of_seven_evaluation_sets_were_seen():
    [m7] = found(MSAM, "M7")
    assert (m7.numbers["listed"], m7.numbers["evaluation sets"]) == (5, 7)
    assert m7.numbers["listed, main table"] == 4
    assert m7.numbers["listed, public transfer targets"] == 2
    assert "not listed: MSD Lung, Lung100" in m7.sentence


def test_m8_and_g10_rows_with_and_without_prompts():
    assert found(MSAM, "M8")[0].grade == "C"
    assert found(GTV, "G10")[0].grade == "I"


def test_g1_to_g4():
    assert found(GTV, "G1")[0].numbers == {"n": 100}
    assert len(found(GTV, "G2")) == 1
    ratio = found(GTV, "G3", "counts")[0].numbers
    assert round(ratio["ratio"], 2) == 3.77
    assert found(GTV, "G3", "unit")[0].grade == "I"
    assert round(found(GTV, "G4")[0].numbers["share %"], 1) == 14.5


def test_g6_the_two_statements_on_specificity_differ():
    [g6] = found(GTV, "G6")
    assert "98.43" in g6.sentence
    assert any(o.group == "G6" for o in audit_published(GTV).in_order)


SHARES = {
    "1": {
        "UNet++": (0.041, 0.031, 0.052, 0.325),
        "nnU-Net": (0.067, 0.056, 0.078, 0.585),
        "SwinU-Net": (0.069, 0.052, 0.087, 0.720),
        "SAM-Med2D": (0.081, 0.061, 0.101, 0.756),
        "SEA-Net": (0.102, 0.090, 0.115, 0.667),
        "U-Net": (0.103, 0.096, 0.109, 0.424),
        "GTV-SAMGAN": (0.117, 0.088, 0.147, 0.832),
        "UNet++ deep supervision": (0.126, 0.120, 0.131, 0.423),
        "xLSTM-UNet": (0.172, 0.172, 0.173, 0.041),
    },
    "2": {
        "U-Net": (0.170, 0.159, 0.181, 0.498),
        "SwinU-Net": (0.168, 0.160, 0.175, 0.304),
        "nnU-Net": (0.206, 0.196, 0.217, 0.563),
        "SAM-Med2D": (0.223, 0.195, 0.251, 0.802),
        "GTV-SAMGAN": (0.309, 0.278, 0.340, 0.836),
    },
}


@pytest.mark.parametrize("table", ["1", "2"])
def test_g7_rows_imply_shares_of_target_voxels_that_do_not_overlap(table):
    [g7] = [f for f in found(GTV, "G7") if f.sentence.startswith(f"Table {table}")]
    for method, expected in SHARES[table].items():
        names = (f"{method}: share %", f"{method}: at least %", f"{method}: at most %", f"{method}: precision")
        # To the printed digits, one unit more where the last one is a 5 rounded by hand.
        assert [g7.numbers[name] for name in names] == pytest.approx(expected, abs=6e-4)
    assert g7.grade == "K"


def test_g9_percent_or_percentage_points():
    told = at(found(GTV, "G9"), "10.71 % (over")
    rate = next(v for name, v in told.numbers.items() if name != "stated")
    assert rate == pytest.approx(100 * (83.74 - 73.03) / 73.03)
    assert len(found(GTV, "G5")) == 1
    assert found(GTV, "G8")[0].numbers["spread"] == pytest.approx(0.7303 - 0.2952)


def test_between_the_papers():
    spreads = {f.group: f.numbers["spread"] for f in findings(None) if f.group.startswith("X")}
    assert {name: round(v, 2) for name, v in spreads.items()} == {"X1": 0.31, "X2": 0.15, "X3": 0.43}


def test_every_finding_of_the_published_audit_is_there_and_no_other():
    groups = {f.group for f in findings(None)}
    expected = {f"B{n}" for n in range(1, 16)} | {f"M{n}" for n in (1, 2, 3, 4, 6, 7, 8)}
    expected |= {f"G{n}" for n in range(1, 11)} | {"X1", "X2", "X3"}
    assert groups == expected
    assert len({(f.id, f.sentence) for f in findings(None)}) == len(findings(None))


def test_a_digit_typed_wrong_in_a_difference_is_caught():
    cells = [
        c if (c.dataset, c.method, c.metric) != ("Lung100* -> MSD Lung", "M-SAM", "Dice_delta") else _moved(c, -0.1)
        for c in printed("m-sam", "2")
    ]
    told = audit(table_cells(cells), published_facts("m-sam")).findings
    caught = [f for f in told if f.check == "delta_columns"]
    assert len(caught) == 1
    assert caught[0].numbers["recomputed"] == pytest.approx(-3.75)
    assert caught[0].numbers["printed"] == pytest.approx(-3.85)


def _moved(cell, by):
    from dataclasses import replace

    return replace(cell, value=round(cell.value + by, cell.decimals))


@pytest.mark.parametrize("column", ["Dice_percent_before", "Dice_percent_after", "Dice_delta", "Dice_rate_percent"])
def test_every_single_wrong_digit_of_a_transfer_row_is_caught(column):
    rows = printed("m-sam", "2")
    for number, cell in enumerate(rows):
        if cell.metric != column:
            continue
        # The last digit but one; the last may still agree with the other columns within their rounding.
        wrong = _moved(cell, 10.0 ** (1 - cell.decimals))
        told = audit(table_cells([*rows[:number], wrong, *rows[number + 1 :]])).findings
        assert any(f.check == "delta_columns" for f in told), cell


BLAME = re.compile(
    r"\b(fraud|misconduct|fabricat|manipulat|cheat|dishonest|fake|wrong|error|mistake|careless|suspicio|intent|deliberat"
    r"|lied|liar|lying|falsif|invent|scandal|sloppy|conceal|hide|hiding|mislead|dubious|implausib|guilt|blame)",
    re.IGNORECASE,
)


def test_no_sentence_speaks_of_conduct_motive_or_person():
    texts = [t for f in findings(None) for t in (f.sentence, f.assumption)]
    texts += [o.what for paper in (LUNG, MSAM, GTV) for o in audit_published(paper).in_order]
    assert [t for t in texts if BLAME.search(t)] == []
    assert not [t for t in texts if "the authors" in t.lower() and "their own scorer" not in t]
