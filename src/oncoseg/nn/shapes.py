"""What a network can take, checked before it fails somewhere inside."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from oncoseg.errors import InputError

_AXES = {2: "rows, columns", 3: "slices, rows, columns"}


def require_input(
    x: Tensor,
    name: str,
    *,
    channels: int,
    multiple: int | Sequence[int] = 1,
    size: Sequence[int] | None = None,
    space: int = 2,
) -> None:
    """Raise unless a network can take a batch.

    Args:
        x: (batch, channels, rows, columns) or (batch, channels, slices, rows, columns).
        name: of the network, for the message.
        channels: it takes.
        multiple: of which every axis, or each one, must be.
        size: the only size it takes, None for any.
        space: axes behind the channels, when neither `multiple` nor `size` say.

    Raises:
        InputError: names what came, what is needed and the nearest size that fits.
    """
    steps = [multiple] * space if isinstance(multiple, int) else list(multiple)
    if size is not None:
        steps = [1] * len(size)
    if x.ndim != len(steps) + 2:
        needed = f"(batch, channels, {_AXES[len(steps)]})"
        raise InputError(f"{name} takes {needed}; the batch has {x.ndim} axes: {tuple(x.shape)}.")
    if x.shape[1] != channels:
        raise InputError(
            f"{name} was built for {channels} input channel(s); the batch has {x.shape[1]}. "
            f"Build it with channels = {x.shape[1]}, or give {channels}."
        )
    found = tuple(x.shape[2:])
    nearest = tuple(size) if size is not None else nearest_size(found, steps)
    if found != nearest:
        why = "takes one size only" if size is not None else f"needs multiples of {_words(steps)}"
        raise InputError(f"{name} {why}; the batch has {found}. The nearest that fits is {nearest}.")


def nearest_size(found: Sequence[int], multiple: Sequence[int]) -> tuple[int, ...]:
    """The size nearest to one, each axis a positive multiple; the larger of two that are as near.

    Example:
        >>> nearest_size((100, 96, 3), (32, 32, 16))
        (96, 96, 16)
    """
    return tuple(max(1, (2 * n + m) // (2 * m)) * m for n, m in zip(found, multiple, strict=True))


def _words(steps: Sequence[int]) -> str:
    return str(steps[0]) if len(set(steps)) == 1 else " x ".join(map(str, steps))
