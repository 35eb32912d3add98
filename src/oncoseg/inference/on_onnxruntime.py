"""Networks computed by ONNX Runtime, an optional library that is imported nowhere else."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError

_OPSET = 17


def require() -> None:
    """Raise unless ONNX Runtime is installed; it is not imported for the answer.

    Raises:
        ConfigError: says what to install.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"{package} is not installed. Install it with: pip install 'oncoseg[onnx]'")


def compiled(network: nn.Module, *, threads: int) -> Callable[[Tensor], Tensor]:
    """A network as a function on batches that ONNX Runtime computes on the CPU, in float32.

    The network is exported once for every shape of batch that comes, which takes seconds, and stays as it was then:
    later changes of the weights do not reach it.

    Args:
        network: in evaluation mode; takes one tensor and returns one.
        threads: it may use.

    Raises:
        ConfigError: when ONNX Runtime is not installed.
        RuntimeError: of the returned function, when the network cannot be exported or computed.
    """
    require()
    sessions: dict[tuple[int, ...], Any] = {}

    def run(batch: Tensor) -> Tensor:
        shape = tuple(batch.shape)
        plain = batch.float().contiguous()
        if shape not in sessions:
            sessions[shape] = _session(network, plain.cpu(), threads)
        [found] = sessions[shape].run(None, {"batch": plain.numpy(force=True)})
        return torch.from_numpy(found).to(batch.device)

    return run


def _session(network: nn.Module, batch: Tensor, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        # The exporter warns that another shape may compute otherwise; every shape is exported for itself. It says what
        # it does not compute beforehand, and announces its own successor, which needs a package more.
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        exported = Path(folder) / "network.onnx"
        torch.onnx.export(network, (batch,), exported, input_names=["batch"], opset_version=_OPSET, dynamo=False)
        try:
            return onnxruntime.InferenceSession(exported.read_bytes(), options, providers=["CPUExecutionProvider"])
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
            raise RuntimeError(f"ONNX Runtime cannot compute this network: {error}") from error
