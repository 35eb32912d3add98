"""Metrics by name, and one case scored under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from oncoseg import registry
from oncoseg.contracts import Metric
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.evaluation.metric import MetricInfo

DEFAULT_METRICS: tuple[str, ...] = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "specificity",
    "hd",
    "hd95_max",
    "hd95_pooled",
    "assd",
    "masd",
    "nsd_border@2",
    "sdice_surfel@2",
    "com_distance",
    "volume_ref",
    "volume_pred",
    "rel_volume_diff",
    "abs_volume_error",
)
"""What `evaluate` and `bench` compute unless told otherwise."""


def metric_names() -> list[str]:
    """Every metric on the shelf, sorted, without parameters."""
    return registry.names("metrics")


def metric_infos() -> list[MetricInfo]:
    """What each metric on the shelf is, sorted by name."""
    modules = [registry.load("metrics", name) for name in metric_names()]
    return [module.INFO for module in modules]


def metric(name: str) -> Metric:
    """A metric by name.

    Args:
        name: a file of the shelf, with `@` and its parameter where it takes one: `dice`, `nsd_border@2`.

    Raises:
        UnknownNameError: with near names.
        InputError: when a parameter is missing, not wanted or not valid.

    Example:
        >>> metric("nsd_border@2.50").name
        'nsd_border@2.5'
    """
    base, at, parameter = name.partition("@")
    module = registry.load("metrics", base)
    if hasattr(module, "build"):
        if not parameter:
            raise InputError(f"Metric '{name}' needs its {module.INFO.parameter}: write {base}@2.")
        return cast("Metric", module.build(parameter))
    if at:
        raise InputError(f"Metric '{base}' takes no parameter; write '{base}' instead of '{name}'.")
    return cast("Metric", module.METRIC)
