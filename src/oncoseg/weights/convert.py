"""PyTorch files that hold more than tensors become safetensors, in a process in which nothing of them can run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from oncoseg.errors import InputError
from oncoseg.files import require_file, require_writable, sha256
from oncoseg.weights.loading import PICKLE_SUFFIXES, SAFE_SUFFIX, WRAPPERS, looks_like_torch, without_prefixes
from oncoseg.weights.trained import write_tensors

#: Where converted files say what they were made from.
MADE_FROM = "made_from"
_SCRIPT = Path(__file__).with_name("taking.py")
#: More than the process allows itself.
_SECONDS = 900


@dataclass(frozen=True)
class Converted:
    """What became of a file.

    Attributes:
        target: the safetensors file.
        tensors: how many it holds.
        left_out: what the file held beside them, with the kind of each.
    """

    target: Path
    tensors: int
    left_out: dict[str, str]


def convert(source: Path, target: Path) -> Converted:
    """Take the tensors out of a PyTorch file and write them as safetensors.

    The file is opened by a separate Python (`-I`, an empty folder, bounded memory and time) whose unpickler knows
    nothing but tensors and dictionaries: whatever else the file names is replaced by a stand-in, so nothing of it is
    imported or called. Wrappers and prefixes of training scripts are removed as in `read_tensors`.

    Args:
        source: `.pth`, `.pt`, `.ckpt`, `.bin` or `.model`.
        target: to write; its metadata holds the name and SHA-256 of `source`.

    Raises:
        InputError: when the file is missing, damaged, of another kind, or holds no tensors by name; when the target
            cannot be written.
    """
    require_file(source)
    if source.suffix not in PICKLE_SUFFIXES or not looks_like_torch(source):
        raise InputError(f"{source} is not a PyTorch file ({', '.join(PICKLE_SUFFIXES)}); only those need converting.")
    if target.suffix != SAFE_SUFFIX:
        raise InputError(f"{target} must end in {SAFE_SUFFIX}: that is what is written.")
    require_writable(target)
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / f"tensors{SAFE_SUFFIX}"
        left_out = _take(source.resolve(), taken)
        state = without_prefixes(load_file(taken))
    made_from = json.dumps({"file": source.name, "sha256": sha256(source)}, sort_keys=True)
    write_tensors(target, state, {MADE_FROM: made_from})
    return Converted(target, len(state), left_out)


def _take(source: Path, target: Path) -> dict[str, str]:
    command = [sys.executable, "-I", str(_SCRIPT), str(source), str(target), ",".join(WRAPPERS)]
    try:
        done = subprocess.run(
            command,
            cwd=target.parent,
            env={"HOME": str(target.parent), "TMPDIR": str(target.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{source} was not converted within {_SECONDS} s. Copy or download it again.") from error
    if done.returncode != 0 or not target.exists():
        reason = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise InputError(f"{source} could not be converted: {reason}. Copy it again, or ask its author for tensors.")
    left_out: dict[str, str] = json.loads(done.stdout)
    return left_out
