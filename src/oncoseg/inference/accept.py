"""What every model checks before it looks at an image: its voxels and its prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncoseg.contracts import ModelInfo, PromptType
from oncoseg.errors import ConfigError, InputError
from oncoseg.prompt import Box, Click, MaskPrompt, Prompt, Scribble
from oncoseg.volume import Volume

_TYPES: dict[type, PromptType] = {Box: "box", Click: "click", Scribble: "scribble", MaskPrompt: "mask"}


def accept(info: ModelInfo, image: Volume, prompts: Sequence[Prompt]) -> None:
    """Raise unless a model can segment this image with these prompts.

    Args:
        info: what the model takes.
        image: must be finite numbers.
        prompts: must be of types in `info.prompts` and inside the image; at least one where the
            model takes any and cannot do without, none where it takes none.

    Raises:
        InputError: names the model, the prompt and the way out.
    """
    if image.voxels.dtype.kind not in "iuf":
        raise InputError(f"The image has voxels of type {image.voxels.dtype}; a model needs numbers (HU).")
    image.require_finite("The image")
    taken = " or ".join(info.prompts)
    if info.prompts and not prompts and not info.prompts_optional:
        raise InputError(f"{info.full_name} needs a prompt ({taken}) and got none. Give one with --{info.prompts[0]}.")
    for prompt in prompts:
        kind = _TYPES[type(prompt)]
        if kind not in info.prompts:
            way_out = f"it takes {taken}" if info.prompts else "it takes none: leave the prompts away"
            raise InputError(f"{info.full_name} takes no {kind} prompt; {way_out}.")
        prompt.require_inside(image)


def boxes(info: ModelInfo, image: Volume, prompts: Sequence[Prompt]) -> list[Box]:
    """The accepted prompts of a model that takes boxes only; raises as `accept`."""
    accept(info, image, prompts)
    return [prompt for prompt in prompts if isinstance(prompt, Box)]


def take_nothing(info: ModelInfo, weights: Path | None, options: Mapping[str, Any]) -> None:
    """Raise when a model without weights and options is given some.

    Raises:
        InputError: for a weights file.
        ConfigError: for an option.
    """
    if weights is not None:
        raise InputError(f"{info.full_name} has no weights; leave {weights} away.")
    for key in options:
        raise ConfigError(f"model {info.full_name}: unknown key '{key}'. It has no options.")
