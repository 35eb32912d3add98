"""Two doors to the reference: one for prompts, one for scores. Models never see either.

A reference leaves a case here only. What passes the prompt door is counted in the ledger; in a cell
without prompts, with automatic or with recorded ones, that door stays shut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncoseg.case import Case
from oncoseg.contracts import AnySimulator, Measured, Proposer, Recorded, Replayer, Simulator
from oncoseg.errors import InputError
from oncoseg.evaluation.findings import CalibrationRecord, LesionRecord, calibration_record, is_binary, lesion_records
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.protocol import protocol as find_protocol
from oncoseg.evaluation.scoring import PROBABILITY_METRICS, score_case
from oncoseg.evaluation.soft import soft_brier, soft_dice
from oncoseg.evaluation.strata import surroundings
from oncoseg.preprocess.consensus import soft_reference, staple
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
        simulator: makes the first prompts; None for a cell without prompts.
        seed: of the cell; with the case's name and the draw it decides every random number.
        corrector: plays the user in the rounds after them.
        rounds: of corrections.
    """

    simulator: AnySimulator | None
    seed: int
    corrector: Simulator | None = None
    rounds: int = 0

    @property
    def sealed(self) -> bool:
        """Whether the reference stays out of reach of the first prompts."""
        if self.simulator is None or isinstance(self.simulator, Proposer | Replayer):
            return True
        return "automatic" in self.simulator.info.source

    def given(self, case: Case, roi: str, draw: int = 1) -> Recorded:
        """As `prompts`, with the ledger where the prompts come from a record."""
        if isinstance(self.simulator, Replayer):
            return self.simulator.recorded(case.name, draw, case.image)
        return Recorded(self.prompts(case, roi, draw), None)

    def prompts(self, case: Case, roi: str, draw: int = 1) -> list[Prompt]:
        """What the model is given for one draw of one case; equal for every model.

        Raises:
            UnknownNameError: when the case lacks the ROI.
            InputError: when a sealed simulator looks at the reference or finds nothing on the image, a prompt's source
                is not what its simulator declares, or there is no record of the case.
        """
        if self.simulator is None:
            return []
        if isinstance(self.simulator, Replayer):
            return self.simulator.recorded(case.name, draw, case.image).prompts
        random = generator(self.seed, case.name, draw)
        if isinstance(self.simulator, Proposer):
            made = self.simulator.propose(case.image, random)
        else:
            made = self.simulator(SealedReference(case.image) if self.sealed else case.mask(roi), random)
        if self.sealed and not made:
            raise InputError(f"{self.simulator.info.name} found nothing to point at on the image of {case.name}.")
        self._check(made, ("automatic",) if self.sealed else FROM_REFERENCE, self.simulator.info.name)
        return made

    def correct(
        self, case: Case, roi: str, shown: Volume, *, first: Sequence[Prompt], draw: int, number: int
    ) -> list[Prompt]:
        """What the user says to a prediction; nothing when it is right.

        Args:
            case: whose image was predicted.
            roi: mask that is wanted.
            shown: the prediction, bool.
            first: the prompts before any correction. Where they do not say which lesion they are about,
                corrections do not either.
            draw: of the case, from 1.
            number: of the round, from 1.

        Raises:
            InputError: for a door without a corrector, or a source that hides the reference.
        """
        if self.corrector is None:
            raise InputError("Nobody corrects here: give `then` and `rounds` with the prompt.")
        made = self.corrector(case.mask(roi), generator(self.seed, case.name, draw, number), shown)
        self._check(made, FROM_REFERENCE, self.corrector.info.name)
        numbered = any(prompt.lesion is not None for prompt in first)
        return made if numbered else [replace(prompt, lesion=None) for prompt in made]

    def _check(self, made: Sequence[Prompt], allowed: Sequence[str], name: str) -> None:
        for prompt in made:
            if prompt.source not in allowed:
                raise InputError(
                    f"Simulator {name} made a prompt with source '{prompt.source}'; "
                    f"what it is shown allows {', '.join(allowed)}."
                )


