"""What every network that follows an object through slices is given, and how it is taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from oncoseg.nn.sam2.sizes import SizeName, require_image_size
from oncoseg.promptable.options import require


@dataclass(frozen=True)
class VideoOptions:
    """How slices become a video, how far an object is followed, and what training clips look like.

    Attributes:
        window: `lung` (width 1500, level -160), `soft` (400, 40), `mediastinum` (250, 50), or the values (low, high)
            that become 0 and 255.
        size: of the network: `tiny`, `small`, `base_plus` or `large` as published; `smallest` is for trying out.
        image_size: side of the square that every slice is squashed to; a multiple of 32.
        gated: slices on which the network does not see the object get no mask, as published. From random weights and
            without a loss that teaches to see, nothing would be learnt.
        stability: a mask that is not sure of its border gives way to the best of three, as in SAM 2's predictor; a
            network trained with single masks only has not learnt three.
        thick_box: a box of several slices prompts its `middle` slice and ends where it may be followed to; or prompts
            `every` slice of it.
        reach_mm: furthest that an object is followed from the outermost prompted slices.
        absent_slices: slices in a row without the object after which it is not followed further.
        fresh: backwards begins with the prompted slices alone; else it still remembers what came after them.
        feed: a session shows the network its earlier mask of a slice beside the new click.
        keep_megabytes: embeddings of slices that are kept for further objects and prompts, or for the next epoch
            where the image encoder is frozen; 1024 x 1024 pixels take 17 (88 in training).
        half: keep them in half precision.
        batch: slices that are embedded at a time.
        video_length: slices of a training clip.
        random_weights: do not take the catalogue's weights, where there are such.
    """

    #: Options that say how to predict; weights do not depend on them, and a checkpoint's may be changed.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {
            "window",
            "stability",
            "thick_box",
            "reach_mm",
            "absent_slices",
            "fresh",
            "feed",
            "keep_megabytes",
            "half",
            "batch",
        }
    )

    window: Literal["lung", "soft", "mediastinum"] | tuple[float, float] = "lung"
    size: SizeName = "tiny"
    image_size: int = 1024
    gated: bool = True
    stability: bool = True
    thick_box: Literal["middle", "every"] = "middle"
    reach_mm: float = 100.0
    absent_slices: int = 3
    fresh: bool = True
    feed: bool = True
    keep_megabytes: int = 2000
    half: bool = False
    batch: int = 1
    video_length: int = 8
    random_weights: bool = False

    def __post_init__(self) -> None:
        require_image_size(self.image_size)
        require(
            self,
            {
                "window must go from a lower to a higher value": isinstance(self.window, str)
                or self.window[0] < self.window[1],
                "reach_mm must not be negative": self.reach_mm >= 0,
                "absent_slices and batch must be positive": min(self.absent_slices, self.batch) > 0,
                "keep_megabytes must not be negative": self.keep_megabytes >= 0,
                "video_length must be positive": self.video_length > 0,
            },
        )
