"""Whether this machine computes in bfloat16: tried in a child process, because a wrong answer ends the process.

Virtual machines announce AMX without letting it be used. oneDNN, which computes for torch and for OpenVINO, believes
them: torch then fails with "could not create a primitive" and OpenVINO dies of an illegal instruction. Without AMX
both work, so that is tried next.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from oncoseg.config import content_key, fill
from oncoseg.errors import ConfigError, InputError
from oncoseg.fetch import cache_folder
from oncoseg.files import read_json, write_json

Backend = Literal["torch", "openvino"]

#: oneDNN reads here, when it computes first, which instructions it may use.
VARIABLE = "ONEDNN_MAX_CPU_ISA"
#: The newest instructions without AMX.
WITHOUT_AMX = "AVX512_CORE_FP16"
TIMEOUT_S = 180.0
#: Largest error of the trial network, as a share of its largest value; bfloat16 has 8 binary digits.
TOLERANCE = 0.1

#: What the user said before this process began to; the user is obeyed.
_FROM_OUTSIDE = os.environ.get(VARIABLE)
#: Libraries that found the limit when they computed first.
_limited: set[str] = set()


@dataclass(frozen=True)
class Trial:
    """What came out.

    Attributes:
        works: bfloat16 gives right numbers, with `limit` where there is one.
        limit: value of `ONEDNN_MAX_CPU_ISA` that it needs; None when it needs none.
        reason: what failed without the limit, or at all; "" when nothing did.
    """

    works: bool
    limit: str | None = None
    reason: str = ""


def trial(backend: Backend) -> Trial:
    """Try bfloat16 on this machine's CPU; takes seconds once, and is then remembered in the cache folder.

    The answer belongs to machine, processor, versions of torch and OpenVINO, and `ONEDNN_MAX_CPU_ISA`.
    """
    memory = cache_folder() / "bfloat16" / f"{content_key(_circumstances(backend))[:32]}.json"
    try:
        return fill(Trial, read_json(memory), str(memory))
    except InputError:  # not tried yet, or an older record
        found = _tried(backend)
    write_json(memory, asdict(found))
    return found


def require_bfloat16(backend: Backend) -> None:
    """Make bfloat16 usable in this process, or say why it is not; call it before anything is computed.

    Sets `ONEDNN_MAX_CPU_ISA` where the machine needs it, which oneDNN reads once, when it computes first.

    Raises:
        ConfigError: when this machine's CPU cannot compute in bfloat16 with this back end, or when it could but
            needs `ONEDNN_MAX_CPU_ISA` and this process has computed without it.
    """
    found = trial(backend)
    if not found.works:
        raise ConfigError(f"bfloat16 with {backend} does not work on this CPU: {found.reason}. Use float32.")
    if found.limit is None or backend in _limited:
        return
    if _computed_before(backend):
        raise ConfigError(
            f"bfloat16 with {backend} works on this CPU only without AMX ({found.reason}), and this process has "
            f"computed with it already. Start it with {VARIABLE}={found.limit}, or use float32."
        )
    _limited.update(each for each in get_args(Backend) if not _computed_before(each))
    os.environ[VARIABLE] = found.limit


def _computed_before(backend: Backend) -> bool:
    """Whether oneDNN may have read its limits: code was compiled in this process, and the library is there.

    Compiled code is executable memory that belongs to no file. True where that cannot be known.
    """
    if backend not in sys.modules:
        return False
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return True
    fields = [line.split() for line in maps.read_text(encoding="utf-8", errors="replace").splitlines()]
    return any("x" in found[1] and len(found) == 5 for found in fields)


def _tried(backend: Backend) -> Trial:
    reason = _failure(backend, None)
    if reason is None:
        return Trial(True)
    if _FROM_OUTSIDE:
        return Trial(False, None, reason)
    again = _failure(backend, WITHOUT_AMX)
    if again is None:
        return Trial(True, WITHOUT_AMX, reason)
    return Trial(False, None, reason if reason == again else f"{reason}; without AMX: {again}")


def _failure(backend: Backend, limit: str | None) -> str | None:
    """Why the trial network does not run in a child process, None when it does."""
    environment = {**os.environ, VARIABLE: limit or _FROM_OUTSIDE or "DEFAULT"}
    command = [sys.executable, "-m", "oncoseg.inference.trial", backend]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the trial did not end within {TIMEOUT_S:g} s"
    if done.returncode < 0:
        return f"the trial was ended by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["the trial failed and said nothing"])[-1]
    error = float(json.loads(done.stdout)["error"])
    return None if error < TOLERANCE else f"the trial is wrong by {error:.2g} of its largest value"


def _circumstances(backend: Backend) -> dict[str, str]:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8", errors="replace").splitlines() if listing.exists() else []
    processor = [line for line in lines if line.startswith(("model name", "flags"))][:2]
    return {
        "backend": backend,
        "machine": platform.node(),
        "processor": " ".join(processor) or platform.processor(),
        "torch": version("torch"),
        "openvino": _version("openvino"),
        "limit": _FROM_OUTSIDE or "",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main() -> None:
    """The child's side: the error of a network of every usual layer, as JSON on standard output."""
    import torch
    from torch import nn

    from oncoseg.inference.running import Running, made

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Everything(nn.Module):
        """Convolutions in two and three dimensions, attention, norms and activations; widths that use AMX tiles."""

        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Conv3d(1, 24, 3, padding=1), nn.Conv3d(24, 64, 3, stride=2, padding=1)
            self.norm, self.up = nn.InstanceNorm3d(64, affine=True), nn.ConvTranspose3d(64, 32, 2, stride=2)
            self.tokens = nn.TransformerEncoderLayer(32, 4, 96, batch_first=True, activation="gelu")
            self.flat, self.depthwise = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 7, padding=3, groups=32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.up(nn.functional.leaky_relu(self.norm(self.wide(self.narrow(x)))))
            tokens: torch.Tensor = self.tokens(x.mean(dim=2).flatten(2).transpose(1, 2))
            x = tokens.transpose(1, 2).reshape(1, 32, 24, 24)
            return nn.functional.interpolate(self.depthwise(self.flat(x)), scale_factor=2, mode="bilinear")

    network, x = Everything().eval(), torch.randn(1, 1, 24, 24, 24)
    backend: Backend = "openvino" if sys.argv[1] == "openvino" else "torch"
    with torch.no_grad():
        expected = network(x)
        found = made(network, Running("bfloat16", backend))(x)
    sys.stdout.write(json.dumps({"error": ((found - expected).abs().max() / expected.abs().max()).item()}))


if __name__ == "__main__":
    main()
