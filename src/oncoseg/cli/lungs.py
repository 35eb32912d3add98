"""`oncoseg lungs`: the lungs, or lobes, of one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import say

if TYPE_CHECKING:
    from oncoseg.preprocess.lungs import Lungs
    from oncoseg.volume import Volume


def lungs(
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, or a folder with one DICOM series.")],
    out: Annotated[Path, typer.Option(help="Where to write: .nii.gz, .nii or .nrrd, on the grid of the image.")],
    weights: Annotated[
        Path | None, typer.Option(help="Your file of lungmask, e.g. unet_r231-d5d2fc3d.pth; default: no network.")
    ] = None,
    fill: Annotated[
        Path | None, typer.Option(help="Second file, whose lungs fill what --weights misses (lobes filled by R231).")
    ] = None,
    lobes: Annotated[bool, typer.Option("--lobes", help="Write the labels of the network as they are.")] = False,
) -> None:
    """Segment the lungs of a chest CT: 1 is the patient's right lung, 2 the left. Needs no weights."""
    from oncoseg.errors import InputError
    from oncoseg.io.images import read_image, require_writable, write_volume
    from oncoseg.preprocess.lungs import lungs as classical
    from oncoseg.preprocess.lungs import reject_reason

    require_writable(out)
    if weights is None and (fill is not None or lobes):
        raise InputError("--fill and --lobes are for networks: give --weights too.")
    volume = read_image(image)
    if weights is None:
        found = classical(volume)
        labels = found.labels
    else:
        found, labels = _by_network(volume, weights, fill)
    write_volume(out, labels if lobes else found.labels)
    say(f"wrote {out}: right {found.right_ml:.0f} mL, left {found.left_ml:.0f} mL ({found.origin})")
    if (reason := reject_reason(found)) is not None:
        say(f"look at it: {reason}")


def _by_network(image: Volume, weights: Path, fill: Path | None) -> tuple[Lungs, Volume]:
    from oncoseg.inference.lungmask import load_lung_network, network_lungs_and_labels

    filling = None if fill is None else load_lung_network(fill)
    return network_lungs_and_labels(image, load_lung_network(weights), filling)
