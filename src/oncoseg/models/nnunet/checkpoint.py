"""Weights of nnU-Net: many files and pickles there, one safetensors file here.

The file's tensors are named `configuration/fold/tensor`. Its options hold, under `trained`, what else predicting
needs: {"plans", "dataset" (nnU-Net's plans.json and dataset.json), "stages": [{"configuration", "trainer", "folds",
"mirror_axes", "shared"}], "output"} with the stages in order, names of tensors that are kept under another one, and
`output` the tumour's place among the network's outputs.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg.case import TUMOUR
from oncoseg.errors import InputError, UnknownNameError, UnsafeFileError
from oncoseg.files import read_json, require_file

if TYPE_CHECKING:
    from torch import Tensor

#: Key of the options under which a checkpoint keeps what else predicting needs.
TRAINED = "trained"
#: How labels of tumours are called in public data sets; the first that fits is taken.
_TUMOURS = (TUMOUR, "tumor", "cancer", "gtv", "lesion", "nodule", "mass", "metastasis")
#: Reads a checkpoint whose owner trusts it: (source) -> tensors and facts, see `child.predicting.unpickle`.
Trusted = Callable[[Path], tuple[dict[str, "Tensor"], dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Network:
    """The weights of one configuration and fold, and what its checkpoint says; `shared`: see `unshared`."""

    configuration: str
    fold: str
    trainer: str
    mirror_axes: tuple[int, ...] | None
    state: dict[str, Tensor]
    shared: dict[str, str]


def variant_of(folder: Path) -> str | None:
    """The configuration of a folder that nnU-Net trained; None for any other folder."""
    if not all((folder / name).is_file() for name in ("plans.json", "dataset.json")):
        return None
    if not any(folder.glob("fold_*")):
        return None
    return folder.name.rpartition("__")[2] or None


def read_networks(folder: Path, folds: Sequence[int], name: str, trusted: Trusted | None = None) -> list[Network]:
    """The trained networks of a folder of nnU-Net's.

    Args:
        folder: holds `plans.json`, `dataset.json` and `fold_*`.
        folds: which; empty for all that have the file, `fold_all` only where there is no other.
        name: of the weights file.
        trusted: reads files that hold more than tensors and numbers; None refuses them.

    Raises:
        InputError: when a fold, or every one, is missing.
        UnsafeFileError: see `trusted`.
    """
    found = {p.parent.name.removeprefix("fold_"): p for p in sorted(folder.glob(f"fold_*/{name}"))}
    wanted = [str(fold) for fold in folds] or [fold for fold in found if fold != "all"] or list(found)
    missing = [fold for fold in wanted if fold not in found]
    if missing or not wanted:
        there = ", ".join(found) or "none"
        raise InputError(
            f"{folder} has no {name} in {', '.join(f'fold_{f}' for f in missing) or 'any fold'}; folds with one: "
            f"{there}. Choose with --set folds=[0], or another file with --set checkpoint=checkpoint_best.pth."
        )
    return [read_network(found[fold], fold, trusted) for fold in wanted]


def read_network(source: Path, fold: str, trusted: Trusted | None = None) -> Network:
    """The network of one checkpoint file of nnU-Net's, read without running anything in it.

    Raises:
        UnsafeFileError: when the file holds more than tensors, numbers and plain containers.
        InputError: when it is damaged or not of nnU-Net v2.
    """
    from oncoseg.models.nnunet.child.predicting import unshared

    require_file(source)
    try:
        content = _restricted(source)
    except UnsafeFileError:
        if trusted is None:
            raise
        state, facts = trusted(source)
        axes = None if facts["mirror_axes"] is None else tuple(facts["mirror_axes"])
        return Network(facts["configuration"], fold, facts["trainer"], axes, state, facts["shared"])
    try:
        own, shared = unshared(dict(content["network_weights"]))
        axes = content.get("inference_allowed_mirroring_axes")
        return Network(
            str(content["init_args"]["configuration"]),
            fold,
            str(content["trainer_name"]),
            None if axes is None else tuple(int(axis) for axis in axes),
            own,
            shared,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{source} is no checkpoint of nnU-Net v2: {error} is missing or wrong.") from error


def about_networks(
    plans: Mapping[str, Any], dataset: Mapping[str, Any], networks: Sequence[Network], label: str | None = None
) -> dict[str, Any]:
    """What a checkpoint keeps under `trained`; see the top of this file.

    Raises:
        UnknownNameError: when no label is called like a tumour, or not the one asked for.
    """
    stages: dict[str, dict[str, Any]] = {}
    for network in networks:
        about: dict[str, Any] = {
            "trainer": network.trainer,
            "mirror_axes": network.mirror_axes,
            "folds": [],
            "shared": network.shared,
        }
        stage = stages.setdefault(network.configuration, {"configuration": network.configuration, **about})
        stage["folds"].append(network.fold)
    return {
        "plans": dict(plans),
        "dataset": dict(dataset),
        "stages": list(stages.values()),
        "output": output_of(dataset, label),
    }


def tensors_of(networks: Sequence[Network]) -> dict[str, Tensor]:
    """Every tensor under its name in our checkpoint."""
    return {f"{n.configuration}/{n.fold}/{name}": t for n in networks for name, t in n.state.items()}


def output_of(dataset: Mapping[str, Any], label: str | None = None) -> int:
    """The tumour's place among the network's outputs.

    Args:
        dataset: nnU-Net's `dataset.json`. With `regions_class_order` outputs are regions, without background.
        label: its name; None finds it.

    Raises:
        UnknownNameError: names the labels there are.
    """
    labels = {str(name): value for name, value in dataset["labels"].items()}
    names = [name for name, value in labels.items() if value not in (0, [0]) and name != "ignore"]
    chosen = label if label is not None else _tumour_among(names)
    if chosen not in names:
        raise UnknownNameError("label (choose the tumour's with --set label=NAME)", chosen or "tumour", names)
    if any(isinstance(value, list | tuple) for value in labels.values()):
        return names.index(chosen)
    return int(labels[chosen])


def classes_of(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of label 1, 2, ...; their numbers where labels are put together to regions."""
    values = {str(name): value for name, value in dataset["labels"].items()}
    if any(isinstance(value, list | tuple) for value in values.values()):
        highest = max(int(n) for v in values.values() for n in (v if isinstance(v, list | tuple) else [v]))
        return tuple(f"label {number}" for number in range(1, highest + 1))
    names = {int(value): name for name, value in values.items()}
    return tuple(names.get(number, f"label {number}") for number in range(1, max(names) + 1))


