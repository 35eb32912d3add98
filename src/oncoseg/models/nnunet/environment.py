"""Where `nnunetv2` is: in an environment of its own that shares this one's torch.

nnU-Net needs torchvision, whose wheel on the package index is built for another torch than a CPU machine has. There
it fails to import and takes `transformers` and `peft` with it, so it must not enter the environment of oncoseg.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

from oncoseg.errors import FetchError, InputError
from oncoseg.fetch import Say, cache_folder
from oncoseg.files import write_json

#: Names another interpreter that has `nnunetv2`.
VARIABLE = "ONCOSEG_NNUNET_PYTHON"
REQUIREMENT = "nnunetv2>=2.8,<2.9"
_READY = "ready.json"


def interpreter(chosen: Path | None = None) -> Path:
    """The Python that has `nnunetv2`: the chosen one, that of the variable, this one, or the one `install` made.

    Raises:
        InputError: when the chosen one is not there.
        FetchError: when there is none; says how to make it.
    """
    named = chosen or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"{named} is not a Python interpreter. Check {VARIABLE}, or the option `python`.")
        return named
    if importlib.util.find_spec("nnunetv2") is not None:
        return Path(sys.executable)
    if (place() / _READY).exists():
        return _python_of(place())
    raise FetchError(
        "nnU-Net is not set up. Run once: oncoseg fetch nnunet (about 600 MB; needs the package index), or name a "
        f"Python that has nnunetv2 in the variable {VARIABLE}."
    )


def place() -> Path:
    """Folder of the environment: one for each environment of oncoseg and each version of its torch."""
    key = hashlib.sha256(json.dumps([sys.prefix, sys.version, version("torch"), REQUIREMENT]).encode()).hexdigest()
    return cache_folder() / "environments" / f"nnunet-{key[:12]}"


def install(say: Say = lambda line: None) -> Path:
    """Make the environment, or find it made.

    It sees the packages of this one, so that torch is there once, and gets `nnunetv2` and what else that needs.

    Returns:
        Its interpreter.

    Raises:
        FetchError: when a package cannot be had; what was made is kept and the same call goes on.
    """
    folder = place()
    python = _python_of(folder)
    if (folder / _READY).exists():
        return python
    say(f"setting up nnU-Net in {folder} ({REQUIREMENT}, about 600 MB; licence: Apache-2.0)")
    venv.EnvBuilder(clear=True, with_pip=False, symlinks=os.name != "nt").create(folder)
    packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    shared = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (packages / "of_oncoseg.pth").write_text("".join(f"{entry}\n" for entry in shared), encoding="utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        pinned = Path(temporary) / "constraints.txt"
        # Without this the newest torchvision would bring a second torch, of several gigabytes.
        pinned.write_text(f"torch=={version('torch').partition('+')[0]}\n", encoding="utf-8")
        _pip(python, "install", "--quiet", "--constraint", str(pinned), REQUIREMENT)
    found = subprocess.run(
        [python, "-c", "from importlib.metadata import version as v; print(v('nnunetv2'))"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise FetchError(f"The environment in {folder} does not work: {_last(found.stderr)}. Delete it and try again.")
    write_json(folder / _READY, {"nnunetv2": found.stdout.strip(), "torch": version("torch")})
    return python


def workers() -> int:
    """Processes nnU-Net may use: one less than there are cores, 12 at most."""
    return max(1, min(12, (os.cpu_count() or 1) - 1))


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _pip(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(
            f"nnU-Net could not be installed: {_last(done.stderr)}. Connect to the network once, or name a Python "
            f"that has nnunetv2 in the variable {VARIABLE}."
        )


def _last(text: str) -> str:
    """The last error of pip or Python."""
    lines = [line for line in text.strip().splitlines() if not line.startswith(("WARNING", "[notice]"))]
    return (lines or ["nothing was said"])[-1].removeprefix("ERROR: ")
