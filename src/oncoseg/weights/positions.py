"""Position tables of SAM's image encoder fitted to another size of image; nothing else of a file is ever changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

_LOG = logging.getLogger(__name__)

#: Where something was learnt for each place: (1, row, column, width).
_ABSOLUTE = re.compile(r"(.*\.)?pos_embed")
#: Something learnt for each distance: (2 n - 1, width of a head).
_RELATIVE = re.compile(r".*\.rel_pos_[hw]")


def interpolated_positions(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A state dict whose position tables have the sizes that a network for images of another size needs.

    `pos_embed` is interpolated bilinearly, `rel_pos_h/w` of global blocks linearly along their length, corners not
    aligned, as SAM-Med2D does (its `build_sam.py`). Blocks that attend inside windows keep their tables: a table is
    a global block's when it covers the whole grid, in the file and in the network.

    Args:
        state: tensor by name in the network.
        network: to be filled; its image encoder is the one with a table `pos_embed` (1, row, column, width).

    Returns:
        All tensors of `state`. Those that need no other size, and those that differ in more than their size, are the
        same objects, so that `load_strictly` lists what does not fit. What was interpolated is logged.
    """
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    grids = {
        name.removesuffix("pos_embed"): (state[name].shape[1:3], wanted[name][1:3])
        for name in wanted.keys() & state.keys()
        if _ABSOLUTE.fullmatch(name) and _only_size_differs(state[name], wanted[name])
    }
    fitted = dict(state)
    for encoder, (held, needed) in grids.items():
        fitted[f"{encoder}pos_embed"] = _places(state[f"{encoder}pos_embed"], needed)
        for name in wanted.keys() & state.keys():
            if not name.startswith(encoder) or not _RELATIVE.fullmatch(name):
                continue
            axis = 0 if name.endswith("h") else 1
            if len(state[name]) == 2 * held[axis] - 1 and wanted[name][0] == 2 * needed[axis] - 1:
                fitted[name] = _distances(state[name], wanted[name][0])
    if grids:
        told = ", ".join(f"{held[0]} x {held[1]} to {new[0]} x {new[1]}" for held, new in grids.values())
        _LOG.info("position tables interpolated: %s", told)
    return fitted


def _only_size_differs(held: Tensor, wanted: tuple[int, ...]) -> bool:
    return held.ndim == 4 and len(wanted) == 4 and held.shape[-1] == wanted[-1] and held.shape[1:3] != wanted[1:3]


def _places(table: Tensor, size: tuple[int, ...]) -> Tensor:
    grid = F.interpolate(table.float().permute(0, 3, 1, 2), tuple(size), mode="bilinear", align_corners=False)
    return grid.permute(0, 2, 3, 1).to(table.dtype)


def _distances(table: Tensor, length: int) -> Tensor:
    along = F.interpolate(table.float().T[None], length, mode="linear", align_corners=False)
    return along[0].T.to(table.dtype)
