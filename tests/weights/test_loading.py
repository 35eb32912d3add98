import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oncoseg.errors import InputError, UnsafeFileError
from oncoseg.weights.loading import load_strictly, read_tensors, without_prefixes

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def same(state):
    return state.keys() == STATE.keys() and all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_reads_safetensors_with_metadata(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors", metadata={"epoch": "3"})
    read = read_tensors(tmp_path / "a.safetensors")
    assert same(read.state)
    assert read.metadata == {"epoch": "3"}
    assert len(read.sha256) == 64


def test_losses_kept_as_numpy_numbers_beside_the_tensors_are_no_obstacle(tmp_path):
    losses = ([np.float64(0.5)], [np.float32(0.25), np.int64(3)], np.bool_(True))
    torch.save({"state_dict": STATE, "plot_stuff": losses}, tmp_path / "model_final_checkpoint.model")
    assert same(read_tensors(tmp_path / "model_final_checkpoint.model").state)


def test_numpy_objects_are_still_refused(tmp_path):
    torch.save({"state_dict": STATE, "plot_stuff": np.array([{}], dtype=object)}, tmp_path / "a.model")
    with pytest.raises(UnsafeFileError, match="more than tensors"):
        read_tensors(tmp_path / "a.model")


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict", "network_weights"])
@pytest.mark.parametrize("prefix", ["", "module.", "sam.", "lora_sam.sam.", "module.sam."])
def test_unwraps_checkpoints_of_training_scripts(tmp_path, wrapper, prefix):
    wrapped = {wrapper: {prefix + key: tensor for key, tensor in STATE.items()}, "epoch": 7, "optimizer": {"lr": 0.1}}
    torch.save(wrapped, tmp_path / "a.pth")
    assert same(read_tensors(tmp_path / "a.pth").state)


def test_a_prefix_that_not_all_keys_share_stays():
    assert set(without_prefixes({"sam.a": STATE["bias"], "head.a": STATE["bias"]})) == {"sam.a", "head.a"}


def test_a_pytorch_file_is_unpickled_once(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "a.pt")
    first = read_tensors(tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("unpickled again"))
    second = read_tensors(tmp_path / "a.pt")
    assert same(first.state)
    assert same(second.state)
    assert first.sha256 == second.sha256


def test_tensors_that_share_memory_come_out_whole(tmp_path):
    base = torch.arange(4.0)
    torch.save({"a": base, "b": base[1:3]}, tmp_path / "a.pth")
    read_tensors(tmp_path / "a.pth")
    again = read_tensors(tmp_path / "a.pth").state
    assert torch.equal(again["b"], torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("old_format", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, old_format):
    marker = tmp_path / "was_run"
    torch.save(
        {"state_dict": STATE, "extra": Marker(marker)},
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=not old_format,
    )
    with pytest.raises(UnsafeFileError, match=r"evil\.pth.*more than tensors"):
        read_tensors(tmp_path / "evil.pth")
    assert not marker.exists()


def test_a_plain_pickle_with_code_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "was_run"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Marker(marker)))
    with pytest.raises(InputError, match=r"evil\.pt"):
        read_tensors(tmp_path / "evil.pt")
    assert not marker.exists()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_cut_off_file_is_named(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    if suffix == ".pth":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    cut(path)
    with pytest.raises(InputError, match=r"half.*again"):
        read_tensors(path)


@pytest.mark.parametrize("size", [0, 100, 400])
def test_a_cut_off_file_of_the_old_format_is_named(tmp_path, size):
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes((tmp_path / "old.pth").read_bytes()[:size])
    with pytest.raises(InputError, match=r"old\.pth"):
        read_tensors(tmp_path / "old.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_garbage_is_named(tmp_path, suffix):
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(b"hello, this is not a weights file" * 10)
    with pytest.raises(InputError, match="junk"):
        read_tensors(path)


def test_a_safetensors_header_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match="huge"):
        read_tensors(path)


def test_other_kinds_and_contents_are_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("a.onnx", "none.pth", "list.pth", "missing.pth"):
        with pytest.raises(InputError, match=name.split(".")[0]):
            read_tensors(tmp_path / name)


def test_strict_loading_fills_the_network():
    network = torch.nn.Linear(3, 2)
    load_strictly(network, STATE)
    assert same(network.state_dict())


def test_strict_loading_lists_what_does_not_fit_and_changes_nothing():
    network = torch.nn.Linear(3, 2)
    before = network.weight.clone()
    wrong = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    with pytest.raises(InputError, match=r"1 missing: bias; 1 unexpected: extra; 1 of another shape: weight \(2, 4\)"):
        load_strictly(network, wrong, "a.pth")
    assert torch.equal(network.weight, before)


def stepped(optimiser):
    """An optimiser with a state for every parameter, as a training leaves it."""
    parameter = torch.nn.Parameter(torch.ones(3))
    made = optimiser([parameter], lr=1e-4)
    parameter.sum().backward()
    made.step()
    return made


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_kept_as_an_object_beside_the_tensors_is_no_obstacle(tmp_path, optimiser, monkeypatch):
    # As SAM-Med2D's train.py saves its checkpoint: weights.md, section 9.
    torch.save({"model": STATE, "optimizer": stepped(optimiser)}, tmp_path / "sam-med2d_b.pth")
    monkeypatch.setattr(optimiser, "__setstate__", lambda *a: pytest.fail("the real class was made"))
    assert same(read_tensors(tmp_path / "sam-med2d_b.pth").state)


def test_an_optimiser_is_no_door_for_others(tmp_path):
    marker = tmp_path / "was_run"
    torch.save({"model": STATE, "optimizer": stepped(torch.optim.Adam), "extra": Marker(marker)}, tmp_path / "evil.pth")
    with pytest.raises(UnsafeFileError, match="more than tensors"):
        read_tensors(tmp_path / "evil.pth")
    assert not marker.exists()
