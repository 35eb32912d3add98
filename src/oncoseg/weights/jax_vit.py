"""ImageNet weights of vision transformers in the authors' JAX layout (`.npz`), under PyTorch names.

Files `ViT-*.npz` and `R50+ViT-*.npz` of Dosovitskiy et al. 2021. Linear kernels lie (in, out), those of
convolutions (row, column, in, out), those of attention with its heads as an axis of their own.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oncoseg.errors import InputError, UnsafeFileError
from oncoseg.files import require_file
from oncoseg.weights.keymaps import Rule, rename

SUFFIX = ".npz"
POSITIONS = "position_embeddings"
#: What a segmentation network has no place for: class token and classifier.
_LEFT_OUT = re.compile(r"cls|(head|pre_logits)/(kernel|bias)")

_WEIGHT = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_LAYER = r"Transformer/encoderblock_(\d+)/"

#: JAX name with its last part already `weight` or `bias` -> name in the networks here.
RULES: tuple[Rule, ...] = (
    (r"embedding/(weight|bias)", r"embeddings.patch_embeddings.\1"),
    (r"Transformer/posembed_input/pos_embedding", rf"embeddings.{POSITIONS}"),
    (r"Transformer/encoder_norm/(weight|bias)", r"encoder.encoder_norm.\1"),
    (_LAYER + r"LayerNorm_0/(weight|bias)", r"encoder.layer.\1.attention_norm.\2"),
    (_LAYER + r"LayerNorm_2/(weight|bias)", r"encoder.layer.\1.ffn_norm.\2"),
    (
        _LAYER + r"MultiHeadDotProductAttention_1/(query|key|value|out)/(weight|bias)",
        r"encoder.layer.\1.attn.\2.\3",
    ),
    (_LAYER + r"MlpBlock_3/Dense_0/(weight|bias)", r"encoder.layer.\1.ffn.fc1.\2"),
    (_LAYER + r"MlpBlock_3/Dense_1/(weight|bias)", r"encoder.layer.\1.ffn.fc2.\2"),
    (r"conv_root/weight", r"embeddings.hybrid_model.root.conv.weight"),
    (r"gn_root/(weight|bias)", r"embeddings.hybrid_model.root.gn.\1"),
    (r"block(\d)/unit(\d+)/conv_proj/weight", r"embeddings.hybrid_model.body.block\1.unit\2.downsample.weight"),
    (
        r"block(\d)/unit(\d+)/((?:conv|gn)(?:\d|_proj))/(weight|bias)",
        r"embeddings.hybrid_model.body.block\1.unit\2.\3.\4",
    ),
)


def read_jax_vit(path: Path, wanted: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """The tensors of an embedding and encoder from an `.npz` file.

    Args:
        path: the file.
        heads: of the network's attention.
        wanted: the tensors they are to replace, by name below the transformer: `embeddings....`, `encoder....`.
            Only the position table may have another size: its grid is then interpolated linearly, corner on
            corner, as TransUNet does; the class token's place in it is dropped.

    Returns:
        A tensor for every name in `wanted`, float32.

    Raises:
        UnsafeFileError: when the file holds pickled objects; none is opened.
        InputError: when it is missing, damaged, lacks a tensor or has one too many or of another shape.
    """
    arrays = {name: array for name, array in _arrays(path).items() if not _LEFT_OUT.fullmatch(name)}
    named = rename({_torch_ending(name): array for name, array in arrays.items()}, RULES)
    lacking, extra = sorted(wanted.keys() - named.keys()), sorted(named.keys() - wanted.keys())
    if lacking or extra:
        raise InputError(
            f"{path} does not fit: {_told(lacking)} missing, {_told(extra)} too many. "
            "Give the file of the same variant: R50+ViT-B_16.npz for r50_vit_b16, ViT-B_16.npz for vit_b16."
        )
    fitted = {}
    for name, target in wanted.items():
        found = _turned(named[name], name, target, heads)
        if found is None or found.shape != target.shape:
            raise InputError(
                f"{path}: '{name}' has shape {named[name].shape}, which does not give {tuple(target.shape)}. "
                "Build the model with the file's own sizes: heads, channels and the rest."
            )
        fitted[name] = found.contiguous()
    return fitted


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    require_file(path)
    if path.suffix != SUFFIX:
        raise InputError(f"{path} is not a JAX weights file: its name must end in {SUFFIX}.")
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "no archive of arrays")
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UnsafeFileError(
                f"{path} holds pickled objects and was not opened: opening it could run code. "
                "Fetch the file from its authors again."
            ) from error
        raise _damaged(path, error) from error
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"{path}: '{name}' holds {array.dtype}, not floating-point numbers. Download it again.")
    return arrays


def _damaged(path: Path, error: Exception | str) -> InputError:
    return InputError(f"{path} is not a whole {SUFFIX} file ({error}). Copy or download it again.")


def _torch_ending(name: str) -> str:
    head, _, last = name.rpartition("/")
    return f"{head}/{_WEIGHT.get(last, last)}"


def _turned(array: NDArray[Any], name: str, wanted: Tensor, heads: int) -> Tensor | None:
    """An array in PyTorch's order of axes; None where it cannot be."""
    tensor = torch.from_numpy(array.astype(np.float32))
    if name.endswith(POSITIONS):
        return _positions(tensor, wanted.shape[1])
    if re.search(r"attn\.(query|key|value)", name):
        return tensor.flatten(1).T if tensor.ndim == 3 and tensor.shape[1] == heads else _vector(tensor, heads)
    if name.endswith("attn.out.weight"):
        return tensor.flatten(0, 1).T if tensor.ndim == 3 and tensor.shape[0] == heads else None
    if wanted.ndim == 4:
        return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else None
    return tensor.T if wanted.ndim == 2 else tensor.flatten()


def _vector(tensor: Tensor, heads: int) -> Tensor | None:
    """The bias (heads, size) of an attention, flat."""
    return tensor.flatten() if tensor.ndim == 2 and tensor.shape[0] == heads else None


def _positions(table: Tensor, places: int) -> Tensor:
    """A position table (1, [1 +] n x n, width) for another square grid of `places`, without its class token."""
    if table.ndim != 3 or table.shape[1] == places:
        return table
    count = table.shape[1]
    if isqrt(count) ** 2 != count:
        table, count = table[:, 1:], count - 1
    side, wanted = isqrt(count), isqrt(places)
    if count == places or side**2 != count or wanted**2 != places:
        return table
    grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    moved = F.interpolate(grid, (wanted, wanted), mode="bilinear", align_corners=True)
    return moved.permute(0, 2, 3, 1).reshape(1, places, -1)


def _told(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})" if names else "none"
