"""The critic of masks: is this an expert's or the network's?"""

from __future__ import annotations

from torch import Tensor, nn

#: Widths behind the flattened mask; nine numbers say how real a mask is.
WIDTHS = (512, 256, 9)


class Discriminator(nn.Module):
    """Three linear layers on a flattened mask (Yi et al. 2026, figure 1); it never sees the image.

    33,688,585 parameters at 256 px.

    Shape: (batch, s, s) in [0, 1] -> (batch, 9) in [0, 1].

    Args:
        size: s, rows and columns of a mask.
        last_leaky: the LeakyReLU of slope 0.2 also behind the third layer, as the text has it.
    """

    def __init__(self, size: int = 256, *, last_leaky: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((size * size, *WIDTHS), WIDTHS, strict=False), start=1):
            layers.append(nn.Linear(inputs, outputs))
            if number < len(WIDTHS) or last_leaky:
                layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, masks: Tensor) -> Tensor:
        """Nine probabilities a mask."""
        judged: Tensor = self.layers(masks.flatten(1))
        return judged


def mean_loss(fake: Tensor) -> Tensor:
    """1 - (1/m) sum v: what the generator pays for masks that are not taken for real ("Mean_Loss").

    Args:
        fake: the discriminator's answer (m, 9) on predicted masks; v of a mask is the mean of its nine.
    """
    return 1 - fake.mean(dim=1).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """1 - (1/m) sum r + (1/n) sum v, linear in the probabilities, between 0 (all told apart) and 2.

    Args:
        real: its answer (m, 9) on reference masks.
        fake: its answer (n, 9) on predicted ones.
    """
    return 1 - real.mean(dim=1).mean() + fake.mean(dim=1).mean()
