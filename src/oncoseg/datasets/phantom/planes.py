"""Distances in a plane: the few shapes the anatomy is painted with, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def ellipse(x: Plane, y: Plane, centre: tuple[float, float], half: tuple[float, float]) -> Plane:
    """Distance to an ellipse, to first order in mm; exact on its border."""
    u, v = (x - np.float32(centre[0])) / np.float32(half[0]), (y - np.float32(centre[1])) / np.float32(half[1])
    u2, v2 = u * u, v * v
    radius = np.sqrt(u2 + v2)
    slope = np.sqrt(u2 / np.float32(half[0] ** 2) + v2 / np.float32(half[1] ** 2)) + np.float32(1e-6)
    return np.asarray((radius - 1) * radius / slope)


def smoothstep(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, smooth in between."""
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return share * share * (3 - 2 * share)


def capsule(x: Plane, y: Plane, start: Sequence[float], stop: Sequence[float]) -> Plane:
    """Distance in mm to the line between two points."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    along = ((x - np.float32(start[0])) * np.float32(dx) + (y - np.float32(start[1])) * np.float32(dy)) / np.float32(
        dx * dx + dy * dy
    )
    along = np.clip(along, 0, 1)
    return np.asarray(
        np.hypot(x - np.float32(start[0]) - along * np.float32(dx), y - np.float32(start[1]) - along * np.float32(dy))
    )


def clipped(
    planes: Sequence[NDArray[Any]], x: Plane, y: Plane, limits: tuple[float, float, float, float]
) -> tuple[NDArray[Any], ...]:
    """Views of planes, x (1, columns) and y (rows, 1) inside `limits` (x low, x high, y low, y high)."""
    left, right = np.searchsorted(x[0], limits[:2])
    top, bottom = np.searchsorted(y[:, 0], limits[2:])
    views = tuple(plane[top:bottom, left:right] for plane in planes)
    return *views, x[:, left:right], y[top:bottom]