def ledger(
    door: PromptDoor, prompts: Sequence[Prompt], image: Volume, *, cropped: bool = False, held: Ledger | None = None
) -> Ledger:
    """What reached the model; a promptable model that gets no prompt was told that there is no tumour.

    Args:
        door: that the prompts came through.
        prompts: what the model is given, corrections included.
        image: what it is given them for.
        cropped: the image was cut out round the reference.
        held: what the prompts owed to the reference when they were recorded; None counts it.
    """
    facts: dict[str, Any] = {"crop_centre_known": cropped}
    if held is not None and not door.rounds:
        return replace(held, **facts)
    facts["error_map_used"] = bool(door.rounds or (held is not None and held.error_map_used))
    if not door.sealed and not prompts:
        facts |= {"silent_slices": image.shape[0], "prompt_source": "oracle", "error_map_used": False}
    # A click on every slice says where the tumour ends, as a box on every slice does.
    on_slices = getattr(getattr(door.simulator, "options", None), "per", None) == "slice"
    counted = ledger_of(prompts, **facts)
    known = counted.z_extent_known or (on_slices and counted.prompted_slices > 1)
    known = known or (held is not None and held.z_extent_known)
    return replace(counted, z_extent_known=known)


#: The rule under which several readers are compared at once.
WHOLE_CASES = "case3d"


class Findings(NamedTuple):
    """What is kept of one prediction beside its scores."""

    lesions: tuple[LesionRecord, ...]
    calibration: CalibrationRecord


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

    def dice(self, reference: Volume, prediction: Volume) -> Measured:
        """Dice of the whole volume, for the rounds of an interactive prediction."""
        (score,) = score_case(reference, prediction, case="", patient="", metrics=("dice",))
        return Measured(score.value, score.reason)

    def scores(
        self,
        reference: Volume,
        prediction: Volume,
        *,
        case: str,
        patient: str,
        others: Mapping[str, tuple[Volume, Volume]] | None = None,
        probability: Volume | None = None,
        readers: Sequence[Volume] = (),
    ) -> list[Score]:
        """All metrics under all protocols; what a probability is worth where it says more than 0 and 1.

        Args:
            reference: of the ROI, bool.
            prediction: of the ROI, bool on the same grid.
            case: name of the case.
            patient: whose it is.
            others: further structures, name -> (reference, prediction). Protocols that average over structures take
                them into the scores of the ROI, and give the structures none of their own.
            probability: of the ROI, what the prediction was made from; None where there is none.
            readers: masks of single readers; two or more give `dice_staple`, `soft_dice` and `soft_brier`.
        """
        others, found = others or {}, []
        soft = None if probability is None or is_binary(probability.voxels) else probability
        for roi, pair in {self.roi: (reference, prediction), **others}.items():
            main = roi == self.roi
            of_probability = PROBABILITY_METRICS if main and soft is not None else ()
            for protocol in self.protocols:
                if main or not find_protocol(protocol).needs:
                    found += score_case(
                        *pair,
                        case=case,
                        patient=patient,
                        roi=roi,
                        metrics=tuple(dict.fromkeys((*self.metrics, *of_probability))),
                        protocol=protocol,
                        objects=others if main else {},
                        probability=soft if main else None,
                    )
        return found + self._against_readers(prediction, soft, readers, case=case, patient=patient)

    def findings(
        self,
        reference: Volume,
        prediction: Volume,
        *,
        name: str,
        case: Case,
        probability: Volume | None = None,
        readers: Sequence[Volume] = (),
    ) -> Findings:
        """Single lesions of the ROI, and the calibration of its probability.

        Args:
            reference: bool.
            prediction: bool on the same grid.
            name: of the prediction.
            case: whose image, lungs and vessels say what kind of lesions they are.
            probability: what the prediction was made from; None where there is none.
            readers: masks of single readers.
        """
        binary = probability is not None and is_binary(probability.voxels)
        pair = MaskPair(reference, prediction, None if binary else probability)
        known = surroundings(case.image, case.masks, readers=readers)
        lesions = lesion_records(pair, case=name, patient=case.patient, roi=self.roi, known=known)
        reason = "binary_output" if binary else None
        held = calibration_record(pair, case=name, patient=case.patient, roi=self.roi, reason=reason)
        return Findings(tuple(lesions), held)

    def _against_readers(
        self, prediction: Volume, probability: Volume | None, readers: Sequence[Volume], *, case: str, patient: str
    ) -> list[Score]:
        """Scores against several readers at once, under the rule of whole cases alone."""
        if len(readers) < 2 or WHOLE_CASES not in self.protocols:
            return []
        shown = prediction if probability is None else probability
        share = soft_reference(readers)
        measured = {
            "dice_staple": self.dice(staple(readers).mask, prediction),
            "soft_dice": soft_dice(share, shown),
            "soft_brier": soft_brier(share, shown),
        }
        return [
            Score(case, patient, self.roi, name, WHOLE_CASES, value, reason, "", name != "soft_brier")
            for name, (value, reason) in measured.items()
        ]


def generator(seed: int, case: str, draw: int, number: int = 0) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed, the case's name, and the numbers of draw and round."""
    name = int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name, draw, *([number] if number else [])])
