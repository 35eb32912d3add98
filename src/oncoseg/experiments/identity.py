"""The key of a cell: the content of everything that decides its result, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.config import content_key, plain
from oncoseg.contracts import Dataset, Replayer
from oncoseg.experiments.matrix import HUMAN_READER, Cell
from oncoseg.experiments.provenance import code_hash, versions
from oncoseg.experiments.sides import Sides, sides
from oncoseg.experiments.specs import DatasetSpec, ModelSpec
from oncoseg.files import sha256
from oncoseg.fingerprint import weights_fingerprint

_TRAINING = ("code", "model", "variant", "options", "weights", "train", "fraction", "seed")
_DATA = ("dataset", "roi", "fold")


@dataclass(frozen=True)
class Identity:
    """What a cell is, down to the hashes.

    Attributes:
        configuration: everything that decides the result, as plain data without folders of this machine.
        sides: who is trained on and tested.
    """

    configuration: dict[str, Any]
    sides: Sides

    @property
    def key(self) -> str:
        """Hex content key of the configuration."""
        return content_key(self.configuration)

    @property
    def training_key(self) -> str:
        """Hex content key of what decides the trained weights; cells with one key share one training.

        A cell trained on another data set shares that of the cell that is scored there.
        """
        learned = {**self.configuration, **self.configuration.get("source", {})}
        return content_key({name: learned[name] for name in (*_TRAINING, *_DATA)})

    @property
    def learned(self) -> str:
        """Fingerprint of the data set that is trained on."""
        fingerprint: str = self.configuration.get("source", self.configuration)["dataset"]["fingerprint"]
        return fingerprint


def identify(cell: Cell, dataset: Dataset, source: Dataset | None = None) -> Identity:
    """The identity of a cell whose data set is open; reads no voxels and fetches no weights.

    Args:
        cell: what to run.
        dataset: that is scored.
        source: that is trained on; None where it is the same.

    Raises:
        InputError: when a split or a weights file cannot be used, or a patient is on both sides.
    """
    parted = sides(cell, dataset, source)
    name, variant = (HUMAN_READER, "") if cell.model is None else (cell.model.info.name, cell.model.info.variant)
    configuration = {
        "code": {"oncoseg": versions()["oncoseg"], "sha256": code_hash(), **_foreign_code(cell)},
        "model": name,
        "variant": variant,
        "options": plain(without_places(cell.model.options if cell.model else {})),
        "weights": None if cell.model is None else weights_hash(cell.model),
        "train": plain(cell.train) if cell.trains else None,
        "fraction": cell.fraction,
        **_content(cell.dataset, dataset, parted.fingerprint),
        **({} if cell.source is None or source is None else {"source": _content(cell.source, source, parted.source)}),
        **({"also": list(cell.dataset.also)} if cell.dataset.also else {}),
        "fold": cell.fold,
        "prompt": {**plain(cell.prompt), "options": plain(without_places(cell.prompt.options))},
        **_record(cell),
        "seed": cell.seed,
        "threshold": cell.threshold,
        **({"choose": plain(cell.choose)} if cell.choose else {}),
        "metrics": list(cell.metrics),
        "protocols": list(cell.protocols),
    }
    return Identity(configuration, parted)


def folder_name(cell: Cell, key: str) -> str:
    """Name of a cell's folder: readable, and ending in the first 8 digits of its key."""
    kept = "".join(c if c.isalnum() or c in "._" else "-" for c in cell.label.replace(",", ""))
    return f"{kept}-{key[:8]}"


def weights_hash(model: ModelSpec) -> str | None:
    """Hex SHA-256 of the weights a model starts from; None when it has none, or is asked for random ones.

    Raises:
        InputError: when the weights file is missing or empty.
    """
    if model.weights is not None:
        return weights_fingerprint(model.weights)
    identifier = model.info.weights
    if identifier is None or model.options.get("random_weights"):
        return None
    from oncoseg.weights.catalogue import digest_of

    return digest_of(identifier)


def _content(spec: DatasetSpec, dataset: Dataset, split: str) -> dict[str, Any]:
    """What is trained on or scored: cases, and which mask of them."""
    return {
        "dataset": {
            "use": spec.use,
            "options": plain(_of_dataset(spec.options)),
            "fingerprint": dataset.fingerprint(),
            "cases": list(spec.cases),
            "split": split,
        },
        "roi": spec.roi,
    }


def _of_dataset(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set as they are kept: where cases are named by a key, names of folders are names too."""
    if "key" not in options:
        return without_places(options)
    return {name: "not kept" if _is_place(value) else value for name, value in options.items()}


def _record(cell: Cell) -> dict[str, str]:
    """Hash of the prompts that are replayed, which a file decides and not its name; empty where none are."""
    simulator = cell.prompt.build()
    return {"recorded_prompts": simulator.fingerprint()} if isinstance(simulator, Replayer) else {}


def without_places(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with paths (absolute, or existing) reduced to names: what lies there is hashed elsewhere."""
    return {name: _without_place(value) for name, value in options.items()}


def _without_place(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_places(value)
    return Path(value).name if _is_place(value) else value


def _is_place(value: Any) -> bool:
    return isinstance(value, str | Path) and (Path(value).is_absolute() or Path(value).exists())


def _foreign_code(cell: Cell) -> dict[str, str]:
    """Hashes of files that come from other packages, whose code `code_hash` does not cover."""
    named: list[tuple[registry.Shelf, str]] = [("datasets", cell.dataset.use)]
    named += [("datasets", cell.source.use)] if cell.source is not None else []
    named += [("models", cell.model.info.name)] if cell.model is not None else []
    named += [("prompts", cell.prompt.use)] if cell.prompt.info is not None else []
    own = Path(registry.__file__).parent
    hashes = {}
    for shelf, name in named:
        source = Path(registry.load(shelf, name).__file__ or "")
        if source.is_file() and own not in source.parents:
            hashes[f"{shelf}.{name}"] = sha256(source)
    return hashes
