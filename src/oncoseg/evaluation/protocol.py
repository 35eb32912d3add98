"""The scoring protocol: everything that turns masks into one published number, stated field by field.

A Dice without its rule is not a number. Each file of the protocols shelf states one rule as data;
`oncoseg.evaluation.aggregate` is the only code that carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np

from oncoseg import registry
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.evaluation.pair import Mask
from oncoseg.score import PromptSource
from oncoseg.volume import Volume

ANY_PROMPT: tuple[PromptSource, ...] = (
    "none",
    "automatic",
    "user",
    "human reader",
    "simulated user",
    "jittered",
    "oracle",
)
FROM_REFERENCE: tuple[PromptSource, ...] = ("simulated user", "jittered", "oracle")


@dataclass(frozen=True)
class Protocol:
    """One scoring rule.

    Attributes:
        name: the file's name on the shelf; the column head in tables.
        summary: one sentence for the user.
        aggregation: from units to the final number, in words.
        citation: who scores like this: paper, repository, file and function.
        aliases: other names it answers to.
        unit: what is measured at a time.
        pool: how units become one number: mean over all `units`, over `cases` (units of a case
            averaged first), or one ratio from all `voxels`.
        both_empty: an empty unit predicted empty is `undefined` (not averaged, counted) or `one`.
        crop: `none`, the `labelled slices` (first to last), their `first quarter`, the slices of the references of
            `range_objects`, or the size in voxels (slice, row, column) of a window round the reference's bounding box.
        tumour_slices_only: slices without reference are not scored.
        silenced: the prediction is emptied on slices without reference before scoring.
        thresholds: values above which a voxel is tumour; several are averaged.
        threshold_on: what they are compared with.
        minimum_voxels: cases whose reference is not larger than this are left out.
        objects: names of further objects that are averaged with the tumour; `*` means all that are given.
        range_objects: names of objects whose references span the slices that are scored; they are not scored.
        background: what is none of the objects is averaged with them as an object of its own.
        metrics: the only metrics it defines; empty means any.
        region: which part of the image is scored, in words.
        grid: on which voxels, in words.
        prompt_sources: where prompts may come from for the rule to apply.
        from_reference: fields of the reference ledger that scoring alone sets.
        published: reproduces a paper's evaluation; never the default.
    """

    name: str
    summary: str
    aggregation: str
    citation: str
    aliases: tuple[str, ...] = ()
    unit: Literal["case", "slice"] = "case"
    pool: Literal["units", "cases", "voxels"] = "cases"
    both_empty: Literal["undefined", "one"] = "undefined"
    crop: Literal["none", "labelled slices", "first quarter", "object slices"] | tuple[int, int, int] = "none"
    tumour_slices_only: bool = False
    silenced: bool = False
    thresholds: tuple[float, ...] = (0.5,)
    threshold_on: Literal["probability", "logit"] = "probability"
    minimum_voxels: int = 0
    objects: tuple[str, ...] = ()
    range_objects: tuple[str, ...] = ()
    background: bool = False
    metrics: tuple[str, ...] = ()
    region: str = "whole volume"
    grid: str = "native: the scanner's voxels"
    prompt_sources: tuple[PromptSource, ...] = ANY_PROMPT
    from_reference: Mapping[str, bool | int] = field(default_factory=dict)
    published: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """Objects that a case must bring."""
        return frozenset((*self.objects, *self.range_objects)) - {"*"}

    @property
    def own_thresholds(self) -> bool:
        """Whether it cuts probabilities itself, in place of the mask that a model's threshold made."""
        return self.thresholds != (0.5,) or self.threshold_on == "logit"


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """What a protocol is given of one case.

    Attributes:
        name: of the case.
        reference: bool.
        prediction: bool, or the probability (float, [0, 1]) where a protocol's own thresholds shall apply.
        objects: further objects of the same scan, name -> (reference, prediction).
        probability: what a boolean prediction was made from, for metrics of probabilities and for protocols with
            thresholds of their own; None where there is none.
    """

    name: str
    reference: Volume
    prediction: Volume
    objects: Mapping[str, tuple[Volume, Volume]] = field(default_factory=dict)
    probability: Volume | None = None


def protocol_names() -> list[str]:
    """Every protocol on the shelf, sorted, without aliases."""
    return registry.names("protocols")


def protocol(name: str) -> Protocol:
    """A protocol by name or alias.

    Args:
        name: `tumour_slices`, an alias such as `slice_present`, or for rules that measure slices with `@case`
            behind it: slices are then averaged within a case before cases are.

    Raises:
        UnknownNameError: with near names.
        InputError: for anything else behind the `@`.

    Example:
        >>> protocol("slice_all").name
        'all_slices_empty1'
        >>> protocol("tumour_slices@case").pool
        'cases'
    """
    base, at, per = name.partition("@")
    found = _known(base)
    if not at:
        return found
    if per != "case" or found.unit != "slice":
        raise InputError(f"Protocol '{name}': only '@case' is possible, and only for rules that measure slices.")
    return replace(found, name=f"{found.name}@case", pool="cases")


def _known(name: str) -> Protocol:
    own = protocol_names()
    if name in own:
        return cast("Protocol", registry.load("protocols", name).PROTOCOL)
    found = [cast("Protocol", registry.load("protocols", other).PROTOCOL) for other in own]
    aliases = {alias: each for each in found for alias in each.aliases}
    if name not in aliases:
        raise UnknownNameError("scoring protocol", name, [*own, *aliases])
    return aliases[name]


def tumour_slices(reference: Mask) -> Mask:
    """Which slices hold reference, shape (slices,)."""
    return np.asarray(reference.any(axis=(1, 2)), dtype=bool)
