"""A network on overlapping windows of a volume, blended: sliding-window inference in two and three dimensions.

Two conventions are in use, and both are here: nnU-Net's (Isensee et al. 2021; windows evenly distributed) and
MONAI's (windows in whole steps from the start, the last one moved back inside). Each gives its package's numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oncoseg.errors import ConfigError, InputError

Weighting = Literal["gaussian", "uniform"]
Convention = Literal["nnunet", "monai"]

#: Turns a batch (windows, channels, *window) into logits (windows, outputs, *window).
Network = Callable[[Tensor], Tensor]
#: Turns the logits (outputs, *slab) of a finished part of the volume into what is kept of it (kept, *slab).
Finish = Callable[[Tensor], Tensor]
#: Called with the number of finished windows and of all windows.
Progress = Callable[[int, int], None]

#: Standard deviation of the Gaussian weights, as a share of the window (both conventions).
SIGMA = 1 / 8
#: Smallest weight of MONAI's map.
MONAI_FLOOR = 1e-3
#: Logit of what no window looked at: a probability of 2e-9.
NEVER = -20.0


@torch.no_grad()
def slide(
    network: Network,
    image: Tensor,
    *,
    window: Sequence[int],
    overlap: float = 0.5,
    weighting: Weighting = "gaussian",
    convention: Convention = "nnunet",
    mirror: Sequence[int] = (),
    batch: int = 1,
    where: NDArray[Any] | Tensor | None = None,
    outside: Sequence[float] | None = None,
    finish: Finish | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Logits of a whole image, or what `finish` makes of them.

    Windows are added in place to the part of the volume they touch. Once no further window touches a slab it is
    divided by its weights, handed to `finish` and freed; so memory holds logits of slabs as thick as one window
    (across the axis with most windows), and of the whole volume only what `finish` returns.

    Args:
        network: any callable on batches; its logits may be of any float type and on any device.
        image: (channels, *space), finite numbers.
        window: voxels of a window along the last axes of the image. With fewer entries than the image has axes
            (rows and columns of a volume) every slice is looked at alone, and the network sees no slice axis.
            Where the image is smaller it lies in the middle of the window, zeros round it.
        overlap: share of a window that the next one covers too, in [0, 1); windows may overlap more.
        weighting: `gaussian` trusts the middle of a window most.
        convention: whose places of windows and formula of the Gaussian.
        mirror: axes of `window` along which the window is flipped too; logits of all 2^n flips are averaged.
        batch: windows given to the network at once.
        where: of the image's space; windows without a true voxel are skipped. Voxels where it is true get exactly
            the result they would have got without it. One window is looked at even when all could be skipped.
        outside: logits of voxels that no window looked at, one an output; None for background: -20 for a single
            output, else 0 for the first and -20 for all others.
        finish: applied to each slab of logits, voxel by voxel; the whole axis may be any. None keeps the logits.
        progress: told after every batch.

    Returns:
        (outputs, *space) float32 on the image's device, or what `finish` returns for its slabs, put together.

    Raises:
        ConfigError: for a window, overlap, mirror axis or batch that cannot be.
        InputError: when `where` is of another shape, or the network returns another shape than its input's.
    """
    space = tuple(image.shape[1:])
    full = _full_window(window, space, overlap=overlap, mirror=mirror, batch=batch)
    padded, origin = _padded(image, full)
    grid = _Grid.of(tuple(padded.shape[1:]), full, overlap, convention)
    starts = list(_wanted(grid, where, space, origin))
    blend = _Blend(grid, _weights(full, weighting, convention).to(image.device), origin, space, outside, finish)
    flips = [axes for n in range(len(mirror) + 1) for axes in itertools.combinations([a + 2 for a in mirror], n)]
    done = 0
    for group in _batches(starts, batch):
        cuts = torch.stack([padded[(slice(None), *grid.region(start))] for start in group])
        cuts = cuts.reshape(len(group), image.shape[0], *window)
        for axes in flips:
            logits = _checked(network(cuts.flip(axes) if axes else cuts), cuts)
            logits = (logits.flip(axes) if axes else logits).to(image.device)
            for start, part in zip(group, logits, strict=True):
                blend.add(part.reshape(-1, *full), start, share=1 / len(flips), first=not axes)
        done += len(group)
        blend.finish_before(starts[done][grid.axis] if done < len(starts) else None)
        if progress:
            progress(done, len(starts))
    return blend.result()


