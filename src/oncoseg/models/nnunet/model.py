"""The model: trains and predicts by asking the child process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.case import Case
from oncoseg.config import fill, plain
from oncoseg.contracts import Elsewhere, FitStep, ModelInfo, choose_variant
from oncoseg.errors import ConfigError, InputError, OncosegError
from oncoseg.inference.accept import accept
from oncoseg.inference.slices import axial_view
from oncoseg.models.nnunet import checkpoint as files
from oncoseg.models.nnunet import environment, raw
from oncoseg.models.nnunet.fitting import Fitting
from oncoseg.models.nnunet.options import FREE, NnunetOptions
from oncoseg.models.nnunet.process import Child
from oncoseg.preprocess.resample import grid_at, resample_like, restore_probability
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume
from oncoseg.weights.trained import About, agreed, read_checkpoint, write_checkpoint


class Nnunet:
    """An nnU-Net; `trained` and `weights` are None until it is trained."""

    def __init__(
        self,
        info: ModelInfo,
        settings: NnunetOptions,
        *,
        weights: Path | None = None,
        trained: dict[str, Any] | None = None,
        scratch: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.info, self.settings, self.weights, self.trained = info, settings, weights, trained
        self._scratch = scratch or tempfile.TemporaryDirectory(prefix="oncoseg-nnunet-")
        self._child: Child | None = None

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to train this model again, as plain data."""
        held: dict[str, Any] = plain(self.settings)
        return {name: value for name, value in held.items() if name not in FREE}

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
        progress: Callable[[FitStep], None] = lambda told: None,
    ) -> Path:
        """Have nnU-Net measure, plan, preprocess and train; see `oncoseg.contracts.SelfTraining`.

        `plans.json` and `fingerprint.json` in the folder say what it decided, `log.txt` holds all it printed.

        Raises:
            FetchError: when nnU-Net is not set up.
            NotApplicableError: when its planner leaves this configuration away.
            InputError: for a model that holds weights already.
            OncosegError: when nnU-Net fails.
        """
        if self.weights is not None:
            raise InputError("nnU-Net plans anew for its data and cannot go on from weights. Name the model instead.")
        course = Fitting(self.info.variant, self.settings, folder, device=device, progress=progress)
        networks, plans, described = course.run(training, validation, epochs=epochs, seed=seed)
        about = files.about_networks(plans, described, networks)
        target = folder / "checkpoint.safetensors"
        steps = epochs * self.settings.iterations * len(networks)
        kept = {**self.options(), files.TRAINED: about}
        write_checkpoint(
            target, files.tensors_of(networks), About(self.info.name, self.info.variant, kept, steps, dataset)
        )
        self.weights, self.trained = target, files.as_json(about)
        return target

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour, float32 in [0, 1], on the grid of `image`.

        The first call starts the process that keeps the networks ready for the next ones.

        Raises:
            InputError: for a prompt (it takes none), voxels that are not finite, or a model that is not trained.
            FetchError: when nnU-Net is not set up.
            OncosegError: when nnU-Net fails.
        """
        accept(self.info, image, prompts)
        if self.trained is None:
            raise self._untrained()
        outputs = np.load(self._predicted(image) / "probabilities.npy", mmap_mode="r")
        return self._on_grid(np.array(outputs[self.trained["output"]], dtype=np.float32), image)

    @property
    def classes(self) -> tuple[str, ...]:
        """Structures by label 1, 2, ...; where outputs are regions the labels have numbers for names."""
        if self.trained is None:
            return self.settings.classes
        return files.classes_of(self.trained["dataset"])

    def predict_labels(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Label of every voxel, uint8 on the grid of `image`: exactly the segmentation that nnU-Net makes.

        Raises:
            InputError: as `predict`.
        """
        accept(self.info, image, prompts)
        found = np.load(self._predicted(image) / "labels.npy")
        view = axial_view(image)
        if self.settings.spacing is None:
            return image.with_voxels(view.restore(found))
        given = Volume(found, grid_at(view.volume, self.settings.spacing).affine)
        return image.with_voxels(view.restore(resample_like(given, view.volume, order=0).voxels))

    def measured(self, image: Volume) -> Elsewhere:
        """Predict an image once, counting parameters and operations in the child."""
        accept(self.info, image, ())
        found = self._ask("count", image)
        return Elsewhere(found["parameters"], found["macs"], found["counter"], found["device"], found["threads"])

    def peak_memory_bytes(self) -> int | None:
        """Largest resident memory of the child so far; None where it cannot be told."""
        found: int | None = self._ready().ask("memory")
        return found

    def close(self) -> None:
        """End the process that predicts; the next prediction starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _untrained(self) -> InputError:
        return InputError(
            f"{self.info.full_name} predicts only once it is trained: its network is planned from the data. Train "
            f"it (oncoseg train {self.info.full_name} DATASET --out FOLDER --epochs N) or give --weights."
        )

    def _predicted(self, image: Volume) -> Path:
        """The folder that holds the child's prediction, see `child.predicting.predict`."""
        self._ask("predict", image)
        return Path(self._scratch.name)

    def _ask(self, what: str, image: Volume) -> Any:
        if self.trained is None:
            raise self._untrained()
        folder = Path(self._scratch.name)
        given = raw.image_for(image, self.settings)
        np.save(folder / "image.npy", given.voxels)
        place = str(folder / "image.npy")
        try:
            return self._ready().ask(what, image=place, spacing=list(given.spacing), folder=str(folder))
        except OncosegError:
            self.close()  # one image that fails leaves a fresh process to the next
            raise

    def _ready(self) -> Child:
        if self._child is None:
            child = Child(
                environment.interpreter(self.settings.python),
                Path(self._scratch.name) / "log.txt",
                processes=self.settings.processes or environment.workers(),
                device=self.settings.device,
                compile=self.settings.compile,
            )
            child.ask(
                "open",
                weights=str(self.weights),
                about=self.trained,
                device=child.device,
                mirror=self.settings.mirror,
                step=self.settings.step,
            )
            self._child = child
        return self._child

    def _on_grid(self, found: Any, image: Volume) -> Volume:
        """The way back from `raw.image_for`."""
        view = axial_view(image)
        if self.settings.spacing is None:
            return image.with_voxels(view.restore(np.clip(found, 0, 1)))
        given = Volume(found, grid_at(view.volume, self.settings.spacing).affine)
        return image.with_voxels(view.restore(restore_probability(given, view.volume).voxels))


