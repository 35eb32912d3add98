"""What a model computes for one volume, without weights, data or computing: parts, calls, operations.

Networks are made without memory (torch's device `meta`), so paper sizes take seconds. How often a part is called
follows from the model's own options: windows, slices, mirror passes, prompts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from oncoseg import registry
from oncoseg.contracts import Model, ModelInfo, NeuralModel, SelfTraining, choose_variant
from oncoseg.dense.model import flips
from oncoseg.dense.patches import PatchModel
from oncoseg.dense.slices import SliceModel
from oncoseg.inference.counting import COUNTER, WHOLE, Pass, count_macs, counted
from oncoseg.inference.windows import places
from oncoseg.nn.planned_unet import STAGES_2D, STAGES_3D, PlannedUnet
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import Memory, Recalled
from oncoseg.nn.sam2.network import Features, Sam2
from oncoseg.nn.sam3d.prompts import VolumePrompts
from oncoseg.promptable.slices import PromptedSliceModel
from oncoseg.promptable.video import VideoModel
from oncoseg.promptable.volumes import VolumeModel
from oncoseg.volume import Volume

#: A thorax after resampling to 1 x 1 mm, as the lung benchmark has it.
SHAPE = (120, 512, 512)
SPACING = (3.0, 1.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """What is segmented.

    Attributes:
        shape: of the volume (slice, row, column).
        spacing: mm, in the same order.
        prompted_slices: slices of one lesion that a slice model is prompted on, or a video model goes through.
        clicks: that a volume model answers.
    """

    shape: tuple[int, int, int] = SHAPE
    spacing: tuple[float, float, float] = SPACING
    prompted_slices: int = 10
    clicks: int = 1

    @property
    def image(self) -> Volume:
        """A volume of this shape that holds nothing and takes no memory."""
        return Volume.from_spacing(np.broadcast_to(np.zeros((), np.int16), self.shape), self.spacing)


@dataclass(frozen=True)
class ModelCost:
    """What a model costs by its size alone.

    Attributes:
        model: its full name.
        parameters, trainable_parameters: of the network at the paper's size.
        passes: parts with the calls for one volume; empty for models without a network.
        scene: what the calls are for.
        assumed: sentences on what the calls take for granted.
        counter: what counted the operations.
        reason: why passes are missing; None when they are there.
    """

    model: str
    parameters: int
    trainable_parameters: int
    passes: tuple[Pass, ...]
    scene: Scene
    assumed: tuple[str, ...]
    counter: str
    reason: str | None = None

    @property
    def forward_macs(self) -> int | None:
        """One call of every part; None where nothing was counted."""
        return sum(p.macs for p in self.passes) if self.reason is None else None

    @property
    def volume_macs(self) -> int | None:
        """All calls for one volume; None where nothing was counted."""
        return sum(p.total for p in self.passes) if self.reason is None else None


def model_cost(name: str, *, scene: Scene | None = None, options: Mapping[str, Any] | None = None) -> ModelCost:
    """What a model of the shelf costs at its paper's size, or at that of other options.

    Args:
        name: of the model, with or without its variant.
        scene: what is segmented; None for a thorax of 120 x 512 x 512 voxels.
        options: of the model's `build`.

    Raises:
        UnknownNameError: for another name or variant.
        ConfigError: for an option that cannot be.
    """
    base, variant = registry.split_variant(name)
    shelf = registry.load("models", base)
    info = choose_variant(shelf.INFOS, variant)
    seen = scene or Scene()
    model = _without_memory(info, shelf.build, dict(options or {}))
    if isinstance(model, SelfTraining):
        return _planned(info, model, seen)
    if not isinstance(model, NeuralModel):
        return ModelCost(info.full_name, 0, 0, (), seen, ("There is no network.",), COUNTER)
    parameters = list(model.network.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    with torch.no_grad():
        model.network.eval().requires_grad_(False)
        passes, assumed = passes_of(model, seen)
    return ModelCost(
        model=info.full_name,
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=trainable,
        passes=tuple(passes),
        scene=seen,
        assumed=tuple(assumed),
        counter=COUNTER,
        reason=None if passes else f"how a {type(model).__name__} goes through a volume is not known here",
    )


def passes_of(model: Model, scene: Scene) -> tuple[list[Pass], list[str]]:
    """Parts of a model with their calls for one volume, and what is taken for granted; none for unknown kinds."""
    match model:
        case SliceModel():
            return _slices(model, scene)
        case PatchModel():
            return _windows(model, scene)
        case PromptedSliceModel():
            return _prompted_slices(model, scene)
        case VideoModel():
            return _video(model, scene)
        case VolumeModel():
            return _cubes(model, scene)
    return [], []


def _planned(info: ModelInfo, model: SelfTraining, scene: Scene) -> ModelCost:
    """nnU-Net as it is planned for patches of 128^3 voxels and slices of 512^2, the networks that its counts are of."""
    counts = (info.full_name, info.parameters, info.trainable_parameters)
    if info.name != "nnunet":
        why = "its network is planned from the data; `oncoseg bench` measures it once it is trained"
        return ModelCost(*counts, (), scene, (), COUNTER, why)
    settings: Any = getattr(model, "settings", None)
    mirrored, step, shape = settings.mirror, settings.step, scene.shape
    assumed = ["The network is that of 128^3 patches or 512^2 slices; nnU-Net plans its own from the data."]

    def sliding(grid: tuple[int, ...], size: tuple[int, ...], channels: int = 1) -> Pass:
        flat = len(size) == 2
        along = [len(places(max(n, p), p, 1 - step)) for n, p in zip(grid[-len(size) :], size, strict=True)]
        factors = {"slices": grid[0]} if flat else {}
        factors |= {"windows": math.prod(along), "mirrors": (4 if flat else 8) if mirrored else 1}
        with torch.device("meta"):
            widths = STAGES_2D if flat else STAGES_3D
            network = PlannedUnet(len(size), widths, channels=channels).eval().requires_grad_(False)
        return _pass(WHOLE, network, (channels, *size), factors)

    cube, passes = (128, 128, 128), []
    if info.variant == "2d":
        passes = [sliding(shape, (512, 512))]
    if info.variant in ("3d_lowres", "3d_cascade_fullres"):
        coarser = min(1.0, (4 * math.prod(cube) / math.prod(shape)) ** (1 / 3))
        passes.append(sliding(tuple(round(n * coarser) for n in shape), cube))
        assumed.append("The low resolution is that of which a patch covers a quarter.")
    if info.variant in ("3d_fullres", "3d_cascade_fullres"):
        passes.append(sliding(shape, cube, 1 if info.variant == "3d_fullres" else 2))
    return ModelCost(*counts, tuple(passes), scene, tuple(assumed), COUNTER)


def _slices(model: SliceModel, scene: Scene) -> tuple[list[Pass], list[str]]:
    chosen = model.settings
    grid = model.grid(scene.image).shape
    plane = (chosen.patch, chosen.patch) if chosen.fit != "pad" else grid[1:]
    rows, columns = (math.ceil(n / model.multiple) * model.multiple for n in plane)
    factors = {"slices": grid[0], "mirrors": len(flips((2, 3))) if chosen.mirror else 1}
    return [_pass(WHOLE, model.network, (chosen.inputs, rows, columns), factors)], []


def _windows(model: PatchModel, scene: Scene) -> tuple[list[Pass], list[str]]:
    chosen = model.settings
    grid = model.grid(scene.image).shape
    along = [len(places(max(n, p), p, chosen.overlap)) for n, p in zip(grid, chosen.patch, strict=True)]
    factors = {"windows": math.prod(along), "mirrors": 8 if chosen.mirror else 1}
    assumed = [] if chosen.within == "all" else [f"Windows outside the {chosen.within} are counted, too."]
    return [_pass(WHOLE, model.network, (chosen.inputs, *chosen.patch), factors)], assumed


def _prompted_slices(model: PromptedSliceModel, scene: Scene) -> tuple[list[Pass], list[str]]:
    network, slices = model.network, min(scene.prompted_slices, scene.shape[0])
    size = (3, network.image_size, network.image_size)
    # Slices of a stack see each other and are embedded together, prompted or not.
    deep = int(getattr(model.settings, "stack", 1))
    images = _empty(size).expand(deep, *size)
    embedded = counted(lambda: network.embed(images)).macs // deep
    stacks = {"stacks": math.ceil(slices / deep), "slices": deep} if deep > 1 else {"slices": slices}
    encoder = Pass("image encoder", size, embedded, stacks)
    embedding = network.embed(images)[:1]
    boxed = "box" in model.info.prompts
    prompts = SlicePrompts(_empty((4,)), None, None) if boxed else _one_click(2)
    macs = counted(lambda: network.decode(embedding, prompts)).macs
    decoder = Pass("prompts and mask decoder", tuple(embedding.shape[1:]), macs, {"slices": slices, "prompts": 1})
    return [encoder, decoder], [
        f"One lesion, prompted on {slices} slices; a slice is embedded once and decoded once a prompt."
    ]


def _video(model: VideoModel, scene: Scene) -> tuple[list[Pass], list[str]]:
    network, slices = model.network, min(scene.prompted_slices, scene.shape[0])
    side = network.image_size
    images = _empty((3, side, side))
    encoder = Pass("image encoder", (3, side, side), counted(lambda: network.pyramid(images)).macs, {"slices": slices})
    features = network.embed(images)
    seen = network.without_memory(features)
    boxed = SlicePrompts(_empty((4,)))
    decode = counted(lambda: network.decode(seen, features, boxed))
    decoded = network.decode(seen, features, boxed)
    whole = network.whole(decoded.logits)
    coarse = tuple(features.coarse.shape[1:])
    remember = counted(lambda: network.remember(features.coarse, whole, decoded.presence, prompted=False)).macs
    kept = network.remember(features.coarse, whole, decoded.presence, prompted=False)
    passes = [
        encoder,
        Pass("mask decoder", coarse, decode.macs, {"slices": slices}),
        Pass("memory encoder", coarse, remember, {"slices": slices}),
    ]
    # Early slices have fewer memories than later ones.
    held = [(min(n, network.memories), min(n, network.pointers)) for n in range(1, slices)]
    recall = {each: _recall_macs(network, features, _recalled(kept, decoded.pointer, *each)) for each in set(held)}
    if held:
        mean = round(sum(recall[each] for each in held) / len(held))
        passes.append(Pass("memory attention, mean", coarse, mean, {"followed slices": slices - 1}))
    return passes, [
        f"One lesion, prompted on one slice and followed through {slices - 1} others, every one remembered."
    ]


def _recall_macs(network: Sam2, features: Features, recalled: Recalled) -> int:
    return counted(lambda: network.recall(features, recalled)).macs


def _recalled(kept: torch.Tensor, pointer: torch.Tensor, memories: int, pointers: int) -> Recalled:
    memory = Memory(0, True, kept, pointer, 1.0, kept.new_empty(0))
    frames = [(memory, n or None) for n in range(memories)]
    return Recalled(frames, [(memory, n) for n in range(pointers)], 1)


def _cubes(model: VolumeModel, scene: Scene) -> tuple[list[Pass], list[str]]:
    network = model.network
    size = (1, *(network.image_size,) * 3)
    encoder = _pass("image encoder", network.image_encoder, size, {"cubes": 1})
    embedding = network.embed(_empty(size))
    macs = [
        _click_macs(model, embedding, clicks if model.settings.clicks == "all" else 1)
        for clicks in range(1, scene.clicks + 1)
    ]
    # A round of more clicks has more tokens; what counts is their sum, told as the mean round.
    decoder = Pass(
        "prompts and mask decoder",
        tuple(embedding.shape[1:]),
        round(sum(macs) / len(macs)),
        {"cubes": 1, "clicks": scene.clicks},
    )
    return [encoder, decoder], ["One lesion inside one cube, which is embedded once and decoded once a click."]


def _click_macs(model: VolumeModel, embedding: torch.Tensor, clicks: int) -> int:
    """One round of decoding that shows so many clicks beside the mask before."""
    points = torch.zeros(1, clicks, 3, device="meta")
    labels = torch.ones(1, clicks, dtype=torch.int64, device="meta")
    prompts = VolumePrompts(points, labels, _empty((1, *(model.fine,) * 3)))
    return counted(lambda: model.network.decode(embedding, prompts)).macs


def _pass(part: str, network: nn.Module, size: tuple[int, ...], factors: dict[str, int]) -> Pass:
    return Pass(part, size, count_macs(network, _empty(size)), factors)


def _empty(size: tuple[int, ...]) -> torch.Tensor:
    """A batch of one without memory."""
    return torch.zeros(1, *size, device="meta")


def _one_click(axes: int) -> SlicePrompts:
    return SlicePrompts(
        None, torch.zeros(1, 1, axes, device="meta"), torch.ones(1, 1, dtype=torch.int64, device="meta")
    )


def _without_memory(info: ModelInfo, build: Any, options: dict[str, Any]) -> Model:
    """A model whose tensors have shapes only."""
    chosen = {**info.counted_with, **options}
    if info.weights:
        chosen.setdefault("random_weights", True)
    try:
        with torch.device("meta"):
            model: Model = build(info.variant or None, **chosen)
    except RuntimeError:  # MONAI's Swin UNETR looks at numbers while it is made
        model = build(info.variant or None, **chosen)
    if isinstance(model, NeuralModel):
        model.network.to("meta")
    return model


def every_model() -> list[str]:
    """Full names of all variants of the shelf."""
    infos = itertools.chain.from_iterable(registry.load("models", name).INFOS for name in registry.names("models"))
    return [info.full_name for info in infos]
