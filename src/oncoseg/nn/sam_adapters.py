"""SAM with small trained parts inside a frozen image encoder: SAM-Med2D and Med-SA.

Cheng et al., SAM-Med2D, 2023 (arXiv 2308.16184); Wu et al., Medical SAM Adapter, 2023 (arXiv 2304.12620).
The modules carry the official names, so official files load without a map of their own.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam import Sam, SlicePrompts
from oncoseg.nn.sam_vit import SIZES, VitEncoder, VitSize

PATCH = 16


class ConvolutionAdapter(nn.Module):
    """SAM-Med2D's adapter: every channel is weighted, then a map of half the size is added (its figure 4).

    Shape: (batch, h, w, width) with even h and w, to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, width // 4, bias=False), nn.ReLU(), nn.Linear(width // 4, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, tokens: Tensor) -> Tensor:
        """The normalised sum of the tokens and what the convolutions make of them."""
        weighted = tokens * self.channel(tokens.mean(dim=(1, 2)))[:, None, None]
        spatial: Tensor = self.spatial(weighted.permute(0, 3, 1, 2))
        normalised: Tensor = self.norm(tokens + spatial.permute(0, 2, 3, 1))
        return normalised


class BottleneckAdapter(nn.Module):
    """Med-SA's adapter: two linear layers with GELU between.

    Shape: (..., width) to the same.

    Args:
        width: of a token.
        hidden: between the layers.
        skip: whether the input is added to what comes out.
    """

    def __init__(self, width: int, hidden: int, *, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.D_fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.D_fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens, changed."""
        changed: Tensor = self.D_fc2(self.act(self.D_fc1(tokens)))
        return tokens + changed if self.skip else changed


class SamMed2d(Sam):
    """SAM whose mask prompts pass through a sigmoid: SAM-Med2D was taught with probabilities in place of logits."""

    def encode_prompts(self, prompts: SlicePrompts, batch: int) -> tuple[Tensor, Tensor]:
        """As in `Sam`."""
        if prompts.masks is not None:
            prompts = prompts._replace(masks=prompts.masks.sigmoid())
        return super().encode_prompts(prompts, batch)


def sam_med2d(size: VitSize = SIZES["b"], *, image_size: int = 256, adapters: bool = True) -> SamMed2d:
    """SAM-Med2D: an adapter in every layer of a frozen image encoder; prompt encoder and mask decoder learn.

    Args:
        size: of the image encoder.
        image_size: a multiple of 32, for the adapters halve the map of tokens.
        adapters: whether they are used; they exist in any case.

    Returns:
        A network with random weights: 271,241,776 parameters for ViT-B at 256 px, 267,177,216 of them in the
        encoder and of these 180,504,576 in the adapters.

    Raises:
        ConfigError: for another image size.
    """
    from oncoseg.nn.sam_layers import SamMed2dLayer

    if image_size % (2 * PATCH):
        raise ConfigError(f"image_size {image_size} must be a multiple of {2 * PATCH} for SAM-Med2D's adapters.")
    encoder = VitEncoder(
        size, image_size=image_size, layer=lambda config, window: SamMed2dLayer(config, window, adapted=adapters)
    )
    network = SamMed2d(encoder, image_size=image_size, patch_size=PATCH)
    freeze_all_but_adapters(network)
    return network


def med_sa(size: VitSize, *, hidden: int, per_layer: Literal[2, 3] = 2, stack: int = 1, image_size: int = 1024) -> Sam:
    """SAM with the adapters of Med-SA in a frozen image encoder; the mask decoder learns, the prompt encoder does not.

    Args:
        size: of the image encoder.
        hidden: width of the adapters' bottleneck.
        per_layer: 2 adapters (space, perceptron) or 3 (depth too).
        stack: slices that lie one after the other in a batch and see each other through the depth adapters; 1 for
            slices on their own, which leave the depth adapters unused.
        image_size: a multiple of 16.

    Returns:
        A network with random weights. Two adapters a layer have 13,194,240 parameters in ViT-H with `hidden` 80.

    Raises:
        ConfigError: for a stack without depth adapters, or another image size.
    """
    from oncoseg.nn.sam_layers import MedSaLayer

    if stack > 1 and per_layer < 3:
        raise ConfigError(f"A stack of {stack} slices needs the third adapter of a layer; per_layer is {per_layer}.")
    encoder = VitEncoder(
        size,
        image_size=image_size,
        layer=lambda config, window: MedSaLayer(config, window, hidden=hidden, per_layer=per_layer, stack=stack),
    )
    network = Sam(encoder, image_size=image_size, patch_size=PATCH)
    freeze_all_but_adapters(network)
    network.prompt_encoder.requires_grad_(False)
    return network


def freeze_all_but_adapters(network: Sam) -> None:
    """Keep the image encoder as it is, but for its adapters."""
    for name, parameter in network.image_encoder.named_parameters():
        parameter.requires_grad_("Adapter." in name)
