"""What Medical SAM 2 adds to a network that follows objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from oncoseg.models.medical_sam2.banks import Draw
from oncoseg.nn.sam2.sizes import SizeName
from oncoseg.promptable.options import require
from oncoseg.promptable.video_options import VideoOptions


@dataclass(frozen=True)
class MedicalSam2Options(VideoOptions):
    """Memory, directions and training of Medical SAM 2.

    Attributes:
        memory: `fifo` is SAM 2's, which the released 3D code uses; `selfsort_code` the bank of the released 2D code;
            `selfsort_paper` the one that the paper describes.
        memory_size: most memories of a self-sorting bank.
        memory_draws: memories that a slice recalls under `selfsort_code`.
        memory_threshold: IoU that must be expected of a mask to be remembered under `selfsort_paper`.
        draw: how a self-sorting bank chooses: `sample` draws at random, from a seed; `heaviest` does not.
        passes: `axial` follows objects through axial slices; `three axes` through sagittal and coronal ones too, both
            ways each, and averages the three probabilities.
        taught_with: prompts of training slices: a tight `box`, or a `click` on a random pixel.
        prompt_freq: a prompt on each so many-th slice of a clip, in validation of the tumour's extent.
        clip: `consecutive` slices from a random start; or `random` slices of the tumour in any order, of which the
            first alone is prompted: the one-prompt segmentation of the 2D code.
        decoder_learns_from: the losses that move the mask decoder: those of `all` slices, as gradients add up in the
            released code, or of the `prompted` ones.
        trained: `published` moves mask decoder and memory, `all` moves everything.
    """

    FREE: ClassVar[frozenset[str]] = VideoOptions.FREE | {
        "memory",
        "memory_size",
        "memory_draws",
        "memory_threshold",
        "draw",
        "passes",
    }

    size: SizeName = "small"
    video_length: int = 2
    memory: Literal["fifo", "selfsort_code", "selfsort_paper"] = "fifo"
    memory_size: int = 16
    memory_draws: int = 4
    memory_threshold: float = 0.5
    draw: Draw = "sample"
    passes: Literal["axial", "three axes"] = "axial"
    taught_with: Literal["box", "click"] = "box"
    prompt_freq: int = 2
    clip: Literal["consecutive", "random"] = "consecutive"
    decoder_learns_from: Literal["all", "prompted"] = "all"
    trained: Literal["published", "all"] = "published"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "memory_size, memory_draws and prompt_freq must be positive": min(
                    self.memory_size, self.memory_draws, self.prompt_freq
                )
                > 0,
                "memory_threshold must be a number from 0 to 1": 0 <= self.memory_threshold <= 1,
            },
        )
