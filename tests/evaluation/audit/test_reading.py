"""Tables as people keep them: long and wide, any delimiter, percent or fraction, marks and standard deviations."""

import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.evaluation.audit.cells import rows_of, understood
from oncoseg.evaluation.audit.checking import audit
from oncoseg.evaluation.audit.facts import Facts, read_facts
from oncoseg.evaluation.audit.reading import read_table


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv"):
        target = tmp_path / name
        target.write_text(text)
        return target

    return write


def values(cells):
    return [(c.printed.method, c.printed.dataset, c.printed.target, c.quantity, round(c.value, 6)) for c in cells]


def test_the_published_layout_is_read_as_it_is_packaged(table):
    from importlib.resources import files

    from oncoseg.evaluation.audit.cells import table_cells
    from oncoseg.evaluation.published import printed

    text = files("oncoseg.evaluation").joinpath("published_results.csv").read_text()
    assert read_table(table(text)) == table_cells(printed())


def test_a_wide_table_of_percentages(table):
    cells = read_table(table("Method,Dice (%),IoU (%)\nU-Net,82.17,69.74\nnnU-Net,92.08,85.32\n"))
    assert values(cells)[:2] == [("U-Net", "", "", "dice", 0.8217), ("U-Net", "", "", "iou", 0.6974)]
    assert cells[0].half_digit == pytest.approx(5e-5)


def test_percentages_without_a_sign_are_recognised_by_their_size(table):
    assert read_table(table("model,dice\na,82.1\nb,0.60\n"))[1].value == pytest.approx(0.006)
    assert read_table(table("model,dice\na,0.821\nb,0.006\n"))[1].value == pytest.approx(0.006)
    assert read_table(table("model,dice\na,0.8\n"), percent=True)[0].value == pytest.approx(0.008)


def test_semicolons_and_decimal_commas(table):
    cells = read_table(table("model;Dice;IoU\nU-Net;0,910;0,835\n"))
    assert [c.value for c in cells] == [0.910, 0.835]
    assert cells[0].printed.decimals == 3


def test_targets_data_sets_and_averages_in_the_heads(table):
    cells = read_table(table("method\tLung1 Lungs Dice\tLung1 Tumour Dice\tLung1 Avg. Dice\nU-Net\t.90\t.60\t.80\n"))
    assert [(c.printed.dataset, c.printed.target) for c in cells] == [
        ("Lung1", "Lungs"),
        ("Lung1", "Tumour"),
        ("Lung1", "Avg."),
    ]
    assert [c.is_average for c in cells] == [False, False, True]


def test_columns_of_data_sets_take_the_metric_that_is_told(table):
    text = "Method,BraTS21,KiTS19\nM-SAM,92.08,93.50\n"
    with pytest.raises(InputError, match="named after a metric"):
        read_table(table(text))
    cells = read_table(table(text), metric="Dice")
    assert [(c.quantity, c.value) for c in cells] == [("dice", 0.9208), ("dice", 0.935)]


def test_bold_and_underlined_cells_are_checked(table):
    cells = read_table(table("| method | Dice |\n|---|---:|\n| a | __.9092__ |\n| b | **.9091** |\n| c | .9006 |\n"))
    assert [c.mark for c in cells] == ["second", "best", ""]
    told = audit(cells).findings
    assert sorted((f.check, f.numbers["position"]) for f in told) == [("best_marks", 1), ("best_marks", 2)]


def test_standard_deviations_and_signs_stand_behind_a_value(table):
    [cell] = read_table(table('method,"Dice, %"\nU-Net,82.17% ± 3.10\n'))
    assert (cell.printed.value, cell.sd, cell.printed.decimals) == (82.17, 3.10, 2)


def test_cells_without_a_value_are_left_out(table):
    assert len(read_table(table("method,Dice,IoU\na,0.8,-\nb,,0.5\n"))) == 2


