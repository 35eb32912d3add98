"""`oncoseg convert`: one image or mask from one format, or grid, to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import in_mm, say

if TYPE_CHECKING:
    from oncoseg.volume import Volume


def convert(
    source: Annotated[Path, typer.Argument(help="NIfTI, NRRD, a DICOM series folder, an RTSTRUCT or a DICOM-SEG.")],
    out: Annotated[Path, typer.Argument(help="Where to write: .nii.gz, .nii or .nrrd.")],
    image: Annotated[Path | None, typer.Option(help="The image an RTSTRUCT or DICOM-SEG was drawn on.")] = None,
    roi: Annotated[str | None, typer.Option(help="ROI name or pattern in an RTSTRUCT or DICOM-SEG.")] = None,
    like: Annotated[Path | None, typer.Option(help="Resample onto the grid of this image.")] = None,
    spacing: Annotated[str | None, typer.Option(help="Resample to x,y,z mm, e.g. 1,1,3.")] = None,
    mask: Annotated[bool, typer.Option("--mask", help="SOURCE is a mask: interpolate as such.")] = False,
) -> None:
    """Convert between formats and grids; contours and segments become masks on the grid of their image."""
    from oncoseg.errors import InputError
    from oncoseg.io.images import read_image, read_labels, require_writable, write_volume

    require_writable(out)
    if roi is not None and image is None:
        raise InputError(f"--roi '{roi}' needs --image: the image that the RTSTRUCT or DICOM-SEG was drawn on.")
    if image is not None:
        volume, mask = _drawn(source, image, roi), True
    else:
        volume = read_labels(source) if mask else read_image(source)
    if like is not None:
        volume = _resampled_like(volume, read_image(like), mask)
    if spacing is not None:
        volume = _resampled(volume, spacing, mask)
    write_volume(out, volume)
    say(f"wrote {out}: {volume.shape} (slice, row, column), spacing {in_mm(volume)} mm")


def _drawn(source: Path, image: Path, roi: str | None) -> Volume:
    from oncoseg.errors import InputError
    from oncoseg.io.images import read_drawn

    rois = read_drawn(source, image, pattern=roi)
    if len(rois) != 1:
        raise InputError(f"{source} holds the ROIs {', '.join(rois)}: choose one with --roi NAME.")
    name, volume = next(iter(rois.items()))
    say(f"{name}: {volume.voxels.sum() * volume.voxel_volume_mm3 / 1000:.1f} mL")
    return volume


def _resampled_like(volume: Volume, grid: Volume, mask: bool) -> Volume:
    from oncoseg.preprocess.resample import resample_like

    return resample_like(volume, grid, order=0 if mask else 3)


def _resampled(volume: Volume, text: str, mask: bool) -> Volume:
    from oncoseg.errors import InputError
    from oncoseg.preprocess.resample import resample

    try:
        column, row, slice_spacing = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--spacing '{text}' must be three numbers x,y,z in mm, e.g. 1,1,3.") from error
    return resample(volume, spacing=(slice_spacing, row, column), order=0 if mask else 3)
