"""Names to things: a shelf is a package, a name is a file on it, nothing is imported until asked.

Packages of other people join through entry points in the group named after the shelf's package,
e.g. `[project.entry-points."oncoseg.models"]` with `mynet = "mypackage.mynet"`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Literal

from oncoseg.errors import UnknownNameError

Shelf = Literal["models", "datasets", "metrics", "prompts", "protocols", "checks", "figures"]

PACKAGES: dict[Shelf, str] = {
    "models": "oncoseg.models",
    "datasets": "oncoseg.datasets",
    "metrics": "oncoseg.evaluation.metrics",
    "prompts": "oncoseg.prompts",
    "protocols": "oncoseg.evaluation.protocols",
    "checks": "oncoseg.evaluation.audit.checks",
    "figures": "oncoseg.report.paper_figures",
}
_SINGULAR: dict[Shelf, str] = {
    "models": "model",
    "datasets": "data set",
    "metrics": "metric",
    "prompts": "prompt simulator",
    "protocols": "scoring protocol",
    "checks": "check of printed tables",
    "figures": "figure",
}


def names(shelf: Shelf) -> list[str]:
    """Everything on a shelf, sorted: our own files and the entry points of installed packages."""
    return sorted({*_own(shelf), *_foreign(shelf)})


def load(shelf: Shelf, name: str) -> ModuleType:
    """Import one thing from a shelf.

    Args:
        shelf: which one.
        name: its file's name, without a variant; `medical-sam2` finds `medical_sam2`.

    Raises:
        UnknownNameError: with near names.
    """
    if name not in names(shelf):
        name = name.replace("-", "_")
    if name in _own(shelf):
        return importlib.import_module(f"{PACKAGES[shelf]}.{name}")
    if name in _foreign(shelf):
        module: ModuleType = _foreign(shelf)[name].load()
        return module
    raise UnknownNameError(_SINGULAR[shelf], name, names(shelf))


def split_variant(name: str) -> tuple[str, str | None]:
    """`unet.primakov` -> ("unet", "primakov"); `unet` -> ("unet", None)."""
    base, _, variant = name.partition(".")
    return base, variant or None


def _own(shelf: Shelf) -> frozenset[str]:
    places = importlib.import_module(PACKAGES[shelf]).__path__
    return frozenset(m.name for m in pkgutil.iter_modules(places) if not m.name.startswith("_"))


@cache
def _foreign(shelf: Shelf) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PACKAGES[shelf])}