def places(size: int, window: int, overlap: float, convention: Convention = "nnunet") -> list[int]:
    """First voxels of the windows along one axis of at least `window` voxels.

    `nnunet`: as few as a step of at most (1 - overlap) of the window allows, evenly distributed and rounded.
    `monai`: whole steps of floor((1 - overlap) window), at least 1, and the last window ends with the axis.
    """
    if convention == "nnunet":
        steps = math.ceil((size - window) / (window * (1 - overlap)))
        return [round((size - window) / steps * i) for i in range(steps + 1)] if steps else [0]
    step = max(1, int(window * (1 - overlap)))
    return [min(i * step, size - window) for i in range(math.ceil((size - window) / step) + 1)]


def _weights(window: tuple[int, ...], weighting: Weighting, convention: Convention) -> Tensor:
    """How much each voxel of a window counts, float32 in (0, 1].

    nnU-Net filters a point in the voxel after the middle of an even axis; MONAI's Gaussian is symmetric, and
    no weight is below 0.001.
    """
    if weighting == "uniform":
        return torch.ones(window)
    weights = torch.ones(())
    for size in window:
        centre = size // 2 if convention == "nnunet" else (size - 1) / 2
        away = torch.arange(size, dtype=torch.float64) - centre
        profile = torch.exp(-0.5 * (away / (SIGMA * size)) ** 2)
        weights = weights[..., None] * profile
    return weights.float() if convention == "nnunet" else weights.float().clamp_(min=MONAI_FLOOR)


class _Grid(NamedTuple):
    """Where windows lie in a (padded) space; slabs are cut across `axis`."""

    space: tuple[int, ...]
    window: tuple[int, ...]
    places: tuple[list[int], ...]
    axis: int

    @classmethod
    def of(cls, space: tuple[int, ...], window: tuple[int, ...], overlap: float, convention: Convention) -> _Grid:
        every = tuple(places(s, w, overlap, convention) for s, w in zip(space, window, strict=True))
        # The axis of which a window covers least: fewest logits are held at a time.
        axis = min(range(len(space)), key=lambda a: window[a] / space[a])
        return cls(space, window, every, axis)

    def region(self, start: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(s, s + w) for s, w in zip(start, self.window, strict=True))

    def starts(self) -> list[tuple[int, ...]]:
        """All windows, those of one slab together."""
        return sorted(itertools.product(*self.places), key=lambda start: start[self.axis])

    def slabs(self) -> Iterator[tuple[int, int]]:
        """First and last + 1 voxel along `axis` of the parts that windows cover wholly or not at all."""
        first = self.places[self.axis]
        return itertools.pairwise(sorted({*first, *(p + self.window[self.axis] for p in first)}))


class _Slab:
    """Weighted sums of logits of a part of the volume."""

    def __init__(self, shape: tuple[int, ...], outputs: int, device: torch.device) -> None:
        self.sums = torch.zeros(outputs, *shape, device=device)
        self.weights = torch.zeros(shape, device=device)

    def logits(self, outside: Tensor) -> Tensor:
        """The mean, in place; `outside` where nothing was added."""
        unseen = self.weights == 0
        self.sums /= self.weights.masked_fill_(unseen, 1)
        if unseen.any():
            torch.where(unseen, outside.view(-1, *[1] * unseen.ndim), self.sums, out=self.sums)
        return self.sums


