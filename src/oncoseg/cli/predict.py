"""`oncoseg predict`: segment one image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import in_mm, say

if TYPE_CHECKING:
    from oncoseg.contracts import Model
    from oncoseg.io.dicom import Series
    from oncoseg.prompt import Prompt
    from oncoseg.volume import Volume


def predict(
    model: Annotated[str, typer.Argument(help="A name from `oncoseg models`, or a checkpoint of `oncoseg train`.")],
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, or a folder with one DICOM series.")],
    out: Annotated[Path, typer.Option(help="Where to write: .nii.gz, .nii or .nrrd, on the grid of the image.")],
    box: Annotated[
        list[str] | None,
        typer.Option(help="i0,j0,k0,i1,j1,k1: column,row,slice as Slicer shows them, half open. Repeatable."),
    ] = None,
    click: Annotated[
        list[str] | None, typer.Option(help="i,j,k with an optional ,+ (inside, default) or ,- (outside). Repeatable.")
    ] = None,
    scribble: Annotated[
        list[str] | None,
        typer.Option(help="i,j,k;i,j,k;... joined by straight lines, optional ;+ or ;- at the end. Repeatable."),
    ] = None,
    mask: Annotated[list[Path] | None, typer.Option(help="A rough mask on the grid of the image. Repeatable.")] = None,
    mm: Annotated[bool, typer.Option("--mm", help="What is typed is patient LPS mm (x,y,z), not voxels.")] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(help="JSON file of prompts: docs/reference/prompts.md. Its voxels are slice,row,column."),
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Mask to simulate a prompt from (counted and said).")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Simulator for --reference, or an automatic one: `oncoseg prompts`.")
    ] = None,
    label: Annotated[list[int] | None, typer.Option(help="Tumour label(s) in --reference. Repeatable.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write float32 probabilities.")] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="Write every structure the model knows as labels 1, 2, ... (uint8).")
    ] = False,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Probability above which a voxel is tumour.")
    ] = 0.5,
    weights: Annotated[Path | None, typer.Option(help="Your weights file; default: the catalogue's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the model, name=value. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For simulated prompts.")] = 0,
    rtstruct: Annotated[Path | None, typer.Option(help="Write an RTSTRUCT too, for an IMAGE in DICOM.")] = None,
    seg: Annotated[Path | None, typer.Option(help="Write a DICOM-SEG too; fractional with --probabilities.")] = None,
    sr: Annotated[Path | None, typer.Option(help="Write a structured report (TID 1500) too.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a reading sheet too: .pdf or .html.")] = None,
    roi: Annotated[str, typer.Option(help="Name of the ROI in these.")] = "GTV",
    site: Annotated[str | None, typer.Option(help="Body site that is coded in these: lung, liver ...")] = None,
    series: Annotated[
        str | None, typer.Option(help="Of several DICOM series in IMAGE: best (said which and why), or a series UID.")
    ] = None,
    deidentified: Annotated[
        Path | None,
        typer.Option(help="Key of oncoseg deidentify: RTSTRUCT, SEG, reports and sheet are de-identified by it."),
    ] = None,
) -> None:
    """Segment the tumour on one image. A reference is never needed; prompts come from you."""
    from oncoseg.cli.clinical import Choices, Targets, made_by_model, open_for, write_clinical
    from oncoseg.cli.settings import open_model
    from oncoseg.config import parse_settings
    from oncoseg.io.dicom import read_series
    from oncoseg.io.images import read_image, require_writable, write_volume
    from oncoseg.score import ledger_of

    require_writable(out)
    targets = Targets(rtstruct, seg, sr, sheet)
    choices = Choices(site=site, allow_empty=True, key=deidentified)
    picked = _picked(image, series)
    opened = open_for(targets, image, alone=not labels, given=[out], series=picked)
    chosen = open_model(model, weights, parse_settings(settings or []), trained=True)
    volume = read_image(image) if picked is None else read_series(picked)
    given = [*_typed(box or [], click or [], scribble or [], mm=mm, image=volume), *_masks(mask or [], volume)]
    given += _from_file(prompts, volume)
    given += _simulated(reference, prompt, label, seed, volume, image)
    say(f"{chosen.info.full_name} on {image} {volume.shape}, spacing {in_mm(volume)} mm: {ledger_of(given).label}")
    if labels:
        _write_labels(chosen, volume, given, out)
        return
    probability = chosen.predict(volume, given)
    result = probability if probabilities else probability.with_voxels(probability.voxels > threshold)
    write_volume(out, result)
    _tell(chosen)
    millilitres = float((probability.voxels > threshold).sum()) * volume.voxel_volume_mm3 / 1000
    say(f"wrote {out}: {millilitres:.2f} mL above probability {threshold:g}")
    if opened is not None:
        from oncoseg.io.structures import Structure

        inside = probability.with_voxels(probability.voxels > threshold)
        tumour = Structure(roi, inside, "GTV", probability if probabilities else None)
        made_by = made_by_model(chosen.info.full_name, model, weights, given)
        write_clinical([tumour], opened, made_by, targets=targets, choices=choices)


def _picked(image: Path, wanted: str | None) -> Series | None:
    """The series of a folder that is asked for; None when nothing is."""
    if wanted is None:
        return None
    from oncoseg.errors import InputError
    from oncoseg.io.dicom import find_series
    from oncoseg.io.series_choice import pick_series

    if not image.is_dir():
        raise InputError(f"--series chooses among the DICOM series of a folder; {image} is none.")
    picked, reason = pick_series(find_series(image), image, wanted)
    say(f"{reason}: series {picked.uid}")
    return picked


def _tell(model: Model) -> None:
    from oncoseg.contracts import Telling

    for sentence in model.told if isinstance(model, Telling) else ():
        say(sentence)


def _write_labels(model: Model, image: Volume, given: list[Prompt], out: Path) -> None:
    import numpy as np

    from oncoseg.contracts import MultiClass
    from oncoseg.errors import InputError
    from oncoseg.io.images import write_volume

    if not isinstance(model, MultiClass):
        raise InputError(f"{model.info.full_name} finds the tumour alone; leave --labels away.")
    found = model.predict_labels(image, given)
    write_volume(out, found)
    _tell(model)
    counts = np.bincount(found.voxels.ravel(), minlength=1 + len(model.classes))[1:]
    named = zip(model.classes, counts.tolist(), strict=True)
    sizes = ", ".join(
        f"{number} {name} {count * image.voxel_volume_mm3 / 1000:.2f} mL"
        for number, (name, count) in enumerate(named, start=1)
    )
    say(f"wrote {out}: {sizes}")


def _typed(boxes: list[str], clicks: list[str], scribbles: list[str], *, mm: bool, image: Volume) -> list[Prompt]:
    from oncoseg.cli.prompt_text import parse_box, parse_click, parse_scribble

    found: list[Prompt] = [parse_box(text, image, mm=mm) for text in boxes]
    found += [parse_click(text, image, mm=mm) for text in clicks]
    return found + [parse_scribble(text, image, mm=mm) for text in scribbles]


def _masks(sources: list[Path], image: Volume) -> list[Prompt]:
    from oncoseg.errors import GridMismatchError
    from oncoseg.io.images import read_mask
    from oncoseg.prompt import MaskPrompt

    made: list[Prompt] = []
    for source in sources:
        prompt = MaskPrompt(read_mask(source))
        try:
            prompt.require_inside(image)
        except GridMismatchError as error:
            raise GridMismatchError(f"--mask {source}: {error}") from error
        made.append(prompt)
    return made


def _from_file(source: Path | None, image: Volume) -> list[Prompt]:
    if source is None:
        return []
    from oncoseg.io.prompts import read_prompts

    return read_prompts(source, image)


def _simulated(
    reference: Path | None, simulator: str | None, label: list[int] | None, seed: int, image: Volume, name: Path
) -> list[Prompt]:
    from oncoseg.errors import InputError

    if reference is None and simulator is None:
        return []
    proposed = _proposed(simulator, image, seed)
    if proposed is not None:
        if reference is not None:
            raise InputError(f"{simulator} looks at the image alone; leave --reference away.")
        return proposed
    if reference is None or simulator is None:
        raise InputError(
            "--reference and --prompt go together: the mask, and the simulator that makes prompts from it. "
            "Alone, --prompt takes one that needs no mask, such as lung_box."
        )
    import numpy as np

    from oncoseg import registry
    from oncoseg.cli.masks import read_binary_mask

    mask = read_binary_mask(reference, label)
    image.require_same_grid(mask, f"image {name} and reference {reference}")
    made: list[Prompt] = registry.load("prompts", simulator).build()(mask, np.random.default_rng(seed))
    if not made:
        raise InputError(
            f"{reference} is empty, so no {simulator} can be made from it. Give --box or --click yourself."
        )
    say(f"prompts simulated from the reference: {json.dumps([str(p) for p in made[:3]])}{' ...' if made[3:] else ''}")
    return made


def _proposed(simulator: str | None, image: Volume, seed: int) -> list[Prompt] | None:
    """Prompts that are made from the image alone; None for a simulator that needs a reference."""
    if simulator is None:
        return None
    import numpy as np

    from oncoseg import registry
    from oncoseg.contracts import Proposer
    from oncoseg.errors import InputError

    if simulator == "replay":
        raise InputError("replay is for runs; here --prompts FILE.json gives recorded prompts again.")
    made = registry.load("prompts", simulator).build()
    if not isinstance(made, Proposer):
        return None
    found = made.propose(image, np.random.default_rng(seed))
    if not found:
        raise InputError(f"{simulator} found nothing to point at on this image. Give --box or --click yourself.")
    say(f"prompts found on the image: {json.dumps([str(p) for p in found[:3]])}")
    return found
