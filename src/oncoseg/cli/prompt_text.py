"""Boxes, clicks and scribbles as typed on the command line.

People read voxel positions in Slicer and ITK-SNAP as (column, row, slice), counted from 0; inside
oncoseg they are (slice, row, column). The order is turned round here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from oncoseg.errors import InputError
from oncoseg.prompt import Box, Click, Scribble, box_from_mm, click_from_mm, line_through
from oncoseg.volume import Volume


def parse_box(text: str, image: Volume, *, mm: bool = False) -> Box:
    """`i0,j0,k0,i1,j1,k1` (column, row, slice; half open) or two corners in LPS mm, checked against the image.

    Raises:
        InputError: names the text and what is expected.
    """
    numbers = _numbers(text, 6, "--box")
    if mm:
        box = box_from_mm(numbers[:3], numbers[3:], image)
    else:
        whole = _whole(numbers, text, "--box")
        with _naming("--box", text):
            box = Box((whole[2], whole[1], whole[0]), (whole[5], whole[4], whole[3]))
    with _naming("--box", text):
        box.require_inside(image)
    return box


def parse_click(text: str, image: Volume, *, mm: bool = False, option: str = "--click") -> Click:
    """`i,j,k`, optionally followed by `,+` (inside) or `,-` (outside), checked against the image.

    Raises:
        InputError: names the text and what is expected.
    """
    position, positive = text, True
    if text.rstrip().endswith((",+", ",-")):
        position, positive = text.rstrip()[:-2], text.rstrip().endswith("+")
    numbers = _numbers(position, 3, option)
    if mm:
        click = click_from_mm(numbers, image, positive)
    else:
        column, row, slice_index = _whole(numbers, text, option)
        click = Click((slice_index, row, column), positive)
    with _naming(option, text):
        click.require_inside(image)
    return click


def parse_scribble(text: str, image: Volume, *, mm: bool = False) -> Scribble:
    """`i,j,k;i,j,k;...`, optionally followed by `;+` or `;-`: the voxels on straight lines from point to point.

    Raises:
        InputError: names the text and what is expected.
    """
    *points, last = text.strip().split(";")
    positive = last.strip() != "-"
    points += [] if last.strip() in ("+", "-", "") else [last]
    clicks = [parse_click(point, image, mm=mm, option="--scribble") for point in points]
    if not clicks:
        raise InputError(
            f"--scribble '{text}' must be positions with semicolons, e.g. --scribble 140,220,46;150,225,46."
        )
    return Scribble(line_through([click.index for click in clicks]), positive)


@contextmanager
def _naming(option: str, text: str) -> Iterator[None]:
    """Errors speak of (slice, row, column); put what was typed, in its own order, before them."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{option} '{text}': {error}") from error


def _numbers(text: str, count: int, option: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        example = "120,200,40,160,240,52" if count == 6 else "140,220,46 or 140,220,46,-"
        raise InputError(f"{option} '{text}' must be {count} numbers with commas, e.g. {option} {example}.")
    return numbers


def _whole(numbers: list[float], text: str, option: str) -> list[int]:
    if any(n != int(n) for n in numbers):
        raise InputError(f"{option} '{text}' must be whole voxel indices; add --mm when these are millimetres.")
    return [int(n) for n in numbers]
