"""Weights files become named tensors; nothing in them is ever executed."""

from __future__ import annotations

import logging
import pickle
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from oncoseg.errors import InputError, UnsafeFileError
from oncoseg.fetch import cache_folder
from oncoseg.files import require_file, sha256, written_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

_LOG = logging.getLogger(__name__)

SAFE_SUFFIX = ".safetensors"
#: `.model` is nnU-Net's of version 1, and nnFormer's.
PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".model")
#: Keys under which training scripts of this field keep the state dict.
WRAPPERS = ("model", "state_dict", "model_state_dict", "network_weights")
#: What wrapping a network in another one leaves in front of every key.
PREFIXES = ("module.", "lora_sam.sam.", "sam.")
#: Optimisers that a file may hold as objects.
_OPTIMISER = re.compile(r"torch\.optim\.\w+\.(Adam|AdamW|SGD|RMSprop|RAdam|NAdam|Adagrad|Adamax)")
#: What an optimiser keeps its state in.
_CONTAINERS = ("builtins.dict", "collections.defaultdict")
#: Names of single numpy numbers, which `_numbers` allows.
_NUMBERS = re.compile(r"numpy\.(_core|core)\.multiarray\.scalar|numpy\.dtype(s\.\w+)?")


@dataclass(frozen=True, eq=False)
class Tensors:
    """The content of a weights file.

    Attributes:
        state: tensor per name, on the CPU, without wrappers and prefixes.
        metadata: text the file carries beside them; empty for `.pth`.
        sha256: hex hash of the file that was given.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str


def read_tensors(path: Path, *, keep: bool = True) -> Tensors:
    """Read a weights file without running anything in it.

    `.safetensors` is read as it is. A PyTorch file is read by the restricted unpickler and kept as
    safetensors in the user's cache, so that it is unpickled once.

    Args:
        path: the file.
        keep: False leaves nothing in the cache.

    Raises:
        InputError: when the file is missing, empty, cut off, of another kind, or holds no tensors.
        UnsafeFileError: when it asks for anything but tensors, plain containers and an optimiser of PyTorch, which
            is not made; the message holds the command that takes the tensors out.
    """
    require_file(path)
    if path.suffix not in (SAFE_SUFFIX, *PICKLE_SUFFIXES):
        known = ", ".join((SAFE_SUFFIX, *PICKLE_SUFFIXES))
        raise InputError(f"{path} is not a weights file: its name must end in one of {known}.")
    digest = sha256(path)
    if path.suffix == SAFE_SUFFIX:
        state, metadata = _read_safetensors(path)
        return Tensors(without_prefixes(state), metadata, digest)
    kept = cache_folder() / "tensors" / f"{digest}{SAFE_SUFFIX}"
    if kept.exists():
        return Tensors(_read_safetensors(kept)[0], {}, digest)
    state = without_prefixes(_unwrapped(_unpickled(path), path))
    if keep:
        _keep(state, kept)
    return Tensors(state, {}, digest)


def read_metadata(path: Path) -> dict[str, str]:
    """Text that a safetensors file carries beside its tensors, which are not read.

    Raises:
        InputError: when the file is missing or not whole.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as content:
            return content.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}). Copy or download it again.") from error


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], what: str = "The weights") -> None:
    """Fill a network with exactly the tensors it has.

    Args:
        network: keeps its device and types; filled in place.
        state: tensor per name.
        what: names the weights in the message, e.g. the file.

    Raises:
        InputError: lists missing, unexpected and wrongly shaped tensors; the network is untouched.
    """
    wanted = network.state_dict()
    shared = wanted.keys() & state.keys()
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in sorted(shared)
            if state[name].shape != wanted[name].shape
        ],
    }
    found = "; ".join(f"{len(names)} {kind}: {_few(names)}" for kind, names in problems.items() if names)
    if found:
        raise InputError(f"{what} do not fit {type(network).__name__}: {found}. Choose the model they were made for.")
    network.load_state_dict(state, strict=True)


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the wrappers' prefixes that all its keys share."""
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return without_prefixes({key.removeprefix(prefix): tensor for key, tensor in state.items()})
    return dict(state)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as content:
            return {name: content.get_tensor(name) for name in content.keys()}, content.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}). Copy or download it again.") from error


def _unpickled(path: Path) -> Any:
    import torch

    if not looks_like_torch(path):
        raise InputError(f"{path} is not a PyTorch file: it is neither a zip archive nor a pickle. Check the file.")
    try:
        with torch.serialization.safe_globals([*_numbers(), *_stand_ins(path)]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "not an allowed" in str(error) or "GLOBAL" in str(error):
            raise UnsafeFileError(
                f"{path} holds more than tensors ({_asked_for(path)}) and was not opened: opening it could run code. "
                "Take its tensors in a process where none of it can run: "
                f"oncoseg weights convert {shlex.quote(str(path))} {shlex.quote(path.with_suffix(SAFE_SUFFIX).name)}"
            ) from error
        raise _damaged(path, error) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _numbers() -> list[Any]:
    """What a pickle needs for single numbers of numpy, which trainers keep beside the tensors, e.g. their losses."""
    import numpy as np

    make: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "float16", "int64", "int32", "bool")]
    # The second name is that of numpy 1.
    return [make, (make, "numpy.core.multiarray.scalar"), np.dtype, *kinds]


class _Inert:
    """Stands in for a pickled optimiser: takes its state and keeps none of it."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _stand_ins(path: Path) -> list[Any]:
    """Harmless objects for what a pickled optimiser of PyTorch asks for; nothing when a file asks for more than that.

    Training scripts such as SAM-Med2D's keep the optimiser itself beside the tensors. Its real class is never made.
    """
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        asked = [name for name in get_unsafe_globals_in_checkpoint(str(path)) if not _NUMBERS.fullmatch(name)]
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return []  # of before 2020, or damaged: read without them, or not at all
    optimisers = [name for name in asked if name not in _CONTAINERS]
    if not all(map(_OPTIMISER.fullmatch, optimisers)):
        return []
    containers = [(dict, "builtins.dict"), (_no_defaults, "collections.defaultdict")]
    return containers + [(_Inert, name) for name in optimisers]


def _no_defaults(*_: Any) -> dict[Any, Any]:
    return {}


def looks_like_torch(path: Path) -> bool:
    """Whether a file begins as a zip archive or a pickle, the two forms of a PyTorch file."""
    with path.open("rb") as stream:
        start = stream.read(4)
    return start == b"PK\x03\x04" or start[:1] == b"\x80"


def _asked_for(path: Path) -> str:
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        return _few(get_unsafe_globals_in_checkpoint(str(path))) or "a pickled object"
    except (ValueError, RuntimeError):  # files of before 2020 are not zip archives and cannot be listed
        return "a pickled object"


def _damaged(path: Path, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"{path} is damaged or cut off ({reason}). Copy or download it again.")


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    import torch

    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no tensors by name; a state dict is needed.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise InputError(f"{path} is not a state dict: '{name}' is of type {type(tensor).__name__}, not a tensor.")
    return dict(content)


def _keep(state: Mapping[str, Tensor], target: Path) -> None:
    # Tensors of a PyTorch file may share memory, which safetensors refuses: each gets its own.
    own = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    try:
        with written_whole(target) as partial:
            save_file(own, partial)
    except (InputError, SafetensorError) as error:
        _LOG.info("weights are not kept as safetensors: %s", error)


def _few(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
