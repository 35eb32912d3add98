"""What a cell is made of, by name: a data set, a model, a prompt. Each spec opens the thing it names."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from oncoseg import registry
from oncoseg.case import TUMOUR
from oncoseg.contracts import AnySimulator, Dataset, Model, ModelInfo, Simulator, SimulatorInfo, choose_variant
from oncoseg.errors import ConfigError, suggest
from oncoseg.experiments.lungs import WithLungs
from oncoseg.experiments.round_reference import Cube
from oncoseg.experiments.slice_cases import SlicesAsCases

#: Name of the simulator that makes no prompt.
NO_PROMPT = "none"


@dataclass(frozen=True)
class SplitSpec:
    """Who is tested; splits are by patient.

    Attributes:
        test: share of the patients, or "all" when nothing is trained on this data set.
        validation: share of the remaining patients that chooses the checkpoint.
        folds: cross-validation with that many folds in place of `test`; 0 for one split.
        seed: of the draw.
        file: a split file in place of all of that, see `experiments.splits`.
        unit: what is drawn: a `patient`; or a `slice`, which puts patients on both sides, for studies that did so,
            see `oncoseg.experiments.slice_cases`.
    """

    test: float | Literal["all"] = "all"
    validation: float = 0.0
    folds: int = 0
    seed: int = 0
    file: Path | None = None
    unit: Literal["patient", "slice"] = "patient"

    def __post_init__(self) -> None:
        if self.test != "all" and not 0 < self.test < 1:
            raise ConfigError(f'split: test is {self.test}; give a share between 0 and 1, or "all".')
        if not 0 <= self.validation < 1:
            raise ConfigError(f"split: validation is {self.validation}; give a share from 0 to below 1.")
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f"split: folds is {self.folds}; give 2 or more, or 0 for one split.")

    @property
    def trains(self) -> bool:
        """Whether any patient is left for training."""
        return self.file is not None or self.folds > 1 or self.test != "all"


_ALL = SplitSpec()


@dataclass(frozen=True)
class DatasetSpec:
    """A data set of the shelf with its options.

    Attributes:
        use: name on the shelf.
        options: for the data set's `build`.
        split: who is tested.
        cases: only these cases; empty for all.
        roi: the mask that is predicted and scored.
        also: masks scored beside it where a model tells them apart, see `oncoseg.contracts.MultiClass`; such a model
            predicts once, and its label `tumour` is scored as `roi`. Voxels of the reference `roi` count for it alone.
        own_names: its patients' names mean nothing elsewhere: an equal name in another data set is somebody else. Where
            one data set is trained on and another is scored, an equal name on both sides is otherwise refused.
        lungs: gives every case the masks `lung_right` and `lung_left`: "drawn", "classical", or the path of a
            weights file of lungmask; cases whose lungs cannot be used are left out. None leaves masks as they are.
    """

    use: str
    options: Mapping[str, Any] = field(default_factory=dict)
    split: SplitSpec = _ALL
    cases: tuple[str, ...] = ()
    roi: str = TUMOUR
    also: tuple[str, ...] = ()
    lungs: str | None = None
    own_names: bool = False

    def __post_init__(self) -> None:
        for name in self.also:
            if name in (self.roi, TUMOUR):
                raise ConfigError(f"data set {self.use}: also names '{name}', which is scored as roi = '{self.roi}'.")
            if not re.fullmatch(r"\w[\w .-]*", name):  # it becomes part of a file's name
                raise ConfigError(f"data set {self.use}: also names '{name}'; use letters, digits, '.', '-' and '_'.")
        if len(set(self.also)) < len(self.also):
            raise ConfigError(f"data set {self.use}: also names a mask twice: {', '.join(self.also)}.")

    def open(self) -> Dataset:
        """Make the data set; raises what its `build` raises, and ConfigError for an unknown option."""
        dataset: Dataset = _build(registry.load("datasets", self.use), f"data set {self.use}", options=self.options)
        dataset = dataset if self.lungs is None else WithLungs(dataset, self.lungs)
        return SlicesAsCases(dataset, self.roi) if self.split.unit == "slice" else dataset


@dataclass(frozen=True)
class PromptSpec:
    """A prompt simulator with its options, and who corrects the predictions made from its prompts.

    Attributes:
        use: name on the shelf, "none" for no prompt.
        options: for the simulator's `build`.
        repeats: draws a case; every draw is one prediction, averaged per patient by the report.
        then: simulator that corrects, "none" when nobody does.
        then_options: for its `build`.
        rounds: corrections, each after a prediction.
        around_reference: side in voxels of the cube round the reference that models are shown, and which is all they
            are shown, as in the evaluation of SAM-Med3D and M-SAM (128); 0 shows whole images. The ledger counts it.
        around_reference_mm: the same in mm.
    """

    use: str = NO_PROMPT
    options: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    then: str = NO_PROMPT
    then_options: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    around_reference: int = 0
    around_reference_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"prompt {self.use}: repeats is {self.repeats}; give 1 or more.")
        if self.rounds < 0 or (self.rounds > 0) != (self.then != NO_PROMPT):
            raise ConfigError(
                f"prompt {self.use}: rounds is {self.rounds} and then is '{self.then}'; give both, e.g. "
                'then = "edt_error", rounds = 10, or neither.'
            )
        if self.cube is not None and self.use == "replay":
            raise ConfigError("prompt replay: recorded prompts are of whole images; leave around_reference away.")

    @property
    def cube(self) -> Cube | None:
        """What models are shown round the reference; None for whole images."""
        if not self.around_reference and not self.around_reference_mm:
            return None
        return Cube(self.around_reference, self.around_reference_mm)

    @property
    def info(self) -> SimulatorInfo | None:
        """What the simulator is; None for no prompt."""
        if self.use == NO_PROMPT:
            return None
        info: SimulatorInfo = registry.load("prompts", self.use).INFO
        return info

    @property
    def label(self) -> str:
        """For tables, e.g. "box", "box jitter 5 mm", "none"."""
        said = _with_options(self.use, self.options, self.build())
        if self.rounds:
            said += f", then {self.rounds} x {_with_options(self.then, self.then_options, self.corrector())}"
        return said if self.cube is None else f"{said}, in {self.cube} round the reference"

    @property
    def jitter_mm(self) -> float | None:
        """Jitter of a box in mm, 0 for an exact one; None for other prompts."""
        info = self.info
        return float(self.options.get("jitter_mm", 0.0)) if info is not None and "box" in info.prompts else None

    def build(self) -> AnySimulator | None:
        """Make the simulator; None for no prompt."""
        if self.use == NO_PROMPT:
            return None
        module = registry.load("prompts", self.use)
        simulator: AnySimulator = _build(module, f"prompt simulator {self.use}", options=self.options)
        return simulator

    def corrector(self) -> Simulator | None:
        """Make the simulator that corrects; None when nobody does.

        Raises:
            ConfigError: for one that does not look at predictions.
        """
        if self.then == NO_PROMPT:
            return None
        module = registry.load("prompts", self.then)
        if not module.INFO.corrects:
            able = [name for name in registry.names("prompts") if registry.load("prompts", name).INFO.corrects]
            raise ConfigError(f"prompt {self.then} does not look at predictions; give then = {' or '.join(able)}.")
        simulator: Simulator = _build(module, f"prompt simulator {self.then}", options=self.then_options)
        return simulator


@dataclass(frozen=True)
class ModelSpec:
    """A model of the shelf with its options and, if not the catalogue's, its weights.

    Attributes:
        name: with the variant, e.g. "unet.primakov".
        options: for the model's `build`.
        weights: a checkpoint; None for what `build` takes by default.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None

    @property
    def info(self) -> ModelInfo:
        """What the model is, without building it; one that its options or its checkpoint give boxes to takes boxes.

        Raises:
            UnknownNameError: for a name or variant that is not on the shelf.
            InputError: when the weights file cannot be read.
        """
        base, variant = registry.split_variant(self.name)
        info = choose_variant(registry.load("models", base).INFOS, variant)
        given = self.options.get("given") or self._held.get("given")
        if given is None:
            return info
        from oncoseg.dense.given import informed

        return informed(info, given)

    @property
    def _held(self) -> Mapping[str, Any]:
        """Options that the checkpoint brings; none without one."""
        if self.weights is None or not self.weights.is_file():
            return {}
        from oncoseg.weights.trained import read_about

        about = read_about(self.weights)
        return {} if about is None else about.options

    def build(self) -> Model:
        """Make the model; raises what its `build` raises, and ConfigError for an unknown option."""
        base, variant = registry.split_variant(self.name)
        module = registry.load("models", base)
        model: Model = _build(module, f"model {self.name}", variant, options=self.options, weights=self.weights)
        return model


