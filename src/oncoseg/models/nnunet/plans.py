"""What nnU-Net measured and decided, in our words, and why a configuration does not apply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: Below this share of the median volume in a patch nnU-Net plans a coarser stage (Isensee et al. 2021).
LOWRES_BELOW = 0.25
CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")


def fingerprint_words(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """nnU-Net's fingerprint: cases, spacings and shapes (slice, row, column), HU inside the labels."""
    intensities = fingerprint["foreground_intensity_properties_per_channel"]["0"]
    return {
        "cases": len(fingerprint["spacings"]),
        "spacing_mm": {
            "median": _medians(fingerprint["spacings"]),
            "smallest": [min(axis) for axis in zip(*fingerprint["spacings"], strict=True)],
            "largest": [max(axis) for axis in zip(*fingerprint["spacings"], strict=True)],
        },
        "shape_voxels": {"median": _medians(fingerprint["shapes_after_crop"])},
        "hu_inside_labels": {
            "mean": intensities["mean"],
            "standard_deviation": intensities["std"],
            "median": intensities["median"],
            "percentile_0.5": intensities["percentile_00_5"],
            "percentile_99.5": intensities["percentile_99_5"],
            "lowest": intensities["min"],
            "highest": intensities["max"],
        },
    }


def plan_words(plans: Mapping[str, Any], version: str, memory_gb: float) -> dict[str, Any]:
    """nnU-Net's plan: one entry a configuration, axes (slice, row, column) or, for 2d, (row, column)."""
    held = {name: _words_of(plans, name) for name in CONFIGURATIONS}
    return {
        "planner": f"nnunetv2 {version}, ExperimentPlanner",
        "memory_gb": memory_gb,
        "configurations": {
            name: words if words is not None else {"not_applicable": why_not(plans, name)}
            for name, words in held.items()
        },
    }


def why_not(plans: Mapping[str, Any], configuration: str) -> str | None:
    """Why the planner leaves a configuration away; None when it does not."""
    planned = plans["configurations"]
    if configuration in planned:
        return None
    if "3d_fullres" not in planned:
        return f"{configuration} not applicable: the images have a single slice"
    patch = planned["3d_fullres"]["patch_size"]
    median = planned["3d_fullres"]["median_image_size_in_voxels"]
    covered = math.prod(patch) / math.prod(median)
    needed = " (the cascade needs 3d_lowres)" if configuration != "3d_lowres" else ""
    if covered >= LOWRES_BELOW:
        return (
            f"{configuration} not applicable: the 3d_fullres patch already covers {min(covered, 1):.0%} of the "
            f"median volume{needed}"
        )
    return f"{configuration} not applicable: a coarser volume would be less than half as large{needed}"


def _words_of(plans: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    planned = plans["configurations"].get(name)
    if planned is None:
        return None
    inherited = planned.get("inherits_from")
    if inherited is not None:
        return {**(_words_of(plans, inherited) or {}), "previous_stage": planned["previous_stage"]}
    network = planned["architecture"]["arch_kwargs"]
    back = plans["transpose_backward"]
    flat = len(planned["patch_size"]) == 2
    return {
        "spacing_mm": _in_order(planned["spacing"], back, flat),
        "median_shape_voxels": [round(n) for n in _in_order(planned["median_image_size_in_voxels"], back, flat)],
        "patch_voxels": _in_order(planned["patch_size"], back, flat),
        "batch": planned["batch_size"],
        "stages": network["n_stages"],
        "features": network["features_per_stage"],
        "kernels": [_by(_in_order(kernel, back, flat)) for kernel in network["kernel_sizes"]],
        "strides": [_by(_in_order(stride, back, flat)) for stride in network["strides"]],
        "network": planned["architecture"]["network_class_name"].rpartition(".")[2],
        "normalisation": _normalisation(planned["normalization_schemes"][0], plans),
        "dice_over_the_batch": planned["batch_dice"],
    }


def _normalisation(scheme: str, plans: Mapping[str, Any]) -> str:
    if scheme != "CTNormalization":
        return scheme
    seen = plans["foreground_intensity_properties_per_channel"]["0"]
    low, high = seen["percentile_00_5"], seen["percentile_99_5"]
    return f"clip to {low:.0f} .. {high:.0f} HU, subtract {seen['mean']:.1f}, divide by {seen['std']:.1f}"


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _in_order(values: Sequence[float], back: Sequence[int], flat: bool) -> list[float]:
    """Values in the order of our axes: nnU-Net puts the coarsest axis first, and slices 2D images along it."""
    if not flat:
        return [values[axis] for axis in back]
    return list(values)


def _medians(rows: Sequence[Sequence[float]]) -> list[float]:
    import numpy as np

    return [float(value) for value in np.median(np.asarray(rows, dtype=np.float64), axis=0)]
