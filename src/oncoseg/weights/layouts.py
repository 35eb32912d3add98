"""Which official layout a weights file has, and what it lacks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from oncoseg.weights import official

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Names and shapes of one kind of official file.

    Attributes:
        name: `sam-vit-b`, `sam2.1-tiny` ...
        title: in words.
        shapes: makes the shape of every tensor by official name.
        models: of the shelf that read such a file, as their weights or to start from.
    """

    name: str
    title: str
    shapes: Callable[[], official.Shapes] = field(repr=False, compare=False)
    models: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """How far a file follows a layout.

    Attributes:
        layout: the nearest.
        missing, unexpected: names of tensors.
        mismatched: tensors of another shape, with both shapes.
        official: whether the names are the authors'; otherwise they are those of the networks here, as all lists are.
    """

    layout: Layout
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    official: bool

    @property
    def exact(self) -> bool:
        """Whether nothing is missing, unexpected or of another shape."""
        return not (self.missing or self.unexpected or self.mismatched)


_VIT = official.SAM_SIZES
_SAM_MODELS = {
    "b": ("medsam", "sam_med2d", "gtv_samgan", "med_sa", "sam3d"),
    "l": ("medsam", "med_sa", "sam3d"),
    "h": ("medsam", "med_sa", "sam3d"),
}
_SAM = (
    *(
        Layout(f"sam-vit-{size}", f"SAM ViT-{size.upper()} at 1024 px", partial(official.sam, _VIT[size]), models)
        for size, models in _SAM_MODELS.items()
    ),
    Layout(
        "sam-med2d",
        "SAM ViT-B at 256 px with SAM-Med2D's adapters",
        partial(official.sam, _VIT["b"], image_size=256, adapters=True),
        ("sam_med2d", "gtv_samgan"),
    ),
    Layout("sam-med3d", "SAM-Med3D, ViT-B at 128^3", official.sam_med3d, ("sam_med3d", "m_sam")),
    Layout("mobile-sam", "SAM with TinyViT at 1024 px", partial(official.tiny_sam, 3), ("mini_sam",)),
    Layout("lite-medsam", "SAM with TinyViT at 256 px", partial(official.tiny_sam, 1), ("lite_medsam",)),
)
_SAM2_MODELS = {**{("2.0", size): ("medical_sam2",) for size in official.SAM2_SIZES}, ("2.1", "tiny"): ("medsam2",)}
_SAM2 = tuple(
    Layout(
        f"sam{version}-{size}".replace("_", "-").replace("sam2.0", "sam2"),
        f"SAM {version} Hiera-{size.replace('_plus', '+')}",
        partial(official.sam2, official.SAM2_SIZES[size], version),
        _SAM2_MODELS.get((version, size), ()),
    )
    for version in ("2.0", "2.1")
    for size in official.SAM2_SIZES
)
#: A file is of a layout when it has at least this share of its tensors.
_LIKE = 0.5


def layouts() -> tuple[Layout, ...]:
    """All known layouts."""
    return _SAM + _SAM2


def nearest(state: Mapping[str, Tensor]) -> Fit | None:
    """The layout that a file follows most closely.

    Args:
        state: by official names, by those of transformers' classes, or by those of the networks here.

    Returns:
        None when it has less than half of the tensors of any.
    """
    from oncoseg.weights.keymaps import is_official_sam, sam_state
    from oncoseg.weights.sam2 import is_official_sam2

    authors = is_official_sam(state) or is_official_sam2(state)
    given = state if authors or _is_sam2(state) else sam_state(state)
    held = {name: tuple(tensor.shape) for name, tensor in given.items() if name not in ("pixel_mean", "pixel_std")}
    fits = [_fit(layout, held, authors) for layout in (_SAM2 if _is_sam2(state) else _SAM)]
    best = min(fits, key=lambda fit: len(fit.missing) + len(fit.unexpected) + len(fit.mismatched))
    return best if len(best.missing) <= _LIKE * len(best.layout.shapes()) else None


def _is_sam2(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(("memory_attention.", "vision_encoder.backbone.")) for name in state)


def _fit(layout: Layout, held: official.Shapes, authors: bool) -> Fit:
    wanted = layout.shapes() if authors else _renamed(layout)
    return Fit(
        layout,
        tuple(sorted(wanted.keys() - held.keys())),
        tuple(sorted(held.keys() - wanted.keys())),
        tuple(
            f"{name} {held[name]} instead of {wanted[name]}"
            for name in sorted(wanted.keys() & held.keys())
            if held[name] != wanted[name]
        ),
        authors,
    )


def _renamed(layout: Layout) -> official.Shapes:
    """Shapes by the names of the networks here."""
    import torch

    from oncoseg.weights.keymaps import sam_state
    from oncoseg.weights.sam2 import sam2_state

    empty = {name: torch.empty(shape, device="meta") for name, shape in layout.shapes().items()}
    state = sam2_state(empty) if layout in _SAM2 else sam_state(empty)
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