def described(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """nnU-Net's `plans.json` and `dataset.json` of a trained folder.

    Raises:
        InputError: when one is missing or damaged.
    """
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    if not isinstance(plans, dict) or "configurations" not in plans:
        raise InputError(f"{folder / 'plans.json'} is no plan of nnU-Net v2: it has no 'configurations'.")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("labels"), dict):
        raise InputError(f"{folder / 'dataset.json'} has no table 'labels'.")
    return plans, dataset


def _tumour_among(names: Sequence[str]) -> str | None:
    if len(names) == 1:
        return names[0]
    for word in _TUMOURS:
        fitting = [name for name in names if word in name.lower()]
        if fitting:
            return fitting[0]
    return None


def _restricted(source: Path) -> dict[str, Any]:
    import numpy as np
    import torch

    # The log of nnU-Net's losses is kept as NumPy numbers; these make numbers and nothing else.
    numbers: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "f2", "i4", "i8", "u1", "?"))]
    scalar = np.float64(0).__reduce__()[0]
    numbers += [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    try:
        with torch.serialization.safe_globals(numbers):
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{source} holds more than tensors and numbers ({_asked_for(source)}) and was not opened: opening it "
            "could run code. If you made it yourself, add --set trust=true."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{source} is damaged or cut off ({error}). Copy it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{source} is no checkpoint of nnU-Net v2.")
    return content


def _asked_for(source: Path) -> str:
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        asked = get_unsafe_globals_in_checkpoint(str(source))
    except (ValueError, RuntimeError):
        return "a pickled object"
    return ", ".join(name for name in asked if not name.startswith("numpy")) or "a pickled object"


def as_json(about: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data as it comes back from a file: tuples are lists, keys are text."""
    return json.loads(json.dumps(about))  # type: ignore[no-any-return]
