"""`oncoseg reproduce`: the plan, the refusal without data, a table written from the models alone."""

import pytest


def test_the_plan_has_cells_epochs_hours_and_disk(oncoseg):
    done = oncoseg("reproduce", "m-sam", "--table", "3", "--dry-run")
    assert done.code == 0
    assert "m_sam.without_mea on kits19" in done.out
    assert "not measured" in done.out
    assert "12 cells, 9 trainings" in done.err
    assert "GPU-hours: not measured" in done.err
    assert "missing: KiTS19" in done.err


def test_the_plan_writes_nothing(oncoseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert oncoseg("reproduce", "gtv-samgan", "--table", "fig-7", "--scale", "smoke", "--dry-run").code == 0
    assert list(tmp_path.iterdir()) == []


def test_full_scale_without_data_is_refused_by_name(oncoseg, tmp_path):
    done = oncoseg("reproduce", "lung-ct-benchmark", "--table", "II", "--out", tmp_path / "run", "--data", tmp_path)
    assert done.code == 2
    assert "NSCLC-Radiomics" in done.err
    assert "The Cancer Imaging Archive" in done.err
    assert "Task06_Lung" in done.err


def test_unknown_tables_are_refused(oncoseg):
    done = oncoseg("reproduce", "m-sam", "--table", "stage", "--dry-run")
    assert done.code == 2
    assert "stages" in done.err


def test_a_table_of_facts_needs_no_run(oncoseg, tmp_path):
    done = oncoseg("reproduce", "lung-ct-benchmark", "--table", "I", "--out", tmp_path)
    assert done.code == 0
    assert "with released weights" in (tmp_path / "tables" / "lung-ct-benchmark-I.md").read_text()
    assert "Table I" in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_a_smoke_table_goes_from_phantoms_to_latex(oncoseg, tmp_path):
    done = oncoseg("reproduce", "gtv-samgan", "--table", "slice-split", "--scale", "smoke", "--out", tmp_path)
    assert done.code == 0, done.err
    text = (tmp_path / "tables" / "gtv-samgan-slice-split.tex").read_text()
    assert "tested patients are trained on too (leakage)" in text
    assert "LEAKS" in text
    assert (tmp_path / "report.html").is_file()