def test_transfer_columns(table):
    text = "method,Dice before,Dice after,Dice delta,Dice rate (%)\n"
    text += "U-Net,61.54,50.77,-10.77,-17.50\nV,61.54,50.77,-10.67,-17.50\n"
    told = audit(read_table(table(text))).findings
    assert [(f.check, f.numbers["printed"]) for f in told] == [("delta_columns", -10.67)]


def test_our_own_leaderboard_is_a_long_table(table):
    text = "dataset,prompt,level,protocol,roi,rank,model,kind,metric,mean\n"
    text += "phantom,box,2,case3d,tumour,1,unet,model,dice,0.81\n"
    text += "phantom,box,2,case3d,tumour,1,unet,model,iou,0.60\n"
    cells = read_table(table(text))
    assert len(rows_of(cells)) == 1
    assert [f.check for f in audit(cells).findings] == ["jensen"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method,Dice\n", "no row below its head"),
        ("method,Dice\na,good\n", "'good' is no number"),
        ("method,Dice\na\n", "has 1 cells, its head 2"),
        ("a,b\n1,2\n", "named after a metric"),
        ("method,Dice\na,-\n", "no value that could be checked"),
    ],
)
def test_unreadable_tables_say_the_way_out(table, text, message):
    with pytest.raises(InputError, match=message):
        read_table(table(text))


def test_facts_from_toml_and_json(table):
    toml = '[[counts]]\nid = "one"\nwhat = "Patients"\ntotal = 10\nparts = { a = 4, b = 5 }\n'
    json = '{"counts": [{"id": "one", "what": "Patients", "total": 10, "parts": {"a": 4, "b": 5}}]}'
    both = [read_facts(table(toml, "facts.toml")), read_facts(table(json, "facts.json"))]
    assert both[0] == both[1]
    [told] = audit((), both[0]).findings
    assert told.id == "one"
    assert "sum to 9, and 10 is stated" in told.sentence
    with pytest.raises(ConfigError, match="Did you mean: counts"):
        read_facts(table('{"count": []}', "facts.json"))


def test_every_check_says_its_formula_grade_and_needs():
    from oncoseg.evaluation.audit.checking import checks

    names = {c.name for c in checks()}
    wanted = "order jensen converted_iou mixture average_rule average_range implied_part linked_columns best_marks "
    wanted += "text_claims delta_columns precision_prevalence noise unit cost_units cross_table counts device epochs"
    assert names >= set(wanted.split())
    for check in checks():
        assert check.formula
        assert check.needs
        assert check.grade in ("C", "K", "I")
        assert check.grade != "I" or check.assumption, check.name
    assert audit((), Facts()).nothing_to_check.keys() == names


@pytest.mark.parametrize(
    ("name", "quantity"),
    [("DSC", "dice"), ("mean IoU", "iou"), ("HD95 (mm)", "distance"), ("nsd_border@2", "nsd"), ("Jaccard", "iou")],
)
def test_metrics_by_their_names(name, quantity):
    assert understood(name).name == quantity


def test_shares_of_lesions_and_borders_are_not_taken_for_those_of_voxels(table):
    text = "model,dataset,roi,metric,mean\n"
    for metric, value in (("iou", 0.5), ("lesion_f1", 0.9), ("sdice_surfel@2", 0.95), ("boundary_iou", 0.3)):
        text += f"unet,a,tumour,{metric},{value}\n"
    assert audit(read_table(table(text))).findings == ()
    wide = "method,IoU,Surface Dice,Lesion F1,n\na,0.5,0.95,0.97,12\n"
    cells = read_table(table(wide))
    assert [c.quantity for c in cells] == ["iou", "nsd", "dice"]
    assert [c.printed.target for c in cells] == ["", "", "Lesion"]
    assert audit(cells).findings == ()


def test_counts_beside_data_sets_are_no_metric(table):
    cells = read_table(table("Method,BraTS21,n\nM-SAM,92.08,12\n"), metric="Dice")
    assert [c.printed.target for c in cells] == ["BraTS21"]
