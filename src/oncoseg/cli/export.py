"""`oncoseg export`: a mask as RTSTRUCT, DICOM-SEG, structured report and reading sheet for its DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncoseg.cli.show import say

if TYPE_CHECKING:
    from oncoseg.io.structures import MadeBy, Structure
    from oncoseg.volume import Volume

#: Name of a tumour that nobody named.
DEFAULT_NAME = "GTV"


def export(
    mask: Annotated[Path, typer.Argument(help="NIfTI or NRRD: a mask, labels, or probabilities in [0, 1].")],
    reference: Annotated[Path, typer.Option(help="Folder of the DICOM series that the mask was drawn on.")],
    rtstruct: Annotated[Path | None, typer.Option(help="RTSTRUCT to write.")] = None,
    seg: Annotated[Path | None, typer.Option(help="DICOM-SEG to write; fractional from probabilities.")] = None,
    sr: Annotated[Path | None, typer.Option(help="Structured report (TID 1500) to write.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Reading sheet to write: .pdf or .html.")] = None,
    add_to: Annotated[Path | None, typer.Option(help="RTSTRUCT whose ROIs are kept in the new one; only read.")] = None,
    roi: Annotated[
        list[str] | None, typer.Option(help="Name of the ROI, or NAME=LABEL for one of several. Repeatable.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="Interpreted type of all ROIs: GTV, ORGAN ... Default: by their names.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Body site that is coded: lung, liver ... Default: unknown.")] = None,
    lungs: Annotated[
        Path | None, typer.Option(help="Labels of `oncoseg lungs`, for --site lung. Default: found in the CT.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Probability above which a voxel is inside.")
    ] = 0.5,
    model: Annotated[str | None, typer.Option(help="What drew the mask; goes into every object.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights: their SHA-256 goes into every object.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSON file of its prompts: goes into every object.")] = None,
    manual: Annotated[bool, typer.Option("--manual", help="People drew the mask.")] = False,
    smooth: Annotated[float, typer.Option(help="Smooth contours, mm. The Dice it costs is said.")] = 0.0,
    thin: Annotated[float, typer.Option(help="Leave out points within so many mm. The Dice it costs is said.")] = 0.0,
    label_map: Annotated[
        bool, typer.Option("--label-map", help="SEG as a label map: smaller, few readers know it.")
    ] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Write structures without a voxel.")] = False,
    deidentified: Annotated[
        Path | None,
        typer.Option(help="Key of oncoseg deidentify: the files are de-identified by it."),
    ] = None,
) -> None:
    """Write a mask for the clinic: contours, segments, measurements. Research use; always UNAPPROVED.

    All files are written, or none; never over an input.
    """
    from oncoseg.cli.clinical import Choices, Targets, write_clinical
    from oncoseg.errors import InputError
    from oncoseg.io.contours import Shaping
    from oncoseg.io.dicom_reference import open_reference
    from oncoseg.io.images import read_image
    from oncoseg.io.structures import onto_grid

    targets = Targets(rtstruct, seg, sr, sheet)
    if not targets.files:
        raise InputError("Say what to write: --rtstruct, --seg, --sr or --sheet, each with the name of a file.")
    if add_to is not None and rtstruct is None:
        raise InputError("--add-to needs --rtstruct: the new file for the old and the new ROIs.")
    choices = Choices(add_to, Shaping(smooth, thin), site, label_map, lungs, allow_empty, deidentified)
    if lungs is not None and choices.site != "lung":
        raise InputError("--lungs tells where in the lungs lesions are: give --site lung too.")
    drawn = read_image(mask)
    image = open_reference(reference, fits=drawn)
    given = [path for path in (mask, add_to, lungs, weights, prompts) if path is not None]
    targets.require_writable([*given, *image.files])
    volume = onto_grid(drawn, image.grid, f"the mask {mask} and the series in {reference}")
    structures = _structures(volume, _wanted(roi or []), kind, threshold=threshold, source=mask)
    write_clinical(
        structures, image, _made_by(model, weights, prompts, manual=manual), targets=targets, choices=choices
    )


def _wanted(rois: Sequence[str]) -> list[tuple[str, int | None]]:
    """Name and label of each `--roi`."""
    found: list[tuple[str, int | None]] = []
    for text in rois:
        name, _, label = text.rpartition("=")
        found.append((name, int(label)) if name and label.strip().isdigit() else (text, None))
    return found


def _structures(
    volume: Volume, wanted: Sequence[tuple[str, int | None]], kind: str | None, *, threshold: float, source: Path
) -> list[Structure]:
    import numpy as np

    from oncoseg.errors import InputError
    from oncoseg.io.structures import Structure, kind_of

    voxels = volume.voxels
    if voxels.dtype.kind == "f" and (voxels != np.rint(voxels)).any():
        return [_from_probabilities(volume, wanted, kind, threshold=threshold, source=source)]
    found = np.unique(voxels)
    labels = [int(v) for v in found[found != 0][:256]]
    if len(labels) > 255 or (labels and min(labels) < 0):
        raise InputError(f"{source} is an image and no mask: it holds {labels[0]}, {labels[1]} ... Give the mask.")
    if len(wanted) <= 1 and all(label is None for _, label in wanted) and len(labels) <= 1:
        wanted = [(wanted[0][0] if wanted else DEFAULT_NAME, labels[0] if labels else 1)]
    if not wanted or any(label is None for _, label in wanted):
        listed = " ".join(f"--roi NAME={label}" for label in labels[:4])
        raise InputError(f"{source} holds the labels {', '.join(map(str, labels[:8]))}: name those to write, {listed}.")
    return [
        Structure(name, volume.with_voxels(voxels == label), (kind or kind_of(name)).upper()) for name, label in wanted
    ]


def _from_probabilities(
    volume: Volume, wanted: Sequence[tuple[str, int | None]], kind: str | None, *, threshold: float, source: Path
) -> Structure:
    import numpy as np

    from oncoseg.errors import InputError
    from oncoseg.io.structures import Structure, kind_of

    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    if low < 0 or high > 1:
        raise InputError(f"{source} reaches from {low:g} to {high:g}: neither a mask nor probabilities in [0, 1].")
    if len(wanted) > 1 or any(label is not None for _, label in wanted):
        raise InputError(f"{source} holds probabilities of one structure: give one --roi NAME.")
    name = wanted[0][0] if wanted else DEFAULT_NAME
    inside = volume.with_voxels(volume.voxels > threshold)
    say(f"{source} holds probabilities: inside above {threshold:g}, the highest is {high:.3g}")
    probability = volume.with_voxels(volume.voxels.astype(np.float32))
    return Structure(name, inside, (kind or kind_of(name)).upper(), probability)


def _made_by(model: str | None, weights: Path | None, prompts: Path | None, *, manual: bool) -> MadeBy:
    from oncoseg.cli.clinical import in_brief
    from oncoseg.errors import InputError
    from oncoseg.files import read_json, require_file, sha256
    from oncoseg.io.structures import MadeBy

    if manual and (model or weights or prompts):
        raise InputError("--manual says that people drew the mask; leave --model, --weights and --prompts away.")
    facts: dict[str, Any] = {}
    if weights is not None:
        require_file(weights)
        facts["weights_sha256"] = sha256(weights)
    if prompts is not None:
        facts["prompts"] = in_brief(read_json(prompts))
    if manual:
        return MadeBy(generation="MANUAL")
    if model is None:
        say("note: nothing says what drew the mask; give --model NAME (with --weights and --prompts) or --manual")
        return MadeBy(**facts)
    return MadeBy(model, generation="SEMIAUTOMATIC" if prompts is not None else "AUTOMATIC", **facts)
