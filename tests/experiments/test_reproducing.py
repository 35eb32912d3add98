"""The papers' matrices: all load, no cell is impossible, data are found by how they lie or missed by name."""

import pytest

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.evaluation.published import PAPERS
from oncoseg.experiments.matrix import load_matrix
from oncoseg.experiments.reproducing import find, gather, matrix_file, matrix_names, room, sources

EVERY = [(paper, name) for paper in PAPERS for name in matrix_names(paper)]


def test_every_full_matrix_has_a_smoke_matrix():
    for paper, name in EVERY:
        assert matrix_file(paper, name, "smoke").is_file()
    assert [n for p, n in EVERY if p == "lung-ct-benchmark"] == ["II", "III", "IV", "fig-2"]


@pytest.mark.parametrize("scale", ["full", "smoke"])
@pytest.mark.parametrize(("paper", "name"), EVERY)
def test_no_cell_is_impossible(paper, name, scale):
    cells = gather(paper, [name], scale).untouched()
    assert cells
    assert [f"{c.label}: {c.skipped}" for c in cells if c.skipped] == []


@pytest.mark.parametrize("paper", PAPERS)
def test_smoke_and_full_have_the_same_cells(paper):
    def told(scale):
        cells = gather(paper, matrix_names(paper), scale).untouched()
        return {(c.model.name, c.dataset_id, c.source_id, c.prompt.use, c.prompt.rounds, c.fraction) for c in cells}

    assert told("smoke") == told("full")


@pytest.mark.parametrize("paper", PAPERS)
def test_all_matrices_of_a_paper_fit_together(paper):
    alone = sum(len(gather(paper, [name], "full").untouched()) for name in matrix_names(paper))
    together = len(gather(paper, matrix_names(paper), "full").untouched())
    assert 0 < together < alone  # tables share cells


def test_the_matrices_are_files_that_bench_reads_too():
    for paper, name in EVERY:
        assert load_matrix(matrix_file(paper, name, "smoke")).name == f"{paper}-{name}-smoke"


def test_smoke_needs_no_data():
    for paper in PAPERS:
        found = gather(paper, matrix_names(paper), "smoke")
        found.require_data()  # raises where a folder is missing
        assert found.missing == ()


def test_missing_data_are_named_with_where_to_get_them():
    found = gather("m-sam", ["3"], "full")
    with pytest.raises(InputError) as error:
        found.require_data()
    for words in ("KiTS19", "case_00000/imaging.nii*", "BraTS 2021 challenge", "NSCLC-Radiomics"):
        assert words in str(error.value)
    assert "LiTS" not in str(error.value)


def test_data_are_found_by_their_layout(tmp_path):
    for place in ("a/b/Task06_Lung/dataset.json", "a/Task07_Pancreas/dataset.json", "lung/manifest/LUNG1-001/ct/1.dcm"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
    assert find("Task06_Lung", tmp_path) == tmp_path / "a/b/Task06_Lung"
    assert find("NSCLC-Radiomics", tmp_path) == tmp_path / "lung/manifest"
    assert find("KiTS19", tmp_path) is None
    found = gather("lung-ct-benchmark", ["II"], "full", data=tmp_path)
    assert found.missing == ()
    assert found.matrices[0].dataset["task06_lung_left"].options["root"] == str(tmp_path / "a/b/Task06_Lung")
    assert any("lung/manifest" in sentence for sentence in found.told)


def test_real_cases_take_the_place_of_phantoms_where_they_are(tmp_path):
    assert gather("m-sam", ["2"], "smoke").matrices[0].dataset["msd_lung"].use == "phantom"
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "LIDC-IDRI-0007_R_1.nii.gz").write_text("")
    found = gather("m-sam", ["2"], "smoke", data=tmp_path)
    assert found.matrices[0].dataset["msd_lung"].use == "lidc_nodules"
    assert found.matrices[0].dataset["lung100"].use == "phantom"
    assert any(s.startswith("msd_lung: real cases") for s in found.told)
    assert any(s.startswith("lung100: a phantom") for s in found.told)


def test_the_folder_of_nodules_that_are_pasted_is_found_too(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "LIDC-IDRI-0007_R_1.nii.gz").write_text("")
    found = gather("gtv-samgan", ["2"], "smoke", data=tmp_path)
    assert found.matrices[0].dataset["nsclc"].options["donors"]["root"] == str(tmp_path)
    assert any(s.startswith("nsclc: real cases") for s in found.told)


def test_cells_whose_cost_is_measured_come_first():
    found = gather("lung-ct-benchmark", ["II", "fig-2"], "smoke")
    assert [matrix.cost for matrix in found.matrices] == [True, False]
    assert len(found.untouched()) == len(gather("lung-ct-benchmark", ["II"], "smoke").untouched())


def test_settings_reach_the_data_sets_that_a_file_has():
    found = gather("lung-ct-benchmark", ["III", "IV"], "full", overrides=["dataset.lung1.cases=['LUNG1-001']"])
    assert found.matrices[0].dataset["lung1"].cases == ("LUNG1-001",)
    assert found.matrices[0].dataset["task06"].cases == ()


def test_the_split_by_slice_runs_under_its_name_alone():
    literal = [n for p, n in EVERY if p == "gtv-samgan" and n == "slice-split"]
    assert literal
    for paper, name in EVERY:
        units = {spec.split.unit for m in gather(paper, [name], "full").matrices for spec in m.dataset.values()}
        assert units == ({"slice"} if name == "slice-split" else {"patient"})


def test_an_unknown_table_is_refused():
    with pytest.raises(UnknownNameError, match="IV"):
        matrix_file("lung-ct-benchmark", "V", "full")


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        gather("m-sam", ["1"], "full", data=tmp_path / "nowhere")


def test_every_root_is_described():
    for paper, name in EVERY:
        for spec in load_matrix(matrix_file(paper, name, "full")).dataset.values():
            assert str(spec.options["root"]) in sources()
    assert (room() / "throughput.toml").is_file()
