"""TensorBoard's event files: the same numbers as in the log, for people who watch trainings there."""

from __future__ import annotations

from pathlib import Path

from oncoseg.errors import ConfigError
from oncoseg.training.record import Line
from oncoseg.training.speed import Speed


class EventFiles:
    """Writes event files.

    Args:
        folder: for them.
        step: steps done; what an earlier, killed process wrote of later ones is hidden.

    Raises:
        ConfigError: without the package tensorboard.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "tensorboard = true needs the package tensorboard. Install it: pip install 'oncoseg[tensorboard]'."
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, line: Line, speed: Speed) -> None:
        """The numbers of one validation."""
        numbers = {
            "loss": line.loss,
            **{f"loss/{name}": loss for name, loss in line.losses.items() if len(line.losses) > 1},
            "validation": line.validation,
            **{f"validation slices/{name}": score for name, score in line.scores.items()},
            **{f"watched/{name}": number for name, number in line.watched.items()},
            "learning rate": line.learning_rate,
            "samples per second": speed.samples_per_second,
            "memory/process GB": speed.memory_bytes / 1e9,
            "memory/device GB": None if speed.device_bytes is None else speed.device_bytes / 1e9,
        }
        for name, number in numbers.items():
            if number is not None:
                self._writer.add_scalar(name, number, line.step)
        self._writer.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._writer.close()
