"""Official files of SAM-Med2D and of SAM in a SAM-Med2D, as the authors' own loader begins from them.

Cheng et al., SAM-Med2D, 2023 (arXiv 2308.16184), `build_sam.py` of its repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.positions import interpolated_positions

#: What the authors' loader starts anew where SAM's weights for another image size are the beginning.
_ANEW = re.compile(r"mask_decoder\.(mask_tokens|output_hypernetworks_mlps|iou_prediction_head)\..+")


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
    """Fill a SAM-Med2D from an official file, with or without adapters, or begin it from a SAM's.

    As the authors' loader does it, weights for another image size keep their encoders and transformer; position
    tables are interpolated, mask tokens, their perceptrons and the head of the expected IoU stay as they were.

    Returns:
        What of the network the file did not give, in sentences; empty when it gave everything.

    Raises:
        InputError: with what is missing, unexpected or of another shape.
    """
    held, own = sam_state(state), network.state_dict()
    table = "image_encoder.pos_embed"
    other_size = table in held and table in own and held[table].shape != own[table].shape
    adapters = {name for name in own if ".Adapter." in name}
    kept = set() if adapters & held.keys() else adapters
    told = [f"{what} holds no adapters: they are random until they are trained."] if kept else []
    if other_size and kept:
        kept |= {name for name in own if _ANEW.fullmatch(name)}
        told.append("Mask tokens, their perceptrons and the head of the expected IoU are random until trained too.")
    fitted = interpolated_positions({name: t for name, t in held.items() if name not in kept}, network)
    load_strictly(network, fitted | {name: own[name] for name in kept}, what)
    return told
