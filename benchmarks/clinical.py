"""Writing contours and reading many series, side by side, with the Dice that each round trip keeps.

    PYTHONPATH=peers python benchmarks/clinical.py [--rounds 5] [--series 100]

Contours: a lesion of 9 mm radius with a hole, a second one and a single voxel, and two lungs with vessels, each in a
CT of 512 x 512 pixels, written as RTSTRUCT by oncoseg and by rt-utils (`pip install --target peers --no-deps rt-utils
opencv-python-headless`). Every file is read by three readers: oncoseg's, rt-utils' and, where it is installed,
plastimatch (Debian package). `dciodvfy` (Debian package dicom3tools) counts errors.

Reading: folders of one series each, one after the other, by oncoseg, SimpleITK and pydicom.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from reading import measure, show, with_pixel_array, with_simpleitk, write_series
from rt_utils import RTStructBuilder

from oncoseg.io.dicom import choose_image, find_series, read_series
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.structures import MadeBy, Structure
from oncoseg.volume import Volume

SHAPE, SPACING = (60, 512, 512), (3.0, 0.8, 0.8)
ROI = "mask"


def with_study(folder: Path) -> None:
    """Add the elements of patient and study that a scanner writes and rt-utils asks for."""
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        for keyword in ("AccessionNumber", "StudyID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"):
            setattr(made, keyword, "")
        made.StudyDate, made.StudyTime, made.SeriesDate, made.SeriesTime = "20200101", "120000", "20200101", "120000"
        made.save_as(path)


def lesions() -> np.ndarray:
    """A hollow ball, a smaller ball and one voxel."""
    index = np.indices(SHAPE, dtype=np.float32).transpose(1, 2, 3, 0)
    away = np.linalg.norm((index - np.float32([30, 250, 200])) * np.float32(SPACING), axis=-1)
    mask = (away < 9) & (away > 3)
    mask |= np.linalg.norm((index - np.float32([12, 300, 330])) * np.float32(SPACING), axis=-1) < 5
    mask[40, 200, 300] = True
    return mask


def lungs() -> np.ndarray:
    """Two ellipsoids with 400 vessels of 1 to 4 mm as holes."""
    z, y, x = np.ogrid[-1:1:60j, -1:1:512j, -1:1:512j]
    mask = np.zeros(SHAPE, bool)
    for side in (-0.4, 0.4):
        mask |= (z / 0.9) ** 2 + (y / 0.6) ** 2 + ((x - side) / 0.3) ** 2 < 1
    rng = np.random.default_rng(0)
    row, column = np.ogrid[:512, :512]
    for _ in range(400):
        k, i, j, radius = rng.integers(3, 57), rng.integers(120, 390), rng.integers(60, 450), rng.uniform(1.2, 5)
        mask[k] &= (row - i) ** 2 + (column - j) ** 2 > radius**2
    return mask


def with_oncoseg(folder: Path, mask: Volume, target: Path) -> None:
    """As `oncoseg export` does, from the folder's name."""
    made, _ = rtstruct([Structure(ROI, mask, "GTV")], open_reference(folder), MadeBy())
    made.save_as(target, enforce_file_format=True)


def with_rt_utils(folder: Path, mask: Volume, target: Path) -> None:
    """As its README does, with its way to keep holes."""
    made = RTStructBuilder.create_new(str(folder))
    made.add_roi(mask=mask.voxels.transpose(1, 2, 0), name=ROI, use_pin_hole=True, approximate_contours=False)
    with contextlib.redirect_stdout(io.StringIO()):
        made.save(str(target))


def by_oncoseg(path: Path, folder: Path, grid: Volume) -> np.ndarray:
    return read_rois(path, grid)[ROI].voxels


def by_rt_utils(path: Path, folder: Path, grid: Volume) -> np.ndarray:
    return RTStructBuilder.create_from(str(folder), str(path)).get_roi_mask_by_name(ROI).transpose(2, 0, 1)