def built(
    infos: Sequence[ModelInfo], variant: str | None, *, weights: Path | None, options: Mapping[str, Any]
) -> Nnunet:
    """Make the model; see `oncoseg.models.nnunet.build`."""
    free = {name: value for name, value in options.items() if name in FREE}
    if weights is None:
        info = choose_variant(infos, variant)
        return Nnunet(info, fill(NnunetOptions, dict(options), f"model {info.full_name}"))
    if weights.is_dir():
        return _of_folder(infos, variant, weights, options)
    content = read_checkpoint(weights)
    if content.about is None or files.TRAINED not in content.about.options:
        raise InputError(f"{weights} is no nnU-Net trained by oncoseg. Give that file, or a folder nnU-Net trained.")
    trained = content.about.options[files.TRAINED]
    learnt = {name: value for name, value in content.about.options.items() if name != files.TRAINED}
    about = About(content.about.model, content.about.variant, learnt)
    fixed = {name: value for name, value in options.items() if name not in FREE}
    variant, kept = agreed(about, infos[0], variant, fixed)
    info = choose_variant(infos, variant)
    settings = fill(NnunetOptions, {**kept, **free}, f"model {info.full_name}")
    return Nnunet(info, settings, weights=weights, trained=trained)


def _of_folder(infos: Sequence[ModelInfo], variant: str | None, folder: Path, options: Mapping[str, Any]) -> Nnunet:
    """A model of a folder that nnU-Net trained: its weights are read once and kept as safetensors while it lives."""
    held = files.variant_of(folder)
    if held is None:
        raise InputError(
            f"{folder} is no folder that nnU-Net trained: it needs plans.json, dataset.json and fold_*/ with weights."
        )
    for name in options:
        if name not in FREE:
            raise ConfigError(f"nnunet: option '{name}' is of training; {folder} is trained already. Leave it away.")
    settings = fill(NnunetOptions, dict(options), "model nnunet")
    scratch = tempfile.TemporaryDirectory(prefix="oncoseg-nnunet-")
    trusted = _trusted(settings, Path(scratch.name)) if settings.trust else None
    plans, dataset = files.described(folder)
    networks = files.read_networks(folder, settings.folds, settings.checkpoint, trusted)
    found = networks[0].configuration
    if variant not in (None, found):
        raise ConfigError(f"{folder} is of nnunet.{found}, not of nnunet.{variant}. Name the model it fits.")
    networks = [*_first_stage(folder, plans, found, settings, trusted), *networks]
    about = files.as_json(files.about_networks(plans, dataset, networks, settings.label))
    target = Path(scratch.name) / "weights.safetensors"
    info = choose_variant(infos, found)
    write_checkpoint(target, files.tensors_of(networks), About(info.name, info.variant, {files.TRAINED: about}))
    return Nnunet(info, settings, weights=target, trained=about, scratch=scratch)


def _first_stage(
    folder: Path, plans: Mapping[str, Any], configuration: str, settings: NnunetOptions, trusted: files.Trusted | None
) -> list[files.Network]:
    """The networks of the cascade's first stage, which nnU-Net keeps in the folder beside."""
    previous = plans["configurations"].get(configuration, {}).get("previous_stage")
    if previous is None:
        return []
    beside = folder.parent / f"{folder.name.rpartition('__')[0]}__{previous}"
    if files.variant_of(beside) is None:
        raise InputError(f"{folder} is a second stage; its first one is not beside it in {beside.name}. Copy it there.")
    return files.read_networks(beside, (), settings.checkpoint, trusted)


def _trusted(settings: NnunetOptions, scratch: Path) -> files.Trusted:
    """Unpickling is left to the child: its environment has the classes, and no data of the user's."""

    def read(source: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        from oncoseg.weights.loading import read_tensors

        child = Child(environment.interpreter(settings.python), scratch / "log.txt", processes=1)
        try:
            target = scratch / "unpickled.safetensors"
            facts = child.ask("unpickle", source=str(source.resolve()), target=str(target))
            return read_tensors(target).state, facts
        finally:
            child.close()

    return read
