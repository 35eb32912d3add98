"""Prompt degradation: how much of a model's score hangs on prompts that are better than a user's.

An axis makes one kind of prompt worse in one way, level by level. Levels of one axis meet the same cases with the same
random draws, so that a curve differs by the level alone; so do curves of different models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.evaluation.scoring import DEFAULT_METRICS
from oncoseg.experiments.matrix import Block, Matrix
from oncoseg.experiments.specs import DatasetSpec, ModelSpec, PromptSpec

#: Models that answer from the box alone and are put beside every model that takes boxes.
BESIDE = ("filled_box", "ellipsoid")


@dataclass(frozen=True)
class Axis:
    """One way in which prompts get worse.

    Attributes:
        name: of the axis.
        title: what grows along it, for people.
        unit: of the levels; "" for shares.
        use: simulator that makes the prompts.
        option: of the simulator that is the level.
        levels: tried unless told otherwise; the first is the undegraded one.
        absent: level of a prompt that does not set the option.
        fixed: other options of the simulator.
        random: whether one level has different draws.
    """

    name: str
    title: str
    unit: str
    use: str
    option: str
    levels: tuple[int | float, ...]
    absent: int | float = 0.0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    random: bool = True

    def prompt(self, level: float, repeats: int) -> PromptSpec:
        """The prompt of one level; the undegraded one is drawn once."""
        whole = isinstance(self.levels[0], int)
        value = int(level) if whole else float(level)
        options = {**self.fixed, **({} if value == self.absent else {self.option: value})}
        again = repeats if self.random and value != self.levels[0] else 1
        return PromptSpec(self.use, options, repeats=again)

    def level_of(self, prompt: Mapping[str, Any]) -> float | None:
        """The level of a prompt as a cell's configuration holds it; None for other prompts."""
        if prompt.get("use") != self.use:
            return None
        return float(prompt.get("options", {}).get(self.option, self.absent))

    def rest_of(self, prompt: Mapping[str, Any]) -> dict[str, Any]:
        """What prompts of one curve share: everything but the level and the number of draws."""
        options = {name: value for name, value in prompt.get("options", {}).items() if name != self.option}
        return {**{k: v for k, v in prompt.items() if k != "repeats"}, "options": options}


_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_MM, _PX = (0.0, 2.0, 5.0, 10.0, 20.0), (0.0, 5.0, 10.0, 20.0)
AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("jitter_mm", "largest displacement of a side of the box", "mm", "box", "jitter_mm", _MM),
        Axis("jitter_px", "largest displacement of a side of the box", "px", "box", "jitter_px", _PX),
        Axis(
            "range_slices", "shift of the range of slices of the box", "slices", "shifted_range", "shift_slices",
            (0, 1, 2, 5), absent=2,
        ),
        Axis(
            "range_mm", "shift of the range of slices of the box", "mm", "shifted_range", "shift_mm", _MM,
            fixed={"shift_slices": 0},
        ),
        Axis(
            "missing_slices", "share of the other slices without a box (1: one slice only)", "", "key_slice", "missing",
            _SHARES, absent=1.0, random=False,
        ),
        Axis(
            "every_nth", "distance between slices with a box", "slices", "every_nth_slice", "n", (1, 2, 4, 8),
            absent=2, random=False,
        ),
        Axis("wrong_slice", "share of boxes on a wrong slice", "", "wrong_slice", "share", _SHARES, absent=1.0),
        Axis("off_centre", "way of the click from the middle to the border", "", "edge_click", "off_centre", _SHARES,
             absent=1.0),
        Axis("wrong_slice_click", "share of clicks on a wrong slice", "", "wrong_slice_click", "share", _SHARES,
             absent=1.0),
        Axis("mask_mm", "largest displacement of the border of the mask", "mm", "rough_mask", "jitter_mm",
             (0.0, 1.0, 2.0, 4.0, 8.0), absent=3.0),
    )
}  # fmt: skip


def axis_and_levels(text: str) -> tuple[Axis, tuple[float, ...]]:
    """An axis as typed: its name, or `name=0,5,10` with other levels.

    Raises:
        UnknownNameError: with near names.
        ConfigError: for levels that are no numbers in rising order, the undegraded one first.
    """
    name, equals, levels = text.partition("=")
    if name not in AXES:
        raise UnknownNameError("axis", name, AXES)
    axis = AXES[name]
    if not equals:
        return axis, axis.levels
    try:
        chosen = tuple(float(part) for part in levels.split(","))
    except ValueError:
        chosen = ()
    whole = isinstance(axis.levels[0], int) and any(level != int(level) for level in chosen)
    if len(chosen) < 2 or chosen[0] != axis.levels[0] or list(chosen) != sorted(set(chosen)) or whole:
        raise ConfigError(
            f"--axis {text}: give rising {'whole ' if isinstance(axis.levels[0], int) else ''}numbers from "
            f"{axis.levels[0]:g} on, e.g. --axis {name}={','.join(f'{level:g}' for level in axis.levels)}."
        )
    return axis, chosen


def degradation_matrix(
    model: ModelSpec,
    dataset: Mapping[str, DatasetSpec],
    axes: Sequence[tuple[Axis, tuple[float, ...]]] = (),
    *,
    beside: Sequence[str] = BESIDE,
    repeats: int = 3,
    seed: int = 0,
    threshold: float = 0.5,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Matrix:
    """The matrix of one model, and of models to compare it with, over axes of degradation.

    Args:
        model: takes prompts.
        dataset: id -> data set.
        axes: with their levels; empty for every axis of a prompt that the model takes.
        beside: names of further models, each on the axes that it has prompts for.
        repeats: draws a case at every level but the undegraded one.
        seed: of all draws.
        threshold: probability above which a voxel is tumour.
        metrics: what is measured.

    Raises:
        ConfigError: when the model takes no prompt, or none of an axis.
        UnknownNameError: for a model that is not on its shelf.
    """
    chosen = list(axes) or [(axis, axis.levels) for axis in AXES.values() if _takes(model, axis)]
    refused = [axis for axis, _ in chosen if not _takes(model, axis)]
    if refused or not chosen:
        takes = " or ".join(model.info.prompts) or "no prompt"
        wanted = (
            f"so {', '.join(axis.name for axis in refused)} cannot be tried" if refused else "so none can be degraded"
        )
        possible = ", ".join(name for name, axis in AXES.items() if _takes(model, axis))
        raise ConfigError(f"{model.name} takes {takes}, {wanted}.{f' Its axes: {possible}.' if possible else ''}")
    blocks = []
    for one in (model, *(ModelSpec(name) for name in beside if name != model.name)):
        prompts = [axis.prompt(at, repeats) for axis, levels in chosen if _takes(one, axis) for at in levels]
        if prompts:
            blocks.append(
                Block(
                    dataset=tuple(dataset),
                    model=(one.name,),
                    options=one.options,
                    weights=one.weights,
                    prompt=tuple(prompts),
                    seed=(seed,),
                    threshold=threshold,
                )
            )
    return Matrix(f"degrade-{model.name}", dataset, tuple(blocks), seed=seed, metrics=tuple(metrics), cost=False)


def _takes(model: ModelSpec, axis: Axis) -> bool:
    info = PromptSpec(axis.use).info
    return info is not None and set(info.prompts) <= set(model.info.prompts)
