"""What a run leaves behind: scores, what reached the model from the reference, cost, provenance.

These records are the only thing the report reads, so it works on anybody's results. They are
written as JSON and JSON Lines with exactly the field names below; an undefined number is `null`
with a reason, never NaN, 0 or infinity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oncoseg.config import fill
from oncoseg.errors import InputError
from oncoseg.files import require_file, write_text
from oncoseg.prompt import Box, Click, MaskPrompt, Prompt, Scribble

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PromptSource = Literal["none", "automatic", "user", "simulated user", "jittered", "oracle", "human reader"]


@dataclass(frozen=True)
class Ledger:
    """Everything that reached one prediction from the reference (or from a person).

    Attributes:
        prompt_source: where the prompts came from; the most informed source when they are mixed.
        boxes, clicks_positive, clicks_negative, scribbles, masks: number of prompts of each type.
        prompted_slices: how many slices at least one prompt touches.
        jitter_mm: largest displacement applied to prompts from the reference, in mm.
        jitter_px: the same in pixels of a slice, where it was given in those.
        z_extent_known: first and last tumour slice came from the reference.
        crop_centre_known: the image was cropped round the reference.
        silent_slices: slices on which the model was told that there is no tumour.
        class_list_known: the list of objects present in the case was given.
        error_map_used: later prompts were placed on the errors of earlier predictions.
        selected_on_test: epoch, model or threshold was chosen on the scored cases.
        cases_dropped: scored cases were left out or swapped because of their reference.
        geometry_from_reference: origin or direction of the image was overwritten by the reference's.
    """

    prompt_source: PromptSource = "none"
    boxes: int = 0
    clicks_positive: int = 0
    clicks_negative: int = 0
    scribbles: int = 0
    masks: int = 0
    prompted_slices: int = 0
    jitter_mm: float = 0.0
    z_extent_known: bool = False
    crop_centre_known: bool = False
    silent_slices: int = 0
    class_list_known: bool = False
    error_map_used: bool = False
    selected_on_test: bool = False
    cases_dropped: int = 0
    geometry_from_reference: bool = False
    jitter_px: float = 0.0

    @property
    def prompt_types(self) -> tuple[str, ...]:
        """Types of the prompts; empty without any."""
        clicks = self.clicks_positive + self.clicks_negative
        counts = {"box": self.boxes, "click": clicks, "scribble": self.scribbles, "mask": self.masks}
        return tuple(name for name, count in counts.items() if count)

    @property
    def prompts(self) -> int:
        """Number of prompts for the volume, of all types together."""
        return self.boxes + self.clicks_positive + self.clicks_negative + self.scribbles + self.masks

    @property
    def level(self) -> int:
        """How much the prediction owes to the reference; tables never rank across levels.

        0: nothing. 1: prompts by a user who did not see the reference. 2: one prompt a lesion (or the
        class list). 3: prompts on every slice, z-extent, crop centre, silence or an error map.
        4: the reference chose the epoch, the cases or the geometry.
        """
        if self.selected_on_test or self.cases_dropped or self.geometry_from_reference:
            return 4
        if self.z_extent_known or self.crop_centre_known or self.silent_slices or self.error_map_used:
            return 3
        if self.prompt_source in ("oracle", "jittered", "simulated user") or self.class_list_known:
            return 2
        return 1 if self.prompt_source in ("user", "human reader") else 0

    @property
    def label(self) -> str:
        """One phrase for table heads, e.g. "1 box, oracle, level 2"."""
        counts = {
            "box": self.boxes,
            "positive click": self.clicks_positive,
            "negative click": self.clicks_negative,
            "scribble": self.scribbles,
            "mask": self.masks,
        }
        parts = [f"{n} {name}" if n == 1 else f"{n} {_plural(name)}" for name, n in counts.items() if n]
        if not parts:
            return f"{'no prompt' if self.prompt_source == 'none' else self.prompt_source}, level {self.level}"
        jitter = f" {self.jitter_mm:g} mm" if self.jitter_mm else ""
        jitter += f" {self.jitter_px:g} px" if self.jitter_px else ""
        placed = " on errors" if self.error_map_used else ""
        return f"{' + '.join(parts)}{placed}, {self.prompt_source}{jitter}, level {self.level}"


def ledger_of(prompts: Sequence[Prompt], **facts: Any) -> Ledger:
    """Count what a list of prompts gives away.

    One-slice boxes from the reference on several slices of a lesion tell the model where it begins and ends, so
    `z_extent_known` is set for them. Boxes without a number `lesion` count as those of one.

    Args:
        prompts: what the model is given.
        **facts: further `Ledger` fields, e.g. `crop_centre_known=True`.
    """
    order: list[PromptSource] = ["none", "automatic", "user", "simulated user", "jittered", "oracle"]
    sources: list[PromptSource] = [p.source for p in prompts]
    source = max(sources, key=order.index, default="none")
    boxes = [p for p in prompts if isinstance(p, Box)]
    clicks = [p for p in prompts if isinstance(p, Click)]
    slices = {k for p in prompts for k in p.slices}
    told = [b for b in boxes if len(b.slices) == 1 and b.source in ("oracle", "jittered", "simulated user")]
    boxed = {(b.lesion, b.start[0]) for b in told}
    counted: dict[str, Any] = {
        "prompt_source": source,
        "boxes": len(boxes),
        "clicks_positive": sum(c.positive for c in clicks),
        "clicks_negative": sum(not c.positive for c in clicks),
        "scribbles": sum(isinstance(p, Scribble) for p in prompts),
        "masks": sum(isinstance(p, MaskPrompt) for p in prompts),
        "prompted_slices": len(slices),
        "jitter_mm": max((p.jitter_mm for p in prompts if isinstance(p, Box | MaskPrompt)), default=0.0),
        "jitter_px": max((b.jitter_px for b in boxes), default=0.0),
        "z_extent_known": len(boxed) > len({lesion for lesion, _ in boxed}),
    }
    return Ledger(**{**counted, **facts})


@dataclass(frozen=True)
class Score:
    """One number: a metric of one prediction under one scoring protocol.

    Attributes:
        case, patient, roi: what was scored.
        metric: name with its parameter, e.g. `nsd_border@2`.
        protocol: how it was scored, e.g. `case3d`.
        value: the number, None when undefined.
        reason: why it is undefined (`both_empty`, `prediction_empty`, `reference_empty`,
            `zero_denominator`, `no_probability`), None otherwise.
        unit: "" for shares, "mm", "mm^3".
        higher_is_better: direction; None for quantities without one (volumes).
    """

    case: str
    patient: str
    roi: str
    metric: str
    protocol: str
    value: float | None
    reason: str | None
    unit: str
    higher_is_better: bool | None

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"{self.metric} of {self.case} is undefined without a reason.")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.case} is {self.value}; undefined scores are None with a reason.")


@dataclass(frozen=True)
class Prediction:
    """One case predicted in a cell: what the model was given and what came out.

    Attributes:
        case, patient, roi: what was predicted.
        ledger: what reached the model from the reference.
        level: `ledger.level`, repeated for readers of the file.
        prompts: the prompts as JSON (voxel indices).
        seconds: wall time of `predict`, image in memory to mask.
        mask: path of the mask file relative to the cell folder; None after an error.
        volume_reference_mm3, volume_prediction_mm3: for plots against tumour volume.
        diagonal_mm: of the image: what a miss costs where distances of misses are given a price.
        error: the message when the case failed, else None.
        facts: the case's acquisition facts.
        notes: warnings the report repeats.
    """

    case: str
    patient: str
    roi: str
    ledger: Ledger
    level: int
    prompts: list[dict[str, Any]]
    seconds: float | None
    mask: str | None
    volume_reference_mm3: float | None = None
    volume_prediction_mm3: float | None = None
    error: str | None = None
    facts: dict[str, str | float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diagonal_mm: float | None = None


@dataclass(frozen=True)
class Round:
    """One step of an interactive prediction: what the user said, and how good the answer was.

    Attributes:
        case, patient, roi: what was predicted.
        number: 0 for the first prompts, then 1, 2, ... for the corrections.
        prompts: what was given in this round, as JSON (voxel indices); empty when the user saw nothing to correct.
        given: number of prompts given so far, this round included.
        dice: of the prediction after this round, whole volume; None when it is undefined.
        reason: why it is undefined, None otherwise.
        seconds: wall time of the model's answer to this round.
    """

    case: str
    patient: str
    roi: str
    number: int
    prompts: list[dict[str, Any]]
    given: int
    dice: float | None
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class CostPart:
    """One part of a network in one prediction.

    Attributes:
        part: in words, e.g. `image encoder`.
        calls: items that went through it for the volume: slices, windows, mirror passes, prompts.
        macs: multiply-accumulate operations of one item.
    """

    part: str
    calls: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """What a model costs on a case, measured in a child process of its own.

    Attributes:
        parameters, trainable_parameters: of the network, 0 for classical methods.
        macs: multiply-accumulate operations for the **whole volume** of `case`, all slices, tiles and
            mirror passes included; None when it was not measured.
        mac_counter: which tool counted and what it counts.
        seconds_median: wall time of `predict`, median over `repeats`.
        repeats: timed runs after one warm-up.
        peak_memory_bytes: peak resident memory of the child during `predict`.
        case, shape: the volume that was measured.
        device, threads: where.
        reason: why figures are missing, else None.
        forward_macs: of one item through every part of the network at its own input size; None when not measured.
        parts: what the whole volume's operations multiply from; what lies between them is in `macs` alone.
        energy_joules: of one run, from the processor's counters, of all that the machine did meanwhile; None where it
            has none that can be read.
        energy_reason: why there is no energy, else None.
    """

    parameters: int
    trainable_parameters: int
    macs: int | None
    mac_counter: str
    seconds_median: float | None
    repeats: int
    peak_memory_bytes: int | None
    case: str
    shape: tuple[int, int, int]
    device: str
    threads: int
    reason: str | None = None
    forward_macs: int | None = None
    parts: tuple[CostPart, ...] = ()
    energy_joules: float | None = None
    energy_reason: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What is needed to repeat a run.

    Attributes:
        versions: package -> version, oncoseg, Python and libraries.
        hashes: what -> SHA-256 (weights, data set manifest, matrix).
        seeds: what -> seed.
        machine: cpu, cores, memory, accelerator, platform; no host name, user name or paths.
        started, finished: ISO 8601 UTC.
        seconds: wall time.
        command: the command line that was given, if any.
        fallbacks: everything that was done differently from what was asked.
    """

    versions: dict[str, str]
    hashes: dict[str, str]
    seeds: dict[str, int]
    machine: dict[str, str | float]
    started: str
    finished: str
    seconds: float
    command: str | None = None
    fallbacks: list[str] = field(default_factory=list)


