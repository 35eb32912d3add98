"""What every network that is prompted in volumes is given, and how it is taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from oncoseg.nn.sam3d.attention import Positions
from oncoseg.nn.sam_vit import VitSize, sized
from oncoseg.promptable.options import require

#: A network that a CPU teaches in seconds; options of the recipes `smoke`.
SMALL: Mapping[str, Any] = {
    "embed_dim": 48,
    "depth": 2,
    "heads": 4,
    "width": 48,
    "image_size": 32,
    "patch_size": 8,
    "spacing_mm": 4.0,
    "rounds": 2,
    "flips": False,
    "shift": 1,
}


@dataclass(frozen=True)
class VolumeOptions:
    """How a volume and its clicks are shown to a network, how large that is, and how it is taught.

    Attributes:
        spacing_mm: of the cubic voxels that the network sees; 0 leaves the scanner's.
        clamp: lowest and highest value that is shown, in HU; `none` for images that are not CT.
        crop: where the network looks, with a cube of `image_size` voxels. `prompt`: round the first click on an
            object, and round a further one that no cube of the object holds; `centre`: in the middle of the image;
            `lungs`: in the middle of the lung that holds the click or is nearest to it; `sliding`: round the first
            click, then wherever a mask reaches the face of a cube, half a cube further.
            Without a click: the middle of the image for `prompt` and `centre`, the middle of each lung, and for
            `sliding` cubes side by side over the whole image.
        tiles: most cubes for one object where they slide.
        clicks: which clicks of a cube are shown in a round beside the mask before: `all`, or the `newest` alone.
        keep_megabytes: embeddings that a session keeps; a cube of 128 voxels takes 0.8.
        compute: number format that cubes are embedded in, or `fastest`: what is fastest here and keeps the masks, see
            `oncoseg.promptable.computing`.
        image_size: side of the cube in voxels, a multiple of `patch_size`.
        patch_size: side of the patches of the image encoder.
        embed_dim, depth, heads: of the image encoder, in place of ViT-B's; None keeps them.
        width: channels of embeddings and prompts, a multiple of 48.
        positions: formula of the relative positions; `official` for released weights, see `oncoseg.nn.sam3d.attention`.
        rounds: clicks of one training step, one after the other, each beside the mask before it.
        mask_only: in one round behind the second and in the last one there is no click.
        descended: whether the `sum` of the losses of all rounds is descended, as published, or each `round` by itself:
            later rounds then leave the image encoder alone.
        taught_crop: what training cubes are centred on, `label`, all tumour of a case, or one `lesion`, which is then
            the target alone. Both use the reference.
        label_above: training cubes that hold at most so many voxels of label make no sample; 0 asks for none. A
            training with `redraw` then takes another case.
        shift: voxels by which training cubes are off their centre at most, along each axis.
        flips: training cubes are mirrored along each axis, half of the time each.
        wrong_above: logit from which a voxel counts as found when the next click is chosen in training.
    """

    #: Options that say how to predict; weights do not depend on them, and a checkpoint's may be changed.
    FREE: ClassVar[frozenset[str]] = frozenset({"crop", "tiles", "clicks", "keep_megabytes", "compute"})

    spacing_mm: float = 1.5
    clamp: tuple[float, float] | Literal["none"] = (-1000.0, 1000.0)
    crop: Literal["prompt", "centre", "lungs", "sliding"] = "prompt"
    tiles: int = 27
    clicks: Literal["all", "newest"] = "all"
    keep_megabytes: int = 500
    compute: Literal["float32", "bfloat16", "fastest"] = "float32"
    image_size: int = 128
    patch_size: int = 16
    embed_dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    width: int = 384
    positions: Positions = "official"
    rounds: int = 11
    mask_only: bool = True
    descended: Literal["sum", "round"] = "sum"
    taught_crop: Literal["label", "lesion"] = "label"
    label_above: int = 0
    shift: int = 0
    flips: bool = True
    wrong_above: float = 0.5

    def __post_init__(self) -> None:
        require(
            self,
            {
                "spacing_mm must not be negative": self.spacing_mm >= 0,
                "clamp must go from a lower to a higher value": isinstance(self.clamp, str)
                or self.clamp[0] < self.clamp[1],
                "tiles and rounds must be at least 1": min(self.tiles, self.rounds) >= 1,
                "keep_megabytes and label_above and shift must not be negative": min(
                    self.keep_megabytes, self.label_above, self.shift
                )
                >= 0,
                "image_size must be an even number": self.image_size % 2 == 0,
                "shift must be less than half of image_size": self.shift < self.image_size // 2,
            },
        )

    @property
    def size(self) -> VitSize:
        """Of the image encoder."""
        return sized("b", embed_dim=self.embed_dim, depth=self.depth, heads=self.heads)
