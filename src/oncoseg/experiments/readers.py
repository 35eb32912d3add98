"""The human ceiling: each reader of a case against the consensus of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from oncoseg.case import Case
from oncoseg.contracts import ModelInfo
from oncoseg.errors import InputError
from oncoseg.experiments.matrix import HUMAN_READER
from oncoseg.preprocess.consensus import consensus
from oncoseg.score import Ledger
from oncoseg.volume import Volume

#: Beginning of the names of readers' masks.
READER = "reader_"
#: Nothing was given to a reader, but a reader is no automatic method.
LEDGER = Ledger(prompt_source="human reader")

INFO = ModelInfo(
    name=HUMAN_READER,
    variant="",
    title="Human reader",
    summary="Each reader scored against the consensus of the other readers: the human ceiling.",
    parameters=0,
    trainable_parameters=0,
    dimension="2d",
    prompts=(),
    doi=None,
    licence="of the data set",
    fidelity="baseline",
)


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader of one case.

    Attributes:
        reader: name of the mask, e.g. "reader_2".
        drawn: the reader's mask.
        others: what at least half of the other readers marked.
        masks: of the other readers, one by one.
    """

    reader: str
    drawn: Volume
    others: Volume
    masks: tuple[Volume, ...] = ()


def readings(case: Case) -> Iterator[Reading]:
    """Every reader of a case, in the order of their names.

    Raises:
        InputError: when the case has fewer than two readers.
    """
    names = reader_names(case)
    if len(names) < 2:
        raise InputError(
            f"Case {case.name} has {len(names)} masks named {READER}*; at least two are needed to compare readers."
        )
    for name in names:
        masks = tuple(case.masks[other] for other in names if other != name)
        yield Reading(name, case.masks[name], consensus(masks), masks)


def reader_names(case: Case) -> list[str]:
    """Names of the masks of single readers, sorted; empty where a case has none."""
    return sorted(name for name in case.masks if name.startswith(READER))