def write_jsonl(target: Path, records: Iterable[DataclassInstance]) -> None:
    """Write records, such as `Score`, as JSON Lines, whole."""
    write_text(target, "".join(json.dumps(asdict(r), allow_nan=False) + "\n" for r in records))


def read_scores(source: Path) -> list[Score]:
    """Read a `scores.jsonl`.

    Raises:
        InputError: names file and line of anything that is not a score.
    """
    return [fill(Score, r, f"{source}:{n}") for n, r in read_jsonl(source)]


def read_rounds(source: Path) -> list[Round]:
    """Read a `rounds.jsonl`; raises InputError like `read_scores`. empty where there is no such file."""
    return [fill(Round, r, f"{source}:{n}") for n, r in read_jsonl(source)] if source.exists() else []


def read_predictions(source: Path) -> list[Prediction]:
    """Read a `predictions.jsonl`; raises InputError like `read_scores`."""
    return [fill(Prediction, r, f"{source}:{n}") for n, r in read_jsonl(source)]


def read_jsonl(source: Path) -> list[tuple[int, dict[str, Any]]]:
    """Lines of a file of records with their numbers from 1; raises InputError for what is not JSON or missing."""
    if not source.exists():
        require_file(source)
    lines = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            lines.append((number, json.loads(line)))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{source}:{number} is not JSON: {error}. The file was not written by oncoseg or is damaged."
            ) from error
    return lines


def _plural(name: str) -> str:
    return name + ("es" if name.endswith("x") else "s")