class _Blend:
    """Adds windows to slabs, and finishes slabs that no further window touches."""

    def __init__(
        self,
        grid: _Grid,
        weights: Tensor,
        origin: tuple[int, ...],
        space: tuple[int, ...],
        outside: Sequence[float] | None,
        finish: Finish | None,
    ) -> None:
        self.grid, self.weights, self.origin, self.space = grid, weights, origin, space
        self.outside, self.finish = outside, finish
        self.ahead = list(grid.slabs())
        self.open: dict[tuple[int, int], _Slab] = {}
        self.outputs = 0
        self.kept: Tensor | None = None

    def add(self, logits: Tensor, start: tuple[int, ...], *, share: float, first: bool) -> None:
        """Add one window's logits times `share`; `first` adds its weights too."""
        axis, region = self.grid.axis, list(self.grid.region(start))
        self.outputs = logits.shape[0]
        for low, high in self.ahead:
            if high <= start[axis]:
                continue
            if low >= start[axis] + self.grid.window[axis]:
                break
            slab = self._slab(low, high)
            region[axis] = slice(None)
            weights = self.weights.narrow(axis, low - start[axis], high - low)
            part = logits.narrow(axis + 1, low - start[axis], high - low).float()
            slab.sums[(slice(None), *region)].addcmul_(part, weights, value=share)
            if first:
                slab.weights[tuple(region)] += weights

    def finish_before(self, position: int | None) -> None:
        """Finish the slabs that end at or before `position`; all for None."""
        while self.ahead and (position is None or self.ahead[0][1] <= position):
            self._keep(*self.ahead.pop(0))

    def result(self) -> Tensor:
        if self.kept is None:
            raise InputError("The image has no voxels.")
        return self.kept

    def _slab(self, low: int, high: int) -> _Slab:
        if (low, high) not in self.open:
            shape = list(self.grid.space)
            shape[self.grid.axis] = high - low
            self.open[low, high] = _Slab(tuple(shape), self.outputs, self.weights.device)
        return self.open[low, high]

    def _keep(self, low: int, high: int) -> None:
        """Finish one slab and write it to its place, without what was padded."""
        logits = self._slab(low, high).logits(self._outside())
        del self.open[low, high]
        axis = self.grid.axis
        inside = [slice(o, o + n) for o, n in zip(self.origin, self.space, strict=True)]
        start, stop = max(low, inside[axis].start), min(high, inside[axis].stop)
        inside[axis] = slice(start - low, stop - low)
        logits = logits[(slice(None), *inside)]
        reduced = self.finish(logits) if self.finish else logits
        if self.kept is None:
            self.kept = torch.empty(reduced.shape[0], *self.space, dtype=reduced.dtype, device=reduced.device)
        self.kept.narrow(axis + 1, start - self.origin[axis], stop - start).copy_(reduced)

    def _outside(self) -> Tensor:
        default = [NEVER] if self.outputs == 1 else [0.0] + [NEVER] * (self.outputs - 1)
        return torch.tensor(default if self.outside is None else list(self.outside), device=self.weights.device)


def _full_window(
    window: Sequence[int], space: tuple[int, ...], *, overlap: float, mirror: Sequence[int], batch: int
) -> tuple[int, ...]:
    """The window with one entry an axis of the image, after a look at all that can be wrong."""
    rules = {
        f"window {tuple(window)} must have 1 to {len(space)} sizes of at least 1": (
            0 < len(window) <= len(space) and min(window) >= 1
        ),
        f"overlap {overlap} must be in [0, 1)": 0 <= overlap < 1,
        f"mirror {tuple(mirror)} must be different axes of the window, 0 to {len(window) - 1}": (
            len(set(mirror)) == len(mirror) and set(mirror) <= set(range(len(window)))
        ),
        f"batch {batch} must be at least 1": batch >= 1,
    }
    for rule, kept in rules.items():
        if not kept:
            raise ConfigError(f"Sliding window: {rule}.")
    return (*[1] * (len(space) - len(window)), *window)


def _padded(image: Tensor, window: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The image in the middle of at least one window, and the index of its first voxel there."""
    missing = [max(0, w - s) for w, s in zip(window, image.shape[1:], strict=True)]
    if not any(missing):
        return image, (0,) * len(window)
    widths = [n for m in reversed(missing) for n in (m // 2, m - m // 2)]
    return F.pad(image, widths), tuple(m // 2 for m in missing)


def _wanted(
    grid: _Grid, where: NDArray[Any] | Tensor | None, space: tuple[int, ...], origin: tuple[int, ...]
) -> Iterable[tuple[int, ...]]:
    """The windows to look at, in order."""
    starts = grid.starts()
    if where is None:
        return starts
    if tuple(where.shape) != space:
        raise InputError(f"The mask of where to look has shape {tuple(where.shape)}; the image has {space}.")

    def seen(start: tuple[int, ...]) -> bool:
        # A window begins before the mask only where it covers the whole padded axis.
        region = zip(grid.region(start), origin, strict=True)
        return bool(where[tuple(slice(max(0, r.start - o), r.stop - o) for r, o in region)].any())

    wanted = [start for start in starts if seen(start)]
    return wanted or starts[:1]


def _batches(starts: list[tuple[int, ...]], batch: int) -> Iterator[list[tuple[int, ...]]]:
    for first in range(0, len(starts), batch):
        yield starts[first : first + batch]


def _checked(logits: Any, cuts: Tensor) -> Tensor:
    if isinstance(logits, Tensor) and logits.shape[0] == cuts.shape[0] and logits.shape[2:] == cuts.shape[2:]:
        return logits
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    raise InputError(
        f"The network made {found} of windows {tuple(cuts.shape)}; it must return one tensor of logits, "
        "(windows, outputs, ...) with the windows' sizes. Is it in evaluation mode?"
    )
