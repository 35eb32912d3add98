import argparse
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from oncoseg.errors import InputError, UnsafeFileError
from oncoseg.weights.convert import MADE_FROM, convert
from oncoseg.weights.loading import read_tensors

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0], dtype=torch.bfloat16)}


class Command:
    """Runs a command of the shell when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


class Expression:
    """Evaluates Python when it is unpickled, and takes items and a state afterwards."""

    def __init__(self, expression):
        self.expression = expression

    def __reduce__(self):
        return (eval, (self.expression,), {"a": 1}, iter([1, 2]), iter([("k", "v")]))


def same(state):
    return state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_a_training_file_with_argparse_options_is_refused_with_the_command_that_converts_it(tmp_path):
    # As SAM-Med3D's train.py saves it: weights.md, section 6.
    content = {"model_state_dict": STATE, "epoch": 3, "args": argparse.Namespace(lr=8e-4, work_dir="x")}
    torch.save(content, tmp_path / "turbo.pth")
    with pytest.raises(UnsafeFileError, match=r"argparse.Namespace.*oncoseg weights convert .*turbo.pth turbo.safet"):
        read_tensors(tmp_path / "turbo.pth")
    done = convert(tmp_path / "turbo.pth", tmp_path / "turbo.safetensors")
    assert done.tensors == 2
    assert done.left_out == {"epoch": "int", "args": "argparse.Namespace"}
    assert same(read_tensors(tmp_path / "turbo.safetensors").state)


def test_a_converted_file_says_what_it_was_made_from(tmp_path):
    torch.save({"model": STATE}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as content:
        made_from = json.loads(content.metadata()[MADE_FROM])
    assert made_from["file"] == "a.pth"
    assert len(made_from["sha256"]) == 64


@pytest.mark.parametrize("old_format", [True, False])
def test_nothing_of_a_malicious_file_runs(tmp_path, old_format):
    markers = [tmp_path / "command", tmp_path / "expression", tmp_path / "value"]
    evil = {
        "state_dict": {"module.weight": STATE["weight"], "module.bias": STATE["bias"]},
        "command": Command(f"touch {markers[0]}"),
        "expression": Expression(f"open({str(markers[1])!r}, 'w')"),
        "state": [Command(f"touch {markers[2]}"), torch.optim.SGD([torch.zeros(1)], lr=0.1)],
    }
    torch.save(evil, tmp_path / "evil.pth", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(UnsafeFileError):
        read_tensors(tmp_path / "evil.pth")
    done = convert(tmp_path / "evil.pth", tmp_path / "out.safetensors")
    assert not any(marker.exists() for marker in markers)
    assert same(read_tensors(tmp_path / "out.safetensors").state)
    assert set(done.left_out) == {"command", "expression", "state"}


def test_the_malicious_file_of_the_test_would_run_elsewhere(tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Command(f"touch {marker}")))  # noqa: S301
    assert marker.exists()


def test_names_that_reach_through_a_module_are_stand_ins(tmp_path):
    marker = tmp_path / "marker"
    # Protocol 4 may name an attribute of an attribute: torch.serialization's own `os.system`.
    payload = (
        b"\x80\x04\x8c\x13torch.serialization\x8c\x09os.system\x93\x8c"
        + bytes([len(f"touch {marker}")])
        + f"touch {marker}".encode()
        + b"\x85R."
    )
    (tmp_path / "evil.pt").write_bytes(payload)
    with pytest.raises(InputError):
        convert(tmp_path / "evil.pt", tmp_path / "out.safetensors")
    assert not marker.exists()


def test_modules_beside_the_file_or_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    marker = tmp_path / "imported"
    for name in ("json.py", "torch.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(marker)!r}, 'w')\n")
    torch.save(STATE, tmp_path / "a.pth")
    assert convert(Path("a.pth"), Path("a.safetensors")).tensors == 2
    assert not marker.exists()


def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(InputError, match="TorchScript"):
        convert(tmp_path / "program.pt", tmp_path / "out.safetensors")


def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    import io
    import zipfile

    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(tmp_path / "huge.pth", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                # The number of elements of the storage and of the tensor: 4 becomes 2**31 - 1.
                content = content.replace(b"K\x04", b"J\xff\xff\xff\x7f")
            target.writestr(name, content)
    with pytest.raises(InputError, match="could not be converted"):
        convert(tmp_path / "huge.pth", tmp_path / "out.safetensors")


def test_files_of_other_kinds_and_without_tensors_are_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "junk.pth").write_bytes(b"hello")
    for name in ("none", "list", "junk", "missing"):
        with pytest.raises(InputError, match=name):
            convert(tmp_path / f"{name}.pth", tmp_path / "out.safetensors")
    torch.save(STATE, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        convert(tmp_path / "a.pth", tmp_path / "a.pth")
