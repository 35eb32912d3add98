"""How images are embedded: in plain torch, by another library, or the fastest way that gives the same masks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.inference.running import SAME_MASKS, Runner, Running, lowest_dice, runner

#: `float32` is plain torch; `fastest` measures what there is on the first images and takes what keeps the masks.
Compute = Literal["float32", "bfloat16", "onnxruntime", "openvino", "fastest"]
_WAYS: dict[str, Running] = {
    "float32": Running(),
    "bfloat16": Running("bfloat16"),
    "onnxruntime": Running(backend="onnxruntime"),
    "openvino": Running(backend="openvino"),
}
#: Timed runs of each way, after one that warms up; the fastest counts.
ROUNDS = 3


class Embeds(Protocol):
    """A network with an image encoder."""

    @property
    def image_encoder(self) -> nn.Module:
        """Without what prepares its input."""
        ...

    def embed(self, images: Tensor, /) -> Tensor:
        """Embeddings of a batch."""
        ...


class Embedding:
    """The image encoder of a network as it computes; its weights must stay as they are.

    Args:
        network: with its image encoder, in evaluation mode.
        compute: how.
        masks: what the network finds in the middle of embedded images, as logits, by which `fastest` compares.
    """

    def __init__(self, network: Embeds, compute: Compute, masks: Callable[[Tensor], Tensor]) -> None:
        self.network, self.compute, self._masks = network, compute, masks
        self.told: list[str] = []
        self._runner: Runner | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings of images (batch, 3, s, s), or of volumes (batch, 1, s, s, s).

        Raises:
            ConfigError: when this machine or installation cannot compute as asked.
        """
        if self.compute == "float32":
            return self.network.embed(images)
        if self._runner is None:
            way = self._fastest(images) if self.compute == "fastest" else _WAYS[self.compute]
            if self.compute != "fastest":
                self.told = [f"Images are embedded by {way.name}, not compared with float32."]
            self._runner = runner(self.network.image_encoder, way)
        return self._runner(images)

    def _fastest(self, images: Tensor) -> Running:
        expected = self._masks(self.network.embed(images))
        seconds, off = {}, []
        for name, way in _WAYS.items():
            try:
                run = runner(self.network.image_encoder, way)
                dice = lowest_dice(expected, self._masks(run(images)))
            except (ConfigError, RuntimeError) as error:
                off.append(f"Not used: {name}, {str(error).strip().splitlines()[0]}.")
                continue
            if name != "float32" and (dice is None or dice < SAME_MASKS):
                found = "nothing is found in the first image" if dice is None else f"Dice {dice:.5f} with its masks"
                off.append(f"Not used: {name}, {found}.")
                continue
            seconds[name] = min(_seconds(run, images) for _ in range(ROUNDS))
        best = min(seconds, key=lambda name: seconds[name])
        gain = seconds["float32"] / seconds[best]
        self.told = [f"Images are embedded by {_WAYS[best].name}, {gain:.1f} times as fast as float32 here.", *off]
        return _WAYS[best]


def _seconds(run: Runner, images: Tensor) -> float:
    started = time.perf_counter()
    run(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
