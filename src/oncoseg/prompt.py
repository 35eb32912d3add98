"""What a promptable model is given: boxes, clicks, scribbles, masks; to and from JSON.

Inside oncoseg prompts are voxel positions in array order (slice, row, column) of the image they
were made for. JSON may also give them in patient LPS millimetres; `from_json` then needs the image.

Prompts with the same number `lesion` point at the same object. Without a number, every box and every mask points at an
object of its own, and clicks and scribbles at the box they lie in, or else all together at one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from oncoseg.errors import InputError
from oncoseg.volume import Volume

Index = tuple[int, int, int]
#: Who made the prompt. `oracle`: from the reference; `jittered`: from the reference, displaced;
#: `simulated user`: a policy that looks at the reference; `automatic`: from the image alone.
Source = Literal["user", "oracle", "jittered", "simulated user", "automatic"]


@dataclass(frozen=True)
class Box:
    """A half-open voxel box [start, stop) in (slice, row, column).

    A box of one slice prompts that slice; a thicker one is a 3D box round a lesion. `jitter_mm` and `jitter_px` say how
    far a simulator may have displaced it, in mm or in pixels of a slice.
    """

    start: Index
    stop: Index
    source: Source = "user"
    jitter_mm: float = 0.0
    lesion: int | None = None
    jitter_px: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _index(self.start, "box start"))
        object.__setattr__(self, "stop", _index(self.stop, "box stop"))
        if any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise InputError(
                f"Box {self.start} to {self.stop} is empty: boxes are half open, every stop must exceed its start."
            )

    @property
    def slices(self) -> range:
        """The slices the box touches."""
        return range(self.start[0], self.stop[0])

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """The box as the index of an array: `voxels[box.region]`."""
        slices, rows, columns = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return slices, rows, columns

    def require_inside(self, image: Volume) -> None:
        """Raise InputError unless the whole box lies inside `image`."""
        if any(a < 0 or b > n for a, b, n in zip(self.start, self.stop, image.shape, strict=True)):
            raise InputError(
                f"Box {self.start} to {self.stop} (slice, row, column) leaves the volume of shape {image.shape}. "
                "Give voxel indices inside the image, or use --mm for patient millimetres."
            )


@dataclass(frozen=True)
class Click:
    """One voxel that is inside (`positive`) or outside the tumour."""

    index: Index
    positive: bool = True
    source: Source = "user"
    lesion: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", _index(self.index, "click"))

    @property
    def slices(self) -> range:
        """The slice the click lies on."""
        return range(self.index[0], self.index[0] + 1)

    def require_inside(self, image: Volume) -> None:
        """Raise InputError unless the click lies inside `image`."""
        _require_inside(np.array([self.index]), image, "Click")


@dataclass(frozen=True)
class Scribble:
    """A freehand line: voxels (n, 3) that are inside or outside the tumour."""

    indices: tuple[Index, ...]
    positive: bool = True
    source: Source = "user"
    lesion: int | None = None

    def __post_init__(self) -> None:
        if not self.indices:
            raise InputError("A scribble needs at least one voxel.")
        object.__setattr__(self, "indices", tuple(_index(i, "scribble voxel") for i in self.indices))

    @property
    def slices(self) -> range:
        """The range of slices the line spans."""
        touched = [i[0] for i in self.indices]
        return range(min(touched), max(touched) + 1)

    def require_inside(self, image: Volume) -> None:
        """Raise InputError unless every voxel lies inside `image`."""
        _require_inside(np.array(self.indices), image, "Scribble voxel")


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """A rough or previous mask on the grid of the image; `jitter_mm` says how far its border may have moved."""

    mask: Volume = field(repr=False)
    source: Source = "user"
    lesion: int | None = None
    jitter_mm: float = 0.0

    @property
    def slices(self) -> range:
        """The range of slices with a voxel in the mask; empty for an empty mask."""
        touched = np.flatnonzero(self.mask.voxels.any(axis=(1, 2)))
        return range(int(touched[0]), int(touched[-1]) + 1) if touched.size else range(0)

    def require_inside(self, image: Volume) -> None:
        """Raise GridMismatchError unless the mask lies on the grid of `image`."""
        image.require_same_grid(self.mask, "image and mask prompt")


Prompt = Box | Click | Scribble | MaskPrompt


def tight_box(mask: Volume, source: Source = "oracle") -> Box | None:
    """The smallest box that holds every voxel of a mask; None when the mask is empty."""
    if not mask.voxels.any():
        return None
    touched = [np.flatnonzero(mask.voxels.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    return Box(
        _index([int(t[0]) for t in touched], "box"), _index([int(t[-1]) + 1 for t in touched], "box"), source=source
    )


def box_from_mm(
    corner_mm: Sequence[float], opposite_mm: Sequence[float], image: Volume, source: Source = "user"
) -> Box:
    """The voxel box whose voxel centres lie between two opposite corners in LPS mm.

    On an oblique image the box is the axis-aligned voxel box round all eight corners.

    Raises:
        InputError: for positions that are not three finite numbers, or a box without a voxel centre.
    """
    for position in (corner_mm, opposite_mm):
        _require_position(position)
    low, high = np.minimum(corner_mm, opposite_mm), np.maximum(corner_mm, opposite_mm)
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    index = image.mm_to_index(corners)
    start = np.ceil(index.min(axis=0) - 1e-6).astype(int)
    stop = np.floor(index.max(axis=0) + 1e-6).astype(int) + 1
    if (stop <= start).any():
        raise InputError(
            f"Box {tuple(corner_mm)} to {tuple(opposite_mm)} mm holds no voxel centre of the image "
            f"(spacing {image.spacing} mm). Make it larger."
        )
    return Box(tuple(start.tolist()), tuple(stop.tolist()), source=source)


def click_from_mm(position_mm: Sequence[float], image: Volume, positive: bool = True, source: Source = "user") -> Click:
    """The click on the voxel nearest to an LPS mm position.

    Raises:
        InputError: for a position that is not three finite numbers.
    """
    _require_position(position_mm)
    return Click(tuple(np.rint(image.mm_to_index(position_mm)).astype(int).tolist()), positive, source)


def line_through(points: Sequence[Index]) -> tuple[Index, ...]:
    """The voxels on straight lines from each point to the next, each once, both ends included.

    Example:
        >>> line_through([(4, 0, 0), (4, 2, 1)])
        ((4, 0, 0), (4, 1, 0), (4, 2, 1))
    """
    voxels = [tuple(points[0])]
    for start, stop in pairwise(points):
        steps = max(abs(b - a) for a, b in zip(start, stop, strict=True))
        voxels += [tuple(v) for v in np.rint(np.linspace(start, stop, steps + 1)).astype(int)[1:].tolist()]
    return tuple(_index(voxel, "scribble voxel") for voxel in dict.fromkeys(voxels))


def to_json(
    prompts: Iterable[Prompt], write_mask: Callable[[MaskPrompt, int], str] | None = None
) -> list[dict[str, Any]]:
    """Prompts as plain data, voxel positions in (slice, row, column) with `"space": "index"`.

    Args:
        prompts: what a model is given.
        write_mask: writes a mask prompt, told its number from 1, and returns the name of the file; None where there
            is no place for files.

    Raises:
        InputError: for a mask prompt without `write_mask`: its voxels belong into a file of their own.

    Example:
        >>> to_json([Click((3, 10, 12), positive=False)])
        [{'type': 'click', 'space': 'index', 'source': 'user', 'index': [3, 10, 12], 'positive': False}]
    """
    return [_one_to_json(prompt, number, write_mask) for number, prompt in enumerate(prompts, start=1)]


def _one_to_json(prompt: Prompt, number: int, write_mask: Callable[[MaskPrompt, int], str] | None) -> dict[str, Any]:
    head: dict[str, Any] = {"space": "index", "source": prompt.source}
    if prompt.lesion is not None:
        head["lesion"] = prompt.lesion
    match prompt:
        case Box():
            return {
                "type": "box",
                **head,
                "start": list(prompt.start),
                "stop": list(prompt.stop),
                "jitter_mm": prompt.jitter_mm,
                **({"jitter_px": prompt.jitter_px} if prompt.jitter_px else {}),
            }
        case Click():
            return {"type": "click", **head, "index": list(prompt.index), "positive": prompt.positive}
        case Scribble():
            return {
                "type": "scribble",
                **head,
                "indices": [list(i) for i in prompt.indices],
                "positive": prompt.positive,
            }
        case MaskPrompt() if write_mask is not None:
            return {"type": "mask", **head, "file": write_mask(prompt, number), "jitter_mm": prompt.jitter_mm}
    raise InputError("A mask prompt cannot be written as JSON alone; write its mask as NIfTI and give the file.")


def from_json(items: Any, image: Volume, read_mask: Callable[[str], Volume] | None = None) -> list[Prompt]:
    """Prompts from plain data, checked against the image they are for.

    Each item has `type` (box, click, scribble, mask) and `space`: `index` (slice, row, column) or
    `mm` (LPS x, y, z). Boxes have `start` and `stop`, clicks `index` (or `position_mm`) and
    `positive`, scribbles `indices` (or `positions_mm`) and `positive`, masks a `file` on the grid of the image; each
    may have a `lesion`, a whole number.

    Args:
        items: a list of objects.
        image: that they are for.
        read_mask: reads the file that a mask names; None where files cannot be read.

    Raises:
        InputError: names the item and what is wrong with it, also when it leaves the image.
    """
    if not isinstance(items, list):
        raise InputError('Prompts are a JSON list of objects such as {"type": "box", "start": [..], "stop": [..]}.')
    prompts = []
    for number, item in enumerate(items, start=1):
        try:
            if not isinstance(item, dict):
                raise InputError('it is no object such as {"type": "click", "index": [12, 200, 140]}.')
            prompt = replace(_one_from_json(item, image, read_mask), lesion=_lesion(item))
            prompt.require_inside(image)
        except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"Prompt {number} of {len(items)} ({item!r}): {reason}") from error
        prompts.append(prompt)
    return prompts


def _one_from_json(item: Mapping[str, Any], image: Volume, read_mask: Callable[[str], Volume] | None) -> Prompt:
    in_mm = item.get("space", "index") == "mm"
    source = item.get("source", "user")
    if source not in get_args(Source):
        raise InputError(f"source '{source}' is not one of {', '.join(get_args(Source))}.")
    positive = bool(item.get("positive", True))
    match item["type"]:
        case "box" if in_mm:
            return box_from_mm(item["start"], item["stop"], image, source)
        case "box":
            jitter_mm, jitter_px = (float(item.get(name, 0.0)) for name in ("jitter_mm", "jitter_px"))
            return Box(item["start"], item["stop"], source, jitter_mm, jitter_px=jitter_px)
        case "click" if in_mm:
            return click_from_mm(item["position_mm"], image, positive, source)
        case "click":
            return Click(item["index"], positive, source)
        case "scribble" if in_mm:
            nearest = (click_from_mm(p, image).index for p in item["positions_mm"])
            return Scribble(tuple(nearest), positive, source)
        case "scribble":
            return Scribble(tuple(item["indices"]), positive, source)
        case "mask" if read_mask is not None:
            return MaskPrompt(read_mask(str(item["file"])), source, jitter_mm=float(item.get("jitter_mm", 0.0)))
        case "mask":
            raise InputError("masks are files, and there is no folder here to read them from.")
    raise InputError(f"type '{item['type']}' is not box, click, scribble or mask.")


def _lesion(item: Mapping[str, Any]) -> int | None:
    number = item.get("lesion")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise InputError(f"lesion {number!r} is not a whole number.")
    return number


def _index(values: Sequence[int], what: str) -> Index:
    numbers = [int(v) for v in values]
    if len(numbers) != 3 or any(n != v for n, v in zip(numbers, values, strict=True)):
        raise InputError(f"A {what} is three whole numbers (slice, row, column); got {list(values)}.")
    return numbers[0], numbers[1], numbers[2]


def _require_position(position_mm: Sequence[float]) -> None:
    if len(position_mm) != 3 or not np.isfinite(np.asarray(position_mm, dtype=np.float64)).all():
        raise InputError(f"A position is three finite numbers (x, y, z) in LPS mm; got {list(position_mm)}.")


def _require_inside(indices: np.ndarray[Any, Any], image: Volume, what: str) -> None:
    outside = ((indices < 0) | (indices >= np.array(image.shape))).any(axis=1)
    if outside.any():
        raise InputError(
            f"{what} {tuple(indices[outside][0].tolist())} (slice, row, column) is outside the volume of shape "
            f"{image.shape}. Give voxel indices inside the image, or use --mm for patient millimetres."
        )
