"""How a prompt-free model computes its predictions: as asked, or the fastest way that gives the same masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from oncoseg.inference.running import Choice, Runner, Running, lowest_dice, measured_choice, runner

#: `float32` is plain torch; `fastest` measures what there is on the first image and takes what keeps the masks.
Compute = Literal["float32", "bfloat16", "openvino", "openvino bfloat16", "fastest"]

_WAYS: dict[str, Running] = {
    "bfloat16": Running("bfloat16"),
    "openvino": Running(backend="openvino"),
    "openvino bfloat16": Running("bfloat16", "openvino"),
}


class Computing:
    """A network as it computes predictions; weights may still change between predictions.

    Args:
        network: takes and returns one tensor in evaluation mode.
        compute: how.
    """

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        self.network, self.compute = network, compute
        self.choice: Choice | None = None

    @property
    def told(self) -> list[str]:
        """Sentences for the user and every report; empty for plain float32."""
        if self.compute == "float32":
            return []
        if self.compute != "fastest":
            return [f"Computed in {_WAYS[self.compute].name}, not compared with float32."]
        return ["Nothing was computed yet."] if self.choice is None else _in_words(self.choice)

    def run(self, examples: Iterable[Tensor]) -> Runner:
        """The function from batches to logits for one prediction.

        Args:
            examples: batches of the image; `fastest` compares on the first in which float32 finds something.

        Raises:
            ConfigError: when this machine or installation cannot compute as asked.
        """
        if self.compute == "float32":
            device = next(self.network.parameters()).device
            return lambda batch: self.network(batch.to(device))
        if self.compute != "fastest":
            return runner(self.network, _WAYS[self.compute])
        if self.choice is None:
            self.choice = measured_choice(self.network, self._telling(examples))
        return runner(self.network, self.choice.running)

    def _telling(self, examples: Iterable[Tensor]) -> Tensor:
        """The first batch in which something is found; the last one when nothing is."""
        plain = runner(self.network)
        batch: Tensor | None = None
        for batch in examples:
            logits = plain(batch)
            if lowest_dice(logits, logits) is not None:
                return batch
        if batch is None:
            raise ValueError("no example to compute")
        return batch


def _in_words(choice: Choice) -> list[str]:
    plain = choice.measured[0]
    sentences = []
    for measured in choice.measured:
        if measured.running == choice.running and measured.seconds and plain.seconds:
            same = "" if measured.dice is None else f", Dice {measured.dice:.4f} with the masks of float32"
            sentences.append(
                f"Computed in {choice.running.name}: {plain.seconds / measured.seconds:.1f} times as fast as float32 "
                f"on {tuple(choice.shape)}{same} (measured on this machine, at least {choice.tolerance} was asked for)."
            )
    return sentences + [f"Not used: {m.running.name}, {m.off}." for m in choice.measured if m.off]
