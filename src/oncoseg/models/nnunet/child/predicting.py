"""Networks kept ready, one image after another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def opened(job: dict[str, Any]) -> list[Any]:
    """nnU-Net's predictors, one a stage.

    Args:
        job: `weights` (safetensors file), `about` (see `oncoseg.models.nnunet.checkpoint`), `device`, `mirror`,
            `step`.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from safetensors import safe_open

    about = job["about"]
    stages = []
    with safe_open(job["weights"], framework="pt") as content:
        names = list(content.keys())
        for stage in about["stages"]:
            plans = PlansManager(about["plans"])
            configuration = plans.get_configuration(stage["configuration"])
            labels = plans.get_label_manager(about["dataset"])
            trainer = recursive_find_trainer_class_by_name(stage["trainer"])
            network = trainer.build_network_architecture(
                plans,
                configuration,
                determine_num_input_channels(plans, configuration, about["dataset"]),
                labels.num_segmentation_heads,
                enable_deep_supervision=False,
            )
            prefixes = [f"{stage['configuration']}/{fold}/" for fold in stage["folds"]]
            weights = [{n.removeprefix(p): content.get_tensor(n) for n in names if n.startswith(p)} for p in prefixes]
            weights = [{**own, **{n: own[of] for n, of in stage["shared"].items()}} for own in weights]
            network.load_state_dict(weights[0])
            device = torch.device(job["device"])
            predictor = nnUNetPredictor(
                tile_step_size=job["step"], use_mirroring=job["mirror"], device=device, allow_tqdm=False
            )
            axes = None if stage["mirror_axes"] is None else tuple(stage["mirror_axes"])
            predictor.manual_initialization(
                network, plans, configuration, weights, about["dataset"], stage["trainer"], axes
            )
            stages.append(predictor)
    return stages


def predict(stages: list[Any], image: Path, spacing: list[float], folder: Path) -> None:
    """Probabilities of every output of the last stage, and nnU-Net's own choice among them.

    Args:
        stages: predictors; each but the first is given the segmentation of the one before.
        image: .npy with float32 (slices, rows, columns).
        spacing: mm in that order.
        folder: receives `probabilities.npy`, float32 (outputs, slices, rows, columns), and `labels.npy`, uint8.
    """
    voxels = np.load(image, allow_pickle=False)[None]
    previous: NDArray[Any] | None = None
    for stage in stages[:-1]:
        found = stage.predict_single_npy_array(voxels, {"spacing": spacing}, previous, None, False)
        previous = np.asarray(found, dtype=np.float32)[None]  # as nnU-Net reads it from a file; it marks with -1
    labels, probabilities = stages[-1].predict_single_npy_array(voxels, {"spacing": spacing}, previous, None, True)
    np.save(folder / "probabilities.npy", np.asarray(probabilities, dtype=np.float32))
    np.save(folder / "labels.npy", np.asarray(labels, dtype=np.uint8))


def counted(stages: list[Any], image: Path, spacing: list[float], folder: Path) -> dict[str, Any]:
    """`predict`, and what it took: `parameters` of all networks, `macs`, `counter`, `device`, `threads`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        predict(stages, image, spacing, folder)
    parameters = [len(s.list_of_parameters) * sum(p.numel() for p in s.network.parameters()) for s in stages]
    return {
        "parameters": sum(parameters),
        "macs": counter.get_total_flops() // 2,
        "counter": f"FlopCounterMode of torch {torch.__version__}, FLOPs / 2: convolutions and matrix products, of all "
        "windows and flips; not normalisation, activation or resampling",
        "device": stages[-1].device.type,
        "threads": torch.get_num_threads(),
    }


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process; None where the system does not tell it so."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def unshared(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors that are kept once, and names -> name of the tensor they share.

    nnU-Net's decoder holds the encoder, and each block its layers under two names: a file of single tensors would be
    three times as large as the network.
    """
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    own, shared = {}, {}
    for name, tensor in state.items():
        known = first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name) if tensor.numel() else name
        if known == name:
            own[name] = tensor
        else:
            shared[name] = known
    return own, shared


def unpickle(source: Path, target: Path) -> dict[str, Any]:
    """The weights of a checkpoint that its owner trusts, as safetensors; anything in it may run.

    Returns:
        `trainer`, `configuration`, `mirror_axes`, and `shared` names.
    """
    from safetensors.torch import save_file

    content = torch.load(source, map_location="cpu", weights_only=False)
    own, shared = unshared(content["network_weights"])
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in own.items()}, target)
    axes = content.get("inference_allowed_mirroring_axes")
    plain = {
        "trainer": content["trainer_name"],
        "configuration": content["init_args"]["configuration"],
        "mirror_axes": None if axes is None else [int(a) for a in axes],
        "shared": shared,
    }
    return json.loads(json.dumps(plain))  # type: ignore[no-any-return]
