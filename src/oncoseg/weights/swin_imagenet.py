"""ImageNet weights of an official Swin transformer file, for an encoder and mirrored into its decoder (Swin-Unet)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from oncoseg.errors import InputError

_TABLE = "relative_position_bias_table"
#: Follow from the sizes of the network and are never taken from a file.
_COMPUTED = re.compile(r".*\.(attn_mask|relative_position_index)")
#: What a file may hold beyond the network: classifier, and blocks that the network is not deep enough for.
_SURPLUS = re.compile(r"head\.(weight|bias)|layers\.\d+\.blocks\.\d+\..+")


class Mirrored(NamedTuple):
    """Tensors for a Swin-Unet, and what did not find its way.

    Attributes:
        state: tensor by name in the network.
        tables: position tables of the network whose shape in the file is another; they are not in `state`.
        unused: names in the file that the network has no place for.
    """

    state: dict[str, Tensor]
    tables: tuple[str, ...]
    unused: tuple[str, ...]


def mirrored(content: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> Mirrored:
    """Encoder stages of a file for the same stages, and their blocks for the decoder stages of the same side.

    Args:
        content: of the file, by official names: `patch_embed...`, `layers.0...`, `norm...`.
        own: the network's tensors; `layers_up.k` is the mirror image of `layers.(stages - 1 - k)`. The decoder's
            other parts have no counterpart in the file.
        what: names the file in messages.

    Raises:
        InputError: when a tensor is missing, another than a position table has another shape, or the file holds
            what no Swin transformer has.
    """
    stages = 1 + max(int(name.split(".")[1]) for name in own if name.startswith("layers."))
    sources = {name: source for name in own if (source := _source(name, stages))}
    missing = sorted({source for source in sources.values() if source not in content})
    unused = sorted(name for name in content.keys() - set(sources.values()) if not _COMPUTED.fullmatch(name))
    foreign = [name for name in unused if not _SURPLUS.fullmatch(name)]
    if missing or foreign:
        raise InputError(
            f"{what} is no Swin transformer for this network: {_told(missing)} missing, {_told(foreign)} unknown. "
            "Give the authors' file swin_tiny_patch4_window7_224.pth."
        )
    differing = [name for name, source in sources.items() if content[source].shape != own[name].shape]
    wrong = [name for name in differing if not name.endswith(_TABLE)]
    if wrong:
        shapes = f"{tuple(content[sources[wrong[0]]].shape)} instead of {tuple(own[wrong[0]].shape)}"
        raise InputError(f"{what} is of a Swin transformer of another size: {_told(wrong)} differ, e.g. {shapes}.")
    state = {name: content[source] for name, source in sources.items() if name not in differing}
    return Mirrored(state, tuple(differing), tuple(unused))


def _source(name: str, stages: int) -> str | None:
    """Where in the file a tensor of the network comes from; None for nowhere."""
    if _COMPUTED.fullmatch(name):
        return None
    if match := re.fullmatch(r"layers_up\.(\d+)\.(blocks\..+)", name):
        return f"layers.{stages - 1 - int(match[1])}.{match[2]}"
    return name if name.startswith(("patch_embed.", "layers.", "norm.")) else None


def _told(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})" if names else "none"
