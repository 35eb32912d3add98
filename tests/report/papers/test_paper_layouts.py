"""The layouts: every printed cell has one place, every place one cell of ours."""

import dataclasses
from collections import Counter

import pytest

from oncoseg.config import fill
from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.evaluation.published import PAPERS, printed
from oncoseg.experiments.reproducing import gather, matrix_names
from oncoseg.report.drawing import choices_of, names
from oncoseg.report.papers.layout import FACTS, Layout, layout_names, layout_of, layouts


@pytest.mark.parametrize("paper", PAPERS)
def test_every_printed_cell_has_exactly_one_place(paper):
    places = Counter(p.printed for layout in layouts(paper) for p in layout.places() if p.printed is not None)
    assert {cell: places[cell] for cell in printed(paper) if places[cell] != 1} == {}
    assert sum(places.values()) == len(printed(paper))


@pytest.mark.parametrize("scale", ["full", "smoke"])
@pytest.mark.parametrize("paper", PAPERS)
def test_every_place_is_filled_by_exactly_one_cell(paper, scale):
    wrong = []
    for layout in layouts(paper):
        cells = gather(paper, layout.matrices, scale).untouched() if layout.matrices else []
        for place in layout.places():
            if place.wanted.measure in FACTS:
                continue
            wanted = place.wanted
            for one in (dataclasses.replace(wanted, source=""), wanted) if wanted.how != "mean" else (wanted,):
                found = [cell.label for cell in cells if one.is_of(cell)]
                wrong += [] if len(found) == 1 else [(layout.name, place.row.label, place.column.label, found)]
    assert wrong == []


@pytest.mark.parametrize("paper", PAPERS)
def test_lungs_come_from_labels_or_from_cells_of_their_own(paper):
    for layout in layouts(paper):
        cells = gather(paper, layout.matrices, "full").untouched() if layout.matrices else []
        for place in layout.places():
            if place.wanted.of == "tumour":
                continue
            own = [c for c in cells if place.wanted.is_of(c) and "lung_left" in c.dataset.also and not c.prompt.info]
            left = dataclasses.replace(place.wanted, dataset=f"{place.wanted.dataset}_lung_left")
            assert own or [c for c in cells if left.is_of(c) and c.dataset.roi == "lung_left"]


def test_tables_are_called_as_in_the_papers():
    assert layout_names("lung-ct-benchmark")[:4] == ("I", "II", "III", "IV")
    assert layout_names("m-sam")[:3] == ("1", "2", "3")
    assert layout_names("gtv-samgan")[:4] == ("1", "2", "3", "4")
    assert layout_of("lung-ct-benchmark", "ii").name == "II"
    with pytest.raises(UnknownNameError, match="Did you mean: IV"):
        layout_of("lung-ct-benchmark", "V")


def test_every_matrix_is_shown_somewhere():
    for paper in PAPERS:
        assert {m for layout in layouts(paper) for m in layout.matrices} == set(matrix_names(paper))


def test_every_figure_can_be_drawn_with_its_choices():
    for layout in (one for paper in PAPERS for one in layouts(paper) if one.kind == "figure"):
        assert layout.draw in names()
        assert set(layout.choices) <= {choice.partition("=")[0] for choice in choices_of(layout.draw)}


def test_prompted_rows_say_that_they_are_given_the_reference():
    for paper in PAPERS:
        for layout in (one for one in layouts(paper) if one.kind == "scores"):
            for row in layout.rows:
                prompted = {p.wanted.prompt for p in layout.places() if p.row is row} - {"", "none"}
                prompted |= {"taught"} if "taught_with" in row.ours.get("options", {}) else set()
                if prompted and layout.name != "fig-2-costs":
                    assert any("reference" in flag for flag in row.flags), (layout.name, row.label)


def test_the_leaking_rows_say_so():
    assert all(any("LEAKS" in flag for flag in row.flags) for row in layout_of("gtv-samgan", "slice-split").rows)


def test_rows_and_columns_that_do_not_fit_are_refused():
    table = {"paper": "m-sam", "name": "x", "title": "x"}
    with pytest.raises(ConfigError, match="number of labels"):
        fill(Layout, {**table, "rows": [{"label": ["a", "b"]}]}, "here")
    with pytest.raises(ConfigError, match="draw"):
        fill(Layout, {**table, "kind": "figure"}, "here")
    bad = fill(Layout, {**table, "rows": [{"label": ["a"]}], "columns": [{"label": ["b"], "ours": {"nose": 1}}]}, "h")
    with pytest.raises(ConfigError, match="nose"):
        list(bad.places())
