import json
import subprocess
import sys

import pytest

VERBS = [
    *("demo", "models", "datasets", "metrics", "prompts", "fetch", "weights", "predict"),
    *("evaluate", "convert", "data", "train", "bench", "report"),
]


def test_help_names_every_verb(oncoseg):
    result = oncoseg("--help")
    assert result.code == 0
    assert [v for v in VERBS if f" {v} " not in result.out] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(oncoseg, verb):
    result = oncoseg(verb, "--help")
    assert result.code == 0
    assert "Usage" in result.out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['oncoseg', '--help']\n"
        "from oncoseg.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'pydicom', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_scoring_masks_needs_no_torch():
    code = (
        "import sys, oncoseg.cli.main, oncoseg.cli.masks, oncoseg.evaluation.scoring as s, oncoseg.io.images\n"
        "[s.metric(m) for m in s.DEFAULT_METRICS]\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_version_is_printed(oncoseg):
    from oncoseg import __version__

    assert oncoseg("--version").out.strip() == f"oncoseg {__version__}"


def test_models_json_has_one_entry_where_counts_differ(oncoseg):
    entries = json.loads(oncoseg("models", "--json").out)
    wanted = {
        "name", "variants", "parameters", "trainable_parameters", "dimension", "prompts", "doi", "licence", "fidelity"
    }  # fmt: skip
    assert all(wanted <= set(entry) for entry in entries)
    unets = {entry["variants"][0]: entry["parameters"] for entry in entries if entry["name"] == "unet"}
    assert unets == {"ronneberger": 31_030_658, "primakov": 31_031_685}


@pytest.mark.parametrize(
    ("verb", "name"), [("datasets", "phantom"), ("metrics", "hd95_max"), ("prompts", "box"), ("models", "ellipsoid")]
)
def test_shelves_are_listed_for_people_and_programs(oncoseg, verb, name):
    assert name in oncoseg(verb).out
    assert name in {entry["name"] for entry in json.loads(oncoseg(verb, "--json").out)}


def test_readme_table_is_the_one_that_models_prints(oncoseg):
    from pathlib import Path

    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    table = readme.split("<!-- models -->\n")[1].split("<!-- /models -->")[0]
    assert table.strip() == oncoseg("models", "--markdown").out.strip()


def test_fetch_lists_what_there_is_and_suggests_near_names(oncoseg):
    listed = oncoseg("fetch")
    assert "lite-medsam" in listed.out
    assert "lidc_demo" in listed.out
    wrong = oncoseg("fetch", "lite-medsm")
    assert wrong.code != 0
    assert "Did you mean: lite-medsam" in wrong.err