def _build(module: ModuleType, what: str, *arguments: Any, options: Mapping[str, Any], **others: Any) -> Any:
    parameters = inspect.signature(module.build).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in options:
        if not takes_any and name not in parameters:
            raise ConfigError(f"{what}: unknown option '{name}'. {suggest(name, parameters)}")
    return module.build(*arguments, **others, **options)


def _with_options(use: str, options: Mapping[str, Any], simulator: AnySimulator | None) -> str:
    """A simulator with those of its options that are not as they would be anyway."""
    chosen = getattr(simulator, "options", None)
    usual = {f.name: f.default for f in dataclasses.fields(chosen)} if dataclasses.is_dataclass(chosen) else {}
    parts = [_in_words(name, value) for name, value in options.items() if value != usual.get(name, 0)]
    return " ".join([use.replace("_", " "), *parts])


def _in_words(name: str, value: Any) -> str:
    for unit in ("mm", "px"):
        if name.endswith(f"_{unit}"):
            return f"{name.removesuffix(f'_{unit}').replace('_', ' ')} {value:g} {unit}"
    if isinstance(value, str | Path) and len(Path(value).parts) > 1:  # of a place the end is enough
        value = "/".join(Path(value).parts[-2:])
    return f"{name.replace('_', ' ')} {value}"
