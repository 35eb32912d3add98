"""Filled tables: ours from result files, the published value beside it, what is said when there is none."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from oncoseg.evaluation.published import PAPERS, printed
from oncoseg.experiments.reproducing import gather
from oncoseg.experiments.store import read_cell
from oncoseg.report.estimates import summary_of_cases
from oncoseg.report.papers.filling import NEVER, Ran, fill_layout
from oncoseg.report.papers.grid import grid_of
from oncoseg.report.papers.latex import as_latex, escaped
from oncoseg.report.papers.layout import layout_of, layouts
from oncoseg.report.papers.plain import as_csv, as_markdown
from oncoseg.report.papers.sanity import sanity
from oncoseg.report.papers.writing import write_table


@pytest.fixture
def ran(tmp_path, write_cell, planned):
    """`ran("m-sam", "3")`: every cell of a layout with a result; the n-th cell has the n-th skill."""

    def make(paper, name, missing=()):
        cells = gather(paper, layout_of(paper, name).matrices, "smoke").untouched()
        found = []
        for number, cell in enumerate(cells):
            plan = planned(f"m{number}", skill=0.5 + 0.4 * number / len(cells), dataset=cell.dataset_id)
            result = read_cell(write_cell(tmp_path, plan))
            scores = [replace(s, protocol=p) for s in result.scores for p in ("case3d", "tumour_slices")]
            found.append(Ran(cell, replace(result, scores=scores)))
        return [Ran(r.cell, None, "left out") if r.cell.model.name in missing else r for r in found]

    return make


def place(table, row, column):
    """The place of a row and a column by words in their labels."""
    return next(
        found
        for line in table.rows
        for found in line.places
        if row in line.line.label and column in " ".join(found.place.column.label)
    )


def test_ours_is_the_mean_over_patients_with_its_interval(ran):
    cells = ran("m-sam", "3")
    table = fill_layout(layout_of("m-sam", "3"), cells, "full")
    found = place(table, "M-SAM", "KiTS19 Dice")
    cell = next(r for r in cells if r.cell.model.name == "m_sam.paper" and r.cell.dataset_id == "kits19")
    dice = {s.case: s.value for s in cell.result.scores if s.metric == "dice" and s.protocol == "case3d"}
    expected = summary_of_cases(dice, {case: case for case in dice})
    assert found.value == pytest.approx(100 * np.mean(list(dice.values())))
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert (found.n, found.of) == (4, 4)
    assert found.place.printed.value == 92.58  # Shi et al. 2024, table 3
    assert found.difference == pytest.approx(found.value - 92.58)


def test_another_rule_takes_other_scores(ran):
    cells = ran("gtv-samgan", "1")
    halved = [
        Ran(
            r.cell,
            replace(
                r.result,
                scores=[s if s.protocol == "tumour_slices" else replace(s, value=0.0) for s in r.result.scores],
            ),
        )
        for r in cells
    ]
    layout = layout_of("gtv-samgan", "1")
    assert place(fill_layout(layout, halved, "full"), "U-Net", "Dice").value > 30
    assert place(fill_layout(replace(layout, rule="case3d"), halved, "full"), "U-Net", "Dice").value == 0


def test_lungs_are_the_mean_of_both_and_the_average_of_three(ran):
    table = fill_layout(layout_of("lung-ct-benchmark", "III"), ran("lung-ct-benchmark", "III"), "full")
    row = next(r for r in table.rows if r.line.label == ("50%", "bbox"))
    values = {p.place.column.label: p.value for p in row.places}
    lungs, tumour, average = (values["Dice", word] for word in ("Lungs", "Tumor", "Avg."))
    assert average == pytest.approx((2 * lungs + tumour) / 3)
    assert row.places[0].place.printed.value == 0.8857


def test_a_transfer_has_before_after_and_their_difference(ran):
    cells = ran("m-sam", "2")
    table = fill_layout(layout_of("m-sam", "2"), cells, "full")
    row = table.rows[3]
    assert row.line.label == ("LiTS Tumor → MSD Hepatic Tumor", "M-SAM")
    before, after, change, rate = (p.value for p in row.places)
    assert change == pytest.approx(after - before)
    assert rate == pytest.approx(100 * (after - before) / before)
    at_home = next(r for r in cells if r.cell.model.name == "m_sam.paper" and r.cell.dataset_id == "hepatic")
    assert at_home.cell.source_id == ""
    dice = [s.value for s in at_home.result.scores if s.metric == "dice" and s.protocol == "case3d"]
    assert before == pytest.approx(100 * np.mean(dice))


def test_facts_are_counted_and_not_copied():
    table = fill_layout(layout_of("m-sam", "1"), [], "full")
    found = place(table, "M-SAM", "Params")
    assert found.value == pytest.approx(118.244080)
    assert place(table, "M-SAM", "Tunable").value == pytest.approx(25.319152)
    ablation = fill_layout(layout_of("m-sam", "3"), [], "full")
    assert place(ablation, "w/o MEA", "Tunable").value == pytest.approx(8.09, abs=0.005)
    assert place(ablation, "baseline", "Tunable").value == 0
    needs = fill_layout(layout_of("lung-ct-benchmark", "I"), [], "full")
    assert [place(needs, "MedSAM", c).text for c in ("Zero-shot", "Prompt", "Training")] == [
        "with released weights",
        "box",
        "possible",
    ]


def test_an_empty_place_says_why(ran):
    table = fill_layout(layout_of("m-sam", "3"), ran("m-sam", "3", missing=("m_sam.everything",)), "smoke")
    found = place(table, "backbone full-ft", "KiTS19 Dice")
    assert (found.value, found.reason) == (None, "left out")
    assert "left out" in as_markdown(table)


def test_a_long_reason_stands_below_the_table_once(ran):
    long = "nnU-Net is not set up. Run once: oncoseg fetch nnunet"
    cells = [Ran(r.cell, None, long) for r in ran("m-sam", "3")]
    table = fill_layout(layout_of("m-sam", "3"), cells, "smoke")
    grid = grid_of(table)
    assert grid.reasons == (long,)
    assert {c.note for row in grid.cells for c in row if c.part == "ours"} == {"see (1)", ""}
    for text in (as_markdown(table), as_latex(table)):
        assert text.count("Run once") == 1


def test_smoke_scale_is_never_comparable_and_says_so_first(ran):
    table = fill_layout(layout_of("m-sam", "3"), ran("m-sam", "3"), "smoke")
    assert table.notes[0] == NEVER
    assert fill_layout(layout_of("m-sam", "3"), [], "full").notes[0] != NEVER
    lines = list(csv.DictReader(io.StringIO(as_csv({"case3d": table}))))
    assert {line["comparable"] for line in lines} == {"never (smoke scale)"}


def test_iou_from_the_mean_dice_stands_apart(ran):
    table = fill_layout(layout_of("m-sam", "3"), ran("m-sam", "3"), "full")
    line = next(d for d in table.derived if d.row.label == ("M-SAM",) and d.column.label[0] == "BraTS21")
    # Table 3 prints 92.08 and 85.32, which is 92.08 / (2 - 0.9208).
    assert line.printed == 85.32
    assert line.printed_derived == pytest.approx(85.32, abs=0.006)
    assert line.ours_derived < line.ours  # Jensen: the mean of the cases' IoU is higher


def test_ours_and_published_never_share_a_column(ran):
    grid = grid_of(fill_layout(layout_of("m-sam", "3"), ran("m-sam", "3"), "full"))
    for number, column in enumerate(grid.columns):
        assert {row[number].part for row in grid.cells} == {column.part}
    shown = [c.heads[-1] for c in grid.columns]
    assert shown[:3] == ["ours", "published", "difference"]
    assert shown[-1] == "prompts"


def test_every_published_value_is_printed_as_the_paper_prints_it(ran):
    for paper, name in (("m-sam", "2"), ("lung-ct-benchmark", "III")):
        grid = grid_of(fill_layout(layout_of(paper, name), [], "full"))
        shown = sorted(c.text for row in grid.cells for c in row if c.part == "printed")
        assert shown == sorted(f"{c.value:.{c.decimals}f}".replace("-", "−") for c in printed(paper, name))


@pytest.mark.parametrize("paper", PAPERS)
def test_latex_is_balanced_and_escaped(paper):
    for layout in (one for one in layouts(paper) if one.kind != "figure"):
        text = as_latex(fill_layout(layout, [], "smoke"))
        bare = re.sub(r"\\[\\{}%&$#_]", "", text)
        assert bare.count("{") == bare.count("}")
        assert text.count(r"\begin{") == text.count(r"\end{")
        assert bare.count("$") % 2 == 0
        assert not re.search(r"(?<!\\)[%#]", bare.replace("{%\n", ""))
        assert text.isascii() or set(re.sub(r"[\x00-\x7f]", "", text)) <= set("öüäé·")
        body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
        columns = len(grid_of(fill_layout(layout, [], "smoke")).columns) + len(layout.stub)
        assert {line.count(" & ") for line in body} == {columns - 1}


def test_special_letters_are_escaped():
    assert escaped("a_b & 50 % {x}") == r"a\_b \& 50 \% \{x\}"


def test_our_own_numbers_are_audited(ran):
    layout, cells = layout_of("m-sam", "3"), ran("m-sam", "3")
    told = sanity(fill_layout(layout, cells, "full"))
    assert any(t.startswith("order: in order") for t in told)
    assert not any("cannot both hold" in t for t in told)
    spoilt = [
        Ran(
            r.cell,
            replace(r.result, scores=[replace(s, value=0.99) if s.metric == "iou" else s for s in r.result.scores]),
        )
        for r in cells
    ]
    assert any(t.startswith("order:") and "in order" not in t for t in sanity(fill_layout(layout, spoilt, "full")))


def test_a_table_is_written_in_four_formats(tmp_path, ran):
    files = write_table(layout_of("m-sam", "3"), ran("m-sam", "3"), "smoke", folder=tmp_path / "tables")
    assert [f.name for f in files] == ["m-sam-3.html", "m-sam-3.tex", "m-sam-3.csv", "m-sam-3.md"]
    page = files[0].read_text()
    assert NEVER in page.replace("&#39;", "'")
    assert "://" not in page
    rules = {line["rule"] for line in csv.DictReader(io.StringIO(files[2].read_text()))}
    assert rules == {"case3d", "tumour_slices"}
