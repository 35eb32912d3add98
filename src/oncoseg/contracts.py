"""What a model, data set, metric, prompt simulator and scoring protocol must offer.

A shelf is a package and a thing on it is one file; the file offers the names below.

| shelf | the file defines |
|---|---|
| `oncoseg.models` | `INFOS: tuple[ModelInfo, ...]` (first = default) and `build(variant, *, weights, **options)`; \
what can be trained also `RECIPES: dict[str, Recipe]`; what stands on a package apart from ours also \
`INSTALLS: str`, `install(say) -> Path` and `trained_variant(folder) -> str | None` |
| `oncoseg.datasets` | `INFO: DatasetInfo` and `build(**options) -> Dataset`; where files can be told by their names \
also `SEGMENTATION: str`, a regular expression for the end of a segmentation's path without suffix |
| `oncoseg.evaluation.metrics` | `INFO: MetricInfo` and `METRIC: Metric`, or `build(parameter) -> Metric` |
| `oncoseg.prompts` | `INFO: SimulatorInfo` and `build(**options)` -> `Simulator`, `Proposer` or `Replayer` |
| `oncoseg.evaluation.protocols` | `PROTOCOL: Protocol`, see `oncoseg.evaluation.protocol` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from oncoseg.case import Case
from oncoseg.errors import UnknownNameError
from oncoseg.prompt import Prompt
from oncoseg.score import Ledger
from oncoseg.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

PromptType = Literal["box", "click", "scribble", "mask"]
Fidelity = Literal["verified", "paper", "reconstructed", "baseline"]


@dataclass(frozen=True)
class ModelInfo:
    """What a model is; every table of models is generated from it.

    Attributes:
        name: the file's name on the shelf.
        variant: distinguishes infos of one file; "" when there is one.
        title: how papers call it.
        summary: one sentence for the user.
        parameters, trainable_parameters: counts at the paper's size, asserted by the contract suite.
        dimension: "2d" (slice by slice) or "3d".
        prompts: prompt types it takes; empty for automatic models.
        prompts_optional: it takes prompts and answers without any, too.
        doi: of the paper, None when there is none.
        licence: of code and, where they exist, weights.
        fidelity: `verified` (equal to an independent implementation), `paper` (counts and text),
            `reconstructed` (the paper leaves choices open), `baseline` (no paper).
        trainable: whether `oncoseg train` works.
        weights: id of the catalogue entry that makes it usable untrained, None otherwise.
        recipe: published hyper-parameters, value per name.
        reference_use: what it must be given, in words, for the reference ledger.
        counted_with: options of `build` under which `parameters` is counted, where the paper's differ from the
            defaults.
    """

    name: str
    variant: str
    title: str
    summary: str
    parameters: int
    trainable_parameters: int
    dimension: Literal["2d", "3d"]
    prompts: tuple[PromptType, ...]
    doi: str | None
    licence: str
    fidelity: Fidelity
    trainable: bool = False
    weights: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    reference_use: str = "none"
    counted_with: Mapping[str, Any] = field(default_factory=dict)
    prompts_optional: bool = False

    @property
    def full_name(self) -> str:
        """`name.variant`, or `name` alone when there is one variant."""
        return f"{self.name}.{self.variant}" if self.variant else self.name


@dataclass(frozen=True)
class Recipe:
    """How a paper trained a model, complete.

    Attributes:
        source: paper, and section or table.
        options: of the model's `build`.
        training: fields of `oncoseg.training.settings.TrainConfig`.
        assumed: names among `options` and `training` that the source does not give; every use prints them.
        variants: of the model that it is for; empty for all.
        notes: what the user should know, e.g. what the source leaves open.
    """

    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    notes: str = ""


class Model(Protocol):
    """Segments a volume; the preprocessing is its own business and undone before it returns."""

    info: ModelInfo

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour, float32 in [0, 1], on the grid of `image` (HU in, scanner spacing).

        Raises:
            InputError: when a prompt is missing, of a type the model does not take, or outside the image.
        """
        ...


@runtime_checkable
class NeuralModel(Protocol):
    """A model with a torch network, whose parameters and operations can be counted."""

    network: nn.Module


Sample = dict[str, Any]
"""One training item: name -> array or tensor without batch axis; all items of a model collate."""


