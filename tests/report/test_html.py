import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from oncoseg.errors import InputError
from oncoseg.report.html import write_report
from oncoseg.score import Ledger, read_scores, write_jsonl

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Balance(HTMLParser):
    """Fails on the first tag that is closed without being open, and collects ids and texts by tag."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


def report(run, **options):
    return write_report(run, run / "out" / "report.html", **options).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(full_run, tmp_path_factory):
    return write_report(full_run, tmp_path_factory.mktemp("out") / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def page_of(tmp_path, write_cell, planned):
    """`page_of(planned, ...)` is the page of a run with these cells."""

    def write(*cells, **options):
        for cell in cells:
            write_cell(tmp_path / "run", cell)
        return report(tmp_path / "run", **options)

    return write


def test_is_well_formed_with_distinct_ids(page):
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.tags.count("main") == 1


def test_every_reference_to_an_id_has_its_target(page):
    targets = set(re.findall(r' id="([^"]+)"', page))
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page))
    assert {name for pair in wanted for name in pair if name} <= targets


def test_asks_for_nothing_outside_the_file(page):
    without_links = re.sub(r'<a [^>]*href="https?://[^"]*"', "", page)
    assert not re.findall(r"https?://", without_links)
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", without_links)
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)


def test_figures_have_alternatives_and_their_numbers(page):
    plots = re.findall(r'<svg class="plot"[^>]*>', page)
    assert len(plots) >= 8
    assert all(re.search(r'role="img" aria-label="[^"]+"', plot) for plot in plots)
    assert page.count("Numbers of this figure") == len(plots)


def test_equal_results_give_equal_bytes(full_run, tmp_path):
    first, second = (write_report(full_run, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_hostile_names_are_escaped(page_of, planned):
    name = "<script>alert(1)</script>"
    page = page_of(
        planned(cases=("a<b>&\"'", "b$_x$"), pictures=False, failed=("a<b>&\"'",), notes=(name,)),
        planned(prompt=name, macs=10**9),
        planned(prompt=name, model="<i>&", macs=10**9),
        title=name,
    )
    assert name not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "a<b>" not in page
    Balance().feed(page)


def test_stays_within_a_megabyte_for_twelve_models_on_120_cases(page_of, planned):
    cases = tuple(f"LUNG1-{n:03d}" for n in range(120))
    cells = [planned(f"model_{n:02d}", 0.6 + 0.02 * n, cases=cases, macs=10 ** (9 + n // 3)) for n in range(12)]
    page = page_of(*cells)
    assert len(page.encode()) < 1_000_000
    assert page.count('<td class="name">LUNG1-119') == 2


def test_refuses_a_run_without_a_finished_cell(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned())
    (folder / "scores.jsonl").unlink()
    with pytest.raises(InputError, match="no finished cell"):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")


def test_works_without_cost_training_and_pictures(page_of, planned):
    page = page_of(planned())
    assert 'id="cost"' not in page
    assert 'id="training"' not in page
    assert "gallery</h3>" not in page
    assert "Every planned cell finished" in page


def test_shows_cost_training_and_pictures_where_there_are_any(page):
    assert 'id="cost"' in page
    assert "FlopCounterMode" in page
    assert "Training curves: loss, validation, learning rate, samples per second" in page
    assert "Largest memory: process 2.1 GB." in page
    assert ">0.0002</text>" in page  # learning rates on their axis, not rounded like coordinates
    assert page.count('class="tile"') > 20


def test_a_recipe_is_told_where_its_training_is_shown_and_not_among_the_warnings(page_of, planned):
    told = "Not given by the source and chosen here: batch = 8."
    page = page_of(planned("unet", prompt="none", jitter_mm=None, ledger=Ledger(), trained=True, recipe=(told,)))
    before, training = page.split('id="training"')
    assert told in training
    assert told not in before


def test_one_table_for_each_data_set_prompt_and_level(page_of, planned):
    page = page_of(
        planned(),
        planned(dataset="lung"),
        planned("unet", prompt="none", jitter_mm=None, ledger=Ledger()),
        planned("medsam", ledger=Ledger(prompt_source="oracle", boxes=9, z_extent_known=True)),
    )
    assert page.count('class="leaderboard"') == 4
    assert [int(n) for n in re.findall(r"ledger level (\d)", page)] == [2, 0, 2, 3]


def test_columns_can_be_sorted_by_numbers(page):
    heads = re.findall(r"<th [^>]*data-sort=\"number\"", page)
    assert len(heads) > 20
    row = re.search(r'<tr class="model">.*?</tr>', page, re.DOTALL)
    assert row is not None
    assert len(re.findall(r'data-value="-?[\d.]+', row[0])) >= 8


def test_own_javascript_stays_small(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None
    assert len(script[1].strip().splitlines()) <= 100


def test_says_that_data_are_synthetic_and_few(page):
    assert "phantom is synthetic" in page
    assert "n &lt; 50: intervals are too narrow" in page
    assert "lidc_demo has 1 patient" in page
    assert "no interval: 1 patient" in page


def test_names_cells_without_a_result(page):
    assert "quarantined: not enough memory (failed attempts: 1)" in page
    assert "unet takes no prompt" in page
    assert "the prompt box lies outside the image" in page


def test_title_is_the_matrix_unless_given(page, page_of, planned):
    assert "<h1>demo</h1>" in page
    assert "<h1>My run</h1>" in page_of(planned(), title="My run")


def test_other_scoring_rules_stand_beside_the_ranked_one(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned())
    scores = read_scores(folder / "scores.jsonl")
    kinder = [replace(s, protocol="all_slices_empty1", value=0.99) for s in scores if s.metric == "dice"]
    write_jsonl(folder / "scores.jsonl", [*scores, *kinder])
    page = report(tmp_path)
    assert page.count('class="leaderboard"') == 1
    assert "scored as case3d" in page
    table = page[page.index("The same predictions under other scoring rules") :]
    assert table.index("all_slices_empty1@case") < table.index(">0.99<")


def test_a_mean_of_cases_is_never_called_pooled(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned())
    scores = read_scores(folder / "scores.jsonl")
    write_jsonl(folder / "scores.jsonl", [*scores, *(replace(s, protocol="pooled") for s in scores)])
    page = report(tmp_path)
    table = page[page.index("The same predictions under other scoring rules") :]
    table = table[: table.index("</details>")]
    assert "is not shown: pooled." in table
    assert table.count("pooled") == 1
