"""Two doors to the reference: one for prompts, one for scores. Models never see either.

A reference leaves a case here only. What passes the prompt door is counted in the ledger; in a cell
without prompts, or with automatic ones, that door stays shut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.case import Case
from oncoseg.contracts import Simulator
from oncoseg.errors import InputError
from oncoseg.evaluation.protocol import protocol as find_protocol
from oncoseg.evaluation.scoring import score_case
from oncoseg.prompt import Prompt
from oncoseg.score import Ledger, Score, ledger_of
from oncoseg.volume import Volume

#: Sources that prompts made from a reference may carry.
FROM_REFERENCE = ("oracle", "jittered", "simulated user")


class SealedReference(Volume):
    """Stands where an automatic simulator expects a reference: the grid of the image and no voxels."""

    def __init__(self, image: Volume) -> None:
        object.__setattr__(self, "affine", image.affine)
        object.__setattr__(self, "_shape", image.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image."""
        shape: tuple[int, int, int] = self._shape  # type: ignore[attr-defined]
        return shape

    @property
    def voxels(self) -> NDArray[Any]:  # type: ignore[override]
        """Always refused.

        Raises:
            InputError: the cell is automatic.
        """
        raise InputError(
            "An automatic prompt must not look at the reference. Make it from the image, or declare the simulator's "
            "source as oracle, jittered or simulated user."
        )


@dataclass(frozen=True, eq=False)
class PromptDoor:
    """The only way from a reference to a prompt.

    Attributes:
        simulator: plays the user; None for a cell without prompts.
        seed: of the cell; with the case's name and the draw it decides every random number.
    """

    simulator: Simulator | None
    seed: int

    @property
    def sealed(self) -> bool:
        """Whether the reference stays out of reach."""
        return self.simulator is None or "automatic" in self.simulator.info.source

    def prompts(self, case: Case, roi: str, draw: int = 1) -> list[Prompt]:
        """What the model is given for one draw of one case; equal for every model.

        Raises:
            UnknownNameError: when the case lacks the ROI.
            InputError: when a sealed simulator looks at the reference, or a prompt's source is not what
                its simulator declares.
        """
        if self.simulator is None:
            return []
        reference = SealedReference(case.image) if self.sealed else case.mask(roi)
        made = self.simulator(reference, generator(self.seed, case.name, draw))
        allowed = ("automatic",) if self.sealed else FROM_REFERENCE
        for prompt in made:
            if prompt.source not in allowed:
                raise InputError(
                    f"Simulator {self.simulator.info.name} made a prompt with source '{prompt.source}'; "
                    f"what it is shown allows {', '.join(allowed)}."
                )
        return made


def ledger(door: PromptDoor, prompts: list[Prompt], image: Volume, *, cropped: bool = False) -> Ledger:
    """What reached the model; a promptable model that gets no prompt was told that there is no tumour.

    Args:
        door: that the prompts came through.
        prompts: what the model is given.
        image: what it is given them for.
        cropped: the image was cut out round the reference.
    """
    facts: dict[str, Any] = {"crop_centre_known": cropped}
    if not door.sealed and not prompts:
        facts |= {"silent_slices": image.shape[0], "prompt_source": "oracle"}
    return ledger_of(prompts, **facts)


@dataclass(frozen=True)
class ScoringDoor:
    """The only way from a reference to a score.

    Attributes:
        roi: scored mask; other structures are scored beside it.
        metrics, protocols: what is computed.
    """

    roi: str
    metrics: tuple[str, ...]
    protocols: tuple[str, ...]

    def scores(
        self,
        reference: Volume,
        prediction: Volume,
        *,
        case: str,
        patient: str,
        others: Mapping[str, tuple[Volume, Volume]] | None = None,
    ) -> list[Score]:
        """All metrics under all protocols.

        Args:
            reference: of the ROI, bool.
            prediction: of the ROI, bool on the same grid.
            case: name of the case.
            patient: whose it is.
            others: further structures, name -> (reference, prediction). Protocols that average over structures take
                them into the scores of the ROI, and give the structures none of their own.
        """
        others, found = others or {}, []
        for roi, pair in {self.roi: (reference, prediction), **others}.items():
            beside = others if roi == self.roi else {}
            for protocol in self.protocols:
                if roi == self.roi or not find_protocol(protocol).objects:
                    found += score_case(
                        *pair,
                        case=case,
                        patient=patient,
                        roi=roi,
                        metrics=self.metrics,
                        protocol=protocol,
                        objects=beside,
                    )
        return found


def generator(seed: int, case: str, draw: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed, the case's name and the number of the draw."""
    name = int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name, draw])