@runtime_checkable
class Trainable(Model, Protocol):
    """A model that one plain loop can train."""

    info: ModelInfo
    network: nn.Module

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """What the model looks at in one case: slices, patches, prompts; random choices from `rng` only."""
        ...

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Each loss to descend in turn, by the name of the parameter group it moves.

        Groups `name.part` are moved by the loss `name`, too; a training may give each a rate of its own.
        """
        ...

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """Parameters by group name; each loss has its own optimiser."""
        ...

    def options(self) -> dict[str, Any]:
        """The plain options `build` needs to make this model again."""
        ...


@runtime_checkable
class MultiClass(Protocol):
    """A model that tells several structures apart; `predict` gives the tumour alone."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Structures by label 1, 2, ..., as masks of a case are named."""
        ...

    def predict_labels(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Label of every voxel, uint8 on the grid of `image`, 0 being none of `classes`."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A model that has something to say about how it computed, which every report repeats."""

    @property
    def told(self) -> Sequence[str]:
        """Sentences; empty when there is nothing to say."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A trainable model whose `samples` want cases on the network's grid; making one is slow and done once."""

    def prepare(self, case: Case) -> Case:
        """The case as `samples` wants it: resampled, grey values normalised (float32); never given to `predict`."""
        ...


@runtime_checkable
class ValidatedWithPrompts(Protocol):
    """A promptable model that says which prompts it is watched with while it learns."""

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """Prompts from the tumour mask of a case, the same at every call; none when the mask is empty."""
        ...


@runtime_checkable
class Surveying(Protocol):
    """A trainable model that looks once at all training cases before the first sample, e.g. for a crop window."""

    def survey(self, training: Iterable[Case]) -> dict[str, Any]:
        """Options of `build`, by name, found in the training cases, each read once; none when there is nothing to find.

        Raises:
            InputError: when the cases leave it open.
        """
        ...

    def take(self, found: Mapping[str, Any]) -> None:
        """Go on with the options that `survey` found, which `options` gives from now on."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A trainable model with numbers that are logged beside its losses, e.g. what a discriminator says."""

    @property
    def watched(self) -> Mapping[str, float]:
        """Of the newest step, by name."""
        ...


@runtime_checkable
class Windowed(Protocol):
    """A model that looks at a fixed part of an image whatever it is asked."""

    def window_on(self, image: Volume) -> NDArray[np.bool_] | None:
        """Voxels it looks at, on the grid of the image; None for all of them."""
        ...


@dataclass(frozen=True)
class FitStep:
    """What a model that trains itself tells on its way.

    Attributes:
        step, steps: optimiser steps done and planned, over all its networks; 0 where nothing is counted yet.
        message: what it is doing, or something the user should know.
        loss: of the newest step.
        epoch: epochs finished; None between the ends of epochs. The values below are told there only.
        learning_rate: of the epoch.
        losses: means over the epoch, by name.
        validation: its own score of the epoch, 0 to 1; None when it is undefined.
        earlier: the epoch was finished before this call, which goes on behind it; each one is told again, in order.
    """

    step: int
    steps: int
    message: str | None = None
    loss: float | None = None
    epoch: int | None = None
    learning_rate: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    validation: float | None = None
    earlier: bool = False


@runtime_checkable
class SelfTraining(Model, Protocol):
    """A model with a training of its own, such as another package's, that knows nothing before it."""

    info: ModelInfo

    def fit(
        self,
        *,
        training: Sequence[Case],
        validation: Sequence[Case],
        epochs: int,
        seed: int,
        device: str,
        folder: Path,
        dataset: str | None = None,
        progress: Callable[[FitStep], None],
    ) -> Path:
        """Train, or go on with a training that was killed; the model predicts with the result afterwards.

        Args:
            training: cases to learn from; the order is the same when the call is repeated.
            validation: cases to watch it by; may be empty.
            epochs: of its own kind.
            seed: of what it draws; such models promise no equal repetition.
            device: `auto`, `cpu`, `cuda`, `cuda:1` ...
            folder: of the training; what is only needed on the way goes into `state` in it.
            dataset: fingerprint of the data, written into the checkpoint.
            progress: told after every step and at the end of every epoch.

        Returns:
            The checkpoint, in the folder.

        Raises:
            NotApplicableError: when the model has no form for these data.
            FetchError: when a package it needs is not set up.
            OncosegError: when the training fails.
        """
        ...

    def options(self) -> dict[str, Any]:
        """The plain options `build` needs to train this model again."""
        ...


class Elsewhere(NamedTuple):
    """What a prediction in another process took: parameters of its networks, operations, what counted them, where."""

    parameters: int
    macs: int
    mac_counter: str
    device: str
    threads: int


@runtime_checkable
class ComputingElsewhere(Protocol):
    """A model whose networks live in another process and are measured there."""

    def measured(self, image: Volume) -> Elsewhere:
        """Predict an image once, counting."""
        ...

    def peak_memory_bytes(self) -> int | None:
        """Largest resident memory of that process so far; None where it cannot be told."""
        ...


class Session(Protocol):
    """One image prompted step by step."""

    def add(self, prompt: Prompt) -> Volume:
        """Probability after one more prompt."""
        ...

    def undo(self) -> Volume:
        """Probability without the newest prompt."""
        ...

    def reset(self) -> None:
        """Forget all prompts, keep the image's embedding."""
        ...


@runtime_checkable
class Interactive(Protocol):
    """A model that embeds an image once and then answers prompts."""

    def session(self, image: Volume) -> Session:
        """Start prompting one image."""
        ...


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is.

    Attributes:
        name: the file's name on the shelf.
        title: its public name.
        summary: one sentence for the user, with what `root` must hold.
        licence, doi: of the data; None when it has no doi.
        modality: "CT", "MR" or "any".
        synthetic: printed beside every result when True.
        warning: carried into every report, None when there is none.
        downloads: what is fetched, from where and how big; "" when the user brings the files.
        part: which of several sets under this name, e.g. a task's folder; "" when there is one.
        cropped_round_reference: its images were cut out round the tumour, which every prediction on them
            knows; the reference ledger counts it.
    """

    name: str
    title: str
    summary: str
    licence: str
    doi: str | None
    modality: str
    synthetic: bool = False
    warning: str | None = None
    downloads: str = ""
    cropped_round_reference: bool = False
    part: str = ""

    @property
    def known_as(self) -> str:
        """`name`, or `name/part`: how the contamination ledger of weights calls it."""
        return f"{self.name}/{self.part}" if self.part else self.name


class Entry(NamedTuple):
    """A case's name and its patient, known without reading voxels."""

    case: str
    patient: str


class Dataset(Protocol):
    """Cases by name; listing is cheap, loading reads one case."""

    info: DatasetInfo

    def entries(self) -> Sequence[Entry]:
        """Every case, sorted by name."""
        ...

    def load(self, case: str) -> Case:
        """Read one case.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: names the file that is wrong.
        """
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 that changes when a case is added, removed or its files change."""
        ...


@runtime_checkable
class Excluding(Protocol):
    """A data set that leaves out cases it found, and says why."""

    excluded: Mapping[str, str]
    """Case -> reason; these are not among `entries`."""


@runtime_checkable
class Damaged(Protocol):
    """A data set that goes on without files it could not read, and says which: its users fail at the end."""

    damaged: Mapping[str, str]
    """Case, or file that belongs to no case, -> what is wrong. Cases are among `excluded` too."""


@runtime_checkable
class Undrawn(Protocol):
    """A data set that leaves out images because nothing is drawn on them, and can read those all the same."""

    undrawn: Sequence[str]
    """Cases, all of them among `excluded`."""

    def image_of(self, case: str) -> tuple[Volume, str]:
        """The image of such a case, and its modality ("CT", "MR" ...)."""


class Measured(NamedTuple):
    """A metric's value, or None with the reason why it is undefined."""

    value: float | None
    reason: str | None = None


class Metric(Protocol):
    """A pure function of a pair of masks; `MaskPair` shares counts and distances between metrics."""

    name: str
    unit: str
    higher_is_better: bool | None
    summary: str

    def __call__(self, pair: Any) -> Measured:
        """Measure an `oncoseg.evaluation.pair.MaskPair`."""
        ...


@dataclass(frozen=True)
class SimulatorInfo:
    """What a prompt simulator is.

    Attributes:
        name: the file's name on the shelf.
        summary: one sentence.
        prompts: types it produces.
        source: where its prompts come from, as counted by the ledger.
        doi: paper that defines the policy, None when there is none.
        corrects: whether it answers to the prediction shown, so that it can play the rounds after the first.
    """

    name: str
    summary: str
    prompts: tuple[PromptType, ...]
    source: str
    doi: str | None = None
    corrects: bool = False


class Simulator(Protocol):
    """Plays the user: makes prompts from a reference mask, with randomness from `rng` only."""

    info: SimulatorInfo

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """Prompts for one case; `shown` is the prediction so far. Empty when the reference is empty."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Makes prompts from the image alone; it never meets a reference. All of them are `automatic`."""

    info: SimulatorInfo

    def propose(self, image: Volume, rng: np.random.Generator) -> list[Prompt]:
        """Prompts for one image, with randomness from `rng` only; empty when it finds nothing to point at."""
        ...


class Recorded(NamedTuple):
    """What a model was given once, and what that owed to the reference; None counts it from the prompts."""

    prompts: list[Prompt]
    ledger: Ledger | None


@runtime_checkable
class Replayer(Protocol):
    """Gives the prompts of an earlier run again, to any model; it never meets a reference."""

    info: SimulatorInfo

    def fingerprint(self) -> str:
        """Hex SHA-256 that changes with what is recorded; raises InputError when there is no record."""
        ...

    def recorded(self, case: str, draw: int, image: Volume) -> Recorded:
        """What was given for one draw of one case.

        Raises:
            InputError: when there is no record of it, or it does not fit the image.
        """
        ...


#: Everything that may stand on the shelf of prompts.
AnySimulator = Simulator | Proposer | Replayer


class BuildModel(Protocol):
    """Signature of `build` in a model's file."""

    def __call__(self, variant: str | None = None, *, weights: Path | None = None, **options: Any) -> Model:
        """Make the model.

        Args:
            variant: one of the variants of `INFOS`; None for the first.
            weights: a checkpoint written by `oncoseg train` or an official file; None for the
                catalogue's weights where `ModelInfo.weights` names them, else random ones.
            **options: the model's own options, checked by name and type.
        """
        ...


def choose_variant(infos: Sequence[ModelInfo], variant: str | None) -> ModelInfo:
    """The info of one variant of a model's file; the first for None.

    Raises:
        UnknownNameError: with near names.
    """
    if variant is None:
        return infos[0]
    for info in infos:
        if info.variant == variant:
            return info
    raise UnknownNameError(f"variant of model '{infos[0].name}'", variant, [i.variant for i in infos if i.variant])