def by_plastimatch(path: Path, folder: Path, grid: Volume) -> np.ndarray:
    out = path.with_suffix("")
    command = ["plastimatch", "convert", "--input", path, "--referenced-ct", folder, "--output-prefix", out]
    subprocess.run([*map(str, command), "--prefix-format", "nrrd"], check=True, capture_output=True)
    return nrrd.read(str(out / f"{ROI}.nrrd"))[0].transpose(2, 1, 0) > 0


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * int((one & other).sum()) / int(one.sum() + other.sum())


def faults(path: Path) -> str:
    """Errors by dciodvfy."""
    if shutil.which("dciodvfy") is None:
        return "–"
    run = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace")
    return str(sum(line.startswith("Error") for line in run.stderr.splitlines()))


def compare_writing(folder: Path, name: str, mask: Volume, rounds: int) -> None:
    """Seconds, size and contours of both writers, and what three readers get back."""
    writers: dict[str, Callable[[Path, Volume, Path], None]] = {"oncoseg": with_oncoseg, "rt-utils": with_rt_utils}
    targets = {side: folder.parent / f"{side}-{name}.dcm" for side in writers}
    sides = {side: (lambda w=write, t=targets[side]: w(folder, mask, t)) for side, write in writers.items()}
    show(f"RTSTRUCT of {name} in {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]}, series to file", measure(sides, rounds))
    readers = {"oncoseg": by_oncoseg, "rt-utils": by_rt_utils}
    if shutil.which("plastimatch"):
        readers["plastimatch"] = by_plastimatch
    heads = " | ".join(f"Dice by {reader}" for reader in readers)
    print(f"\n| written by | contours | points | kB | errors | {heads} |")
    print(f"|---|---:|---:|---:|---:|{'---:|' * len(readers)}")
    for side, target in targets.items():
        contours = pydicom.dcmread(target).ROIContourSequence[0].ContourSequence
        points = sum(len(c.ContourData) // 3 for c in contours)
        kept = " | ".join(f"{dice(read(target, folder, mask), mask.voxels):.4f}" for read in readers.values())
        size = target.stat().st_size / 1000
        print(f"| {side} | {len(contours)} | {points} | {size:.0f} | {faults(target)} | {kept} |")


def compare_reading(folder: Path, count: int, rounds: int) -> None:
    """Many series in folders of their own, from the folders' names."""
    volume = Volume.from_spacing(
        np.random.default_rng(0).integers(-1000, 400, (40, 128, 128)).astype(np.int16), SPACING
    )
    folders = [folder / f"{n:03d}" for n in range(count)]
    for place in folders:
        place.mkdir()
        write_series(place, volume)
    files = {place: list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place))) for place in folders}

    def ours() -> None:
        for place in folders:
            read_series(choose_image(find_series(place), place))

    def simpleitk() -> None:
        for place in folders:
            with_simpleitk(list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place))))

    def by_pydicom() -> None:
        for place in folders:
            with_pixel_array(files[place])

    sides = {
        "oncoseg find_series + read_series": ours,
        "SimpleITK GetGDCMSeriesFileNames + ImageSeriesReader": simpleitk,
        "pydicom pixel_array, stacked, HU (order known)": by_pydicom,
    }
    seconds = measure(sides, rounds)
    show(f"{count} series of 40 x 128 x 128", seconds)
    print(f"\n{count / statistics.median(seconds['oncoseg find_series + read_series']):.0f} series a second by oncoseg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--series", type=int, default=100)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    names = ("numpy", "pydicom", "rt-utils", "SimpleITK", "scikit-image")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in names) + f", {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "ct"
        folder.mkdir()
        write_series(folder, Volume.from_spacing(np.zeros(SHAPE, np.int16), SPACING))
        with_study(folder)
        grid = open_reference(folder).grid
        for name, mask in (("lesions", lesions()), ("lungs", lungs())):
            compare_writing(folder, name, grid.with_voxels(mask), options.rounds)
    with tempfile.TemporaryDirectory() as root:
        compare_reading(Path(root), options.series, options.rounds)


if __name__ == "__main__":
    main()
