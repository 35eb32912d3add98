"""Trainings of a run: made once, shared by all cells whose training key is the same, resumed after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import Dataset
from oncoseg.errors import InputError
from oncoseg.experiments.events import Event, Progress, silent
from oncoseg.experiments.identity import Identity
from oncoseg.experiments.lease import leased, wait_for
from oncoseg.experiments.matrix import Cell, training_config
from oncoseg.experiments.specs import ModelSpec
from oncoseg.experiments.store import TRAINED

if TYPE_CHECKING:
    from oncoseg.training.loop import Progress as Step


def trained(cell: Cell, identity: Identity, dataset: Dataset, output: Path, *, progress: Progress = silent) -> Path:
    """The checkpoint of a cell that trains; found, resumed or made.

    Args:
        cell: with `train` set.
        identity: of the cell.
        dataset: that is trained on, opened.
        output: folder of the run; the training gets `trained/<model>-<key8>` in it.
        progress: told about steps.

    Raises:
        ConfigError: for an unknown or wrong setting of `train`.
        InputError: when the model cannot be trained, or there is no case to train on.
        NotApplicableError: when the model has no form for these data.
    """
    spec = cell.model
    if spec is None:
        raise InputError(f"{cell.label}: people cannot be trained.")
    folder = output / TRAINED / f"{spec.name}-{cell.at_home.dataset_id}-{identity.training_key[:8]}"
    while True:
        with leased(folder) as ours:
            if ours:
                return _train(spec, cell, identity, dataset=dataset, folder=folder, progress=progress)
        progress(Event("note", message=f"waiting for another process that trains {folder.name}"))
        wait_for(folder)


def _train(
    spec: ModelSpec, cell: Cell, identity: Identity, *, dataset: Dataset, folder: Path, progress: Progress
) -> Path:
    import torch

    from oncoseg.training.delegated import train_model
    from oncoseg.training.loader import CasesOnDemand

    torch.manual_seed(cell.seed)
    model = spec.build()

    def load(name: str) -> Case:
        return with_tumour(dataset.load(name), cell.at_home.dataset.roi)

    def tell(step: Step) -> None:
        told = Event("trained", done=step.step, total=step.steps, message=step.message or "", numbers=step.numbers)
        progress(told)

    result = train_model(
        model,
        training=CasesOnDemand(load, identity.sides.train),
        validation=CasesOnDemand(load, identity.sides.validation),
        config=training_config(cell.train or {}, cell.seed),
        folder=folder,
        dataset=identity.learned,
        start=identity.configuration["weights"],
        progress=tell,
    )
    return result.checkpoint


def with_tumour(case: Case, roi: str) -> Case:
    """The case whose `tumour` is the mask a cell scores: the loop trains on that name."""
    if roi == TUMOUR:
        return case
    return Case(case.name, case.patient, case.image, {**case.masks, TUMOUR: case.mask(roi)}, case.facts, case.notes)
