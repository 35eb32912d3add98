"""States of a running training: whole, with one to fall back to."""

import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.training.checkpoint import Counters, load_state, save_state


def save(folder, step):
    save_state(folder, {"network.w": torch.full((3,), float(step))}, Counters(step=step, best=0.5, best_step=1))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_state_comes_back_as_it_was(tmp_path):
    save(tmp_path, 10)
    state = load_state(tmp_path, pytest.fail)
    assert state.counters == Counters(step=10, best=0.5, best_step=1)
    assert state.tensors["network.w"].tolist() == [10.0] * 3


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step)
    assert names(tmp_path) == [f"state-{s:08d}.{kind}" for s in (10, 15) for kind in ("json", "safetensors")]


def test_a_new_folder_has_no_state(tmp_path):
    assert load_state(tmp_path / "none", pytest.fail) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest"])
def test_a_damaged_state_is_reported_and_the_previous_one_taken(tmp_path, damage):
    save(tmp_path, 5)
    save(tmp_path, 10)
    newest = tmp_path / "state-00000010.safetensors"
    content = bytearray(newest.read_bytes())
    match damage:
        case "flip":
            content[-1] ^= 1
            newest.write_bytes(content)
        case "cut":
            newest.write_bytes(content[: len(content) // 2])
        case "gone":
            newest.unlink()
        case "manifest":
            newest.with_suffix(".json").write_text("{")
    told = []
    assert load_state(tmp_path, told.append).counters.step == 5
    assert len(told) == 1
    assert "state-00000010" in told[0]
    assert "older state" in told[0]


def test_when_no_state_is_whole_the_way_out_is_named(tmp_path):
    save(tmp_path, 5)
    (tmp_path / "state-00000005.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"No state in .* is whole\. Remove the folder"):
        load_state(tmp_path, lambda text: None)


def test_what_a_killed_process_left_is_removed(tmp_path):
    save(tmp_path, 5)
    (tmp_path / ".partial-abc-state-00000010.safetensors").write_bytes(b"half")
    (tmp_path / "state-00000010.safetensors").write_bytes(b"whole, but its manifest was not written yet")
    assert load_state(tmp_path, pytest.fail).counters.step == 5
    assert names(tmp_path) == ["state-00000005.json", "state-00000005.safetensors"]
