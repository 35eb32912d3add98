"""Networks compiled by OpenVINO, an optional library that is imported nowhere else."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError

#: OpenVINO's words for the numbers it computes with.
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def require() -> None:
    """Raise unless OpenVINO is installed; it is not imported for the answer.

    Raises:
        ConfigError: says what to install.
    """
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError("OpenVINO is not installed. Install it with: pip install 'oncoseg[openvino]'")


def compiled(
    network: nn.Module, *, precision: Literal["float32", "bfloat16"], threads: int
) -> Callable[[Tensor], Tensor]:
    """A network as a function on batches that OpenVINO computes on the CPU.

    The network is traced and compiled once for every shape of batch that comes, which takes seconds, and stays as
    it was then: later changes of the weights do not reach it.

    Args:
        network: in evaluation mode; takes one tensor and returns one.
        precision: of the computation; logits are float32.
        threads: it may use.

    Raises:
        ConfigError: when OpenVINO is not installed.
        RuntimeError: of the returned function, when OpenVINO cannot convert or compile the network.
    """
    require()
    requests: dict[tuple[int, ...], Any] = {}
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }

    def run(batch: Tensor) -> Tensor:
        shape = tuple(batch.shape)
        if shape not in requests:
            requests[shape] = _request(network, batch, settings)
        # The request keeps its output buffer, so what is handed out is a copy.
        found = requests[shape].infer([batch.float().contiguous().numpy(force=True)], share_inputs=True)
        return torch.from_numpy(found[0]).to(batch.device)

    return run


def _request(network: nn.Module, batch: Tensor, settings: dict[str, Any]) -> Any:
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # `openvino.convert_model` does the same and reports each use to its maker over the network.
    converter = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        # It warns that another shape may compute otherwise; every shape is traced for itself.
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        decoder = TorchScriptPythonDecoder(torch.jit.trace(network, batch.float().cpu(), check_trace=False))
    model = converter.convert(converter.load(decoder))
    model.reshape(list(batch.shape))
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
