"""Takes the tensors out of a PyTorch file that holds more than tensors; run as a script of its own, never imported.

`python -I taking.py SOURCE TARGET WRAPPERS` in an empty folder. Classes and functions that the file names are replaced
by stand-ins that do nothing, so that nothing of the file is imported or called; only PyTorch's own constructors of
tensors are real. Prints, as JSON, what was left out.
"""

import io
import json
import pickle
import resource
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

#: Seconds of computing after which the process is stopped.
SECONDS = 600
#: What a file may call: it makes tensors, dictionaries, and nothing else.
REAL: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
}


class Inert:
    """Stands in for whatever a file names: takes everything, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        """Whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "Inert":
        """Functions of the file give stand-ins too."""
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Lists of a file's own kind lose their content."""

    def extend(self, values: Any) -> None:
        """As `append`."""

    def add(self, value: Any) -> None:
        """Sets likewise."""


class Unpickler(pickle.Unpickler):
    """Finds no class but `REAL`; names are looked up in that table, never imported."""

    def find_class(self, module: str, name: str) -> Any:
        """The constructor of a tensor, or a stand-in that carries the name."""
        return REAL.get((module, name)) or type(f"{module}.{name}", (Inert,), {})


class Module:
    """What `torch.load` takes for the module `pickle`."""

    Unpickler = Unpickler

    @staticmethod
    def load(stream: Any, **options: Any) -> Any:
        """As `pickle.load`."""
        return Unpickler(stream, **options).load()


class Stream(io.BufferedReader):
    """A file without a descriptor: `torch.load` then takes it for no tar archive, which it would unpack."""

    def fileno(self) -> int:
        """There is none."""
        raise io.UnsupportedOperation("fileno")


def limit(source: Path) -> None:
    """Bound what the process may take: memory, computing time, size of files; no core files, no processes."""
    size = source.stat().st_size
    statistics = Path("/proc/self/statm")  # where the system has it; PyTorch alone reserves gigabytes
    taken = int(statistics.read_text().split()[0]) * resource.getpagesize() if statistics.exists() else 16 * 2**30
    bounds = {
        resource.RLIMIT_AS: taken + 4 * size + 2**30,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_FSIZE: 2 * size + 2**26,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (allowed, allowed))


def content_of(source: Path) -> Any:
    """The file's content with stand-ins."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
                sys.exit("it is a TorchScript program, not a file of tensors")
    with Stream(io.FileIO(source)) as stream:
        return torch.load(stream, map_location="cpu", pickle_module=Module, weights_only=False)


def main(source: Path, target: Path, wrappers: list[str]) -> None:
    """Write the tensors by name."""
    torch.set_num_threads(1)
    limit(source)
    content = content_of(source)
    left_out: dict[str, str] = {}
    while isinstance(content, Mapping):
        inner = next((key for key in wrappers if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        left_out |= {str(key): type(value).__name__ for key, value in content.items() if key != inner}
        content = content[inner]
    if not isinstance(content, Mapping):
        sys.exit(f"it holds a {type(content).__name__}, not tensors by name")
    tensors = {}
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided:
            tensors[key] = value.detach().clone().contiguous()
        else:
            left_out[str(key)] = type(value).__name__
    if not tensors:
        sys.exit(f"it holds no tensors by name, only {', '.join(sorted(left_out)) or 'nothing'}")
    save_file(tensors, target)
    json.dump(left_out, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","))
