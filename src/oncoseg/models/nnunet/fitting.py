"""One training by nnU-Net, from cases to networks; every step is found done when it is called again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from oncoseg.case import Case
from oncoseg.contracts import FitStep
from oncoseg.errors import InputError, NotApplicableError
from oncoseg.files import read_json, write_json
from oncoseg.models.nnunet import environment, raw
from oncoseg.models.nnunet.checkpoint import Network, read_network
from oncoseg.models.nnunet.options import NnunetOptions
from oncoseg.models.nnunet.plans import fingerprint_words, plan_words, why_not
from oncoseg.models.nnunet.process import Child, Told

#: Where nnU-Net works, below the training's folder; removed at the end like any training state.
STATE = "state"
CASCADE, FIRST_STAGE = "3d_cascade_fullres", "3d_lowres"


class Fitted(NamedTuple):
    """Trained networks, in the order of their stages, and nnU-Net's own plans and description of the data."""

    networks: list[Network]
    plans: dict[str, Any]
    described: dict[str, Any]


class _Wanted(NamedTuple):
    """A network to train: a fold is a place in the split file or "all"; whether the next stage needs it."""

    configuration: str
    fold: int | str
    predicts: bool


class Fitting:
    """A training by nnU-Net.

    Args:
        variant: the configuration.
        settings: of the model.
        folder: of the training.
        device: as `oncoseg train --device`.
        progress: told what happens.
    """

    def __init__(
        self,
        variant: str,
        settings: NnunetOptions,
        folder: Path,
        *,
        device: str,
        progress: Callable[[FitStep], None],
    ) -> None:
        self.variant, self.settings, self.folder, self.progress = variant, settings, folder, progress
        self.device = device
        self.python = environment.interpreter(settings.python)
        self.processes = settings.processes or environment.workers()
        self.tumour = len(settings.classes) - 1

    def run(self, training: Sequence[Case], validation: Sequence[Case], *, epochs: int, seed: int) -> Fitted:
        """Everything that is left to do."""
        places = {name: self.folder / STATE / name.removeprefix("nnUNet_") for name in _FOLDERS}
        if not training:
            raise InputError("There is no case to train on. Give a larger fraction or another split.")
        self._say("writing the cases for nnU-Net")
        names = raw.write_cases(places["nnUNet_raw"] / raw.DATASET, _Joined(training, validation), self.settings)
        splits = raw.split_of(names, len(training), min(self.settings.stage_folds, len(names)))
        prepared = places["nnUNet_preprocessed"] / raw.DATASET
        prepared.mkdir(parents=True, exist_ok=True)
        raw.write_split(prepared, splits)
        common = {
            "dataset": raw.DATASET,
            "number": raw.NUMBER,
            "memory_gb": self.settings.memory_gb,
            "processes": max(1, self.processes),
        }
        child = Child(
            self.python,
            self.folder / "log.txt",
            processes=self.processes,
            device=self.device,
            folders=places,
            compile=self.settings.compile,
        )
        try:
            decided = child.ask("plan", self._tell, **common)
            self._surface(decided)
            wanted = self._networks(len(splits), bool(validation))
            done = child.ask(
                "train",
                self._tell,
                **common,
                networks=wanted,
                configurations=sorted({_data_of(w.configuration) for w in wanted} | ({_data_of(self.variant)})),
                epochs=epochs,
                iterations=self.settings.iterations,
                validation_iterations=self.settings.validation_iterations,
                seed=seed,
                device=child.device,
            )
        finally:
            child.close()
        self._note_parameters(done["parameters"][-1])
        networks = [read_network(Path(p), str(w.fold)) for p, w in zip(done["checkpoints"], wanted, strict=True)]
        return Fitted(networks, decided["plans"], read_json(prepared / "dataset.json"))

    def _networks(self, splits: int, watched: bool) -> list[_Wanted]:
        """The networks to train: one, or for the cascade those of the first stage before it."""
        fold: int | str = 0 if watched else "all"
        first: list[_Wanted] = []
        if self.variant == CASCADE:
            folds: list[int | str] = [*range(1, splits)] or ["all"]
            first = [_Wanted(FIRST_STAGE, inner, True) for inner in folds]
        return [*first, _Wanted(self.variant, fold, False)]

    def _surface(self, decided: dict[str, Any]) -> None:
        """Write what nnU-Net measured and decided; raise when it leaves this configuration away."""
        words = plan_words(decided["plans"], decided["version"], self.settings.memory_gb)
        write_json(self.folder / "fingerprint.json", fingerprint_words(decided["fingerprint"]))
        write_json(self.folder / "plans.json", {"configuration": self.variant, **words})
        reason = why_not(decided["plans"], self.variant)
        if reason is not None:
            raise NotApplicableError(f"{reason}. What was planned is in {self.folder / 'plans.json'}.")

    def _note_parameters(self, parameters: int) -> None:
        target = self.folder / "plans.json"
        write_json(target, {**read_json(target), "parameters": parameters})

    def _tell(self, told: Told) -> None:
        if "doing" in told:
            self._say(told["doing"])
            return
        dice = told.get("dice")
        self.progress(
            FitStep(
                step=told["step"],
                steps=told["steps"],
                loss=told.get("loss"),
                epoch=told.get("epoch"),
                learning_rate=told.get("learning_rate"),
                losses=told.get("losses") or {},
                validation=None if dice is None else dice[self.tumour],
                earlier=told.get("earlier", False),
            )
        )

    def _say(self, text: str) -> None:
        self.progress(FitStep(0, 0, message=f"nnU-Net: {text}"))


_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def _data_of(configuration: str) -> str:
    """The configuration whose preprocessed data another one is trained on."""
    return "3d_fullres" if configuration == CASCADE else configuration


class _Joined(Sequence[Case]):
    """Two sequences one after the other; cases are read when they are asked for."""

    def __init__(self, *parts: Sequence[Case]) -> None:
        self._places = list(chain.from_iterable(((part, n) for n in range(len(part))) for part in parts))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        part, place = self._places[index]
        return part[place]
