"""Reading speed, side by side: a 120-slice DICOM series and a `.nii.gz` of the same volume.

    python benchmarks/reading.py [--rounds 9]

All sides read the same warm files, in turn, within one process; the table gives the fastest round and the
median. SimpleITK is a peer: `pip install oncoseg[benchmarks]`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from isal import isal_zlib
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from oncoseg.io import nifti
from oncoseg.io.dicom import choose_image, find_series, read_files, read_series
from oncoseg.volume import Volume

SHAPE, SPACING = (120, 512, 512), (3.0, 0.8, 0.8)


def synthetic_ct() -> Volume:
    """A body of smooth tissue with 12 HU of noise in clean air: compresses about as well as a chest CT."""
    rng = np.random.default_rng(0)
    coarse = ndimage.zoom(rng.normal(0, 400, (12, 32, 32)), (10, 16, 16), order=1)
    noise = rng.normal(0, 12, SHAPE)
    row, column = np.ogrid[-1:1:512j, -1:1:512j]
    body = np.where((row / 0.7) ** 2 + (column / 0.9) ** 2 < 1, np.clip(coarse + noise, -1024, 3071), -1000)
    return Volume.from_spacing(body.astype(np.int16), SPACING)


def write_series(folder: Path, volume: Volume) -> None:
    """One file a slice in explicit little endian, unsigned with intercept -1024, shuffled names, 60 elements."""
    names = np.random.default_rng(1).permutation(len(volume.voxels))
    for k, plane in enumerate(volume.voxels):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        made = Dataset()
        made.file_meta = meta
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.Modality, made.PatientID, made.PatientName = "CT", "BENCHMARK", "BENCHMARK"
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = "1.2.3", "1.2.4", "1.2.5"
        made.InstanceNumber, made.SliceThickness = k + 1, "3"
        made.ImagePositionPatient = [0, 0, f"{volume.affine[2, 0] * k:g}"]
        made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        made.PixelSpacing = ["0.8", "0.8"]
        made.Rows, made.Columns, made.SamplesPerPixel = *plane.shape, 1
        made.PhotometricInterpretation = "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.RescaleSlope, made.RescaleIntercept = "1", "-1024"
        block = made.private_block(0x0019, "BENCHMARK", create=True)
        for offset in range(30):
            block.add_new(offset, "LO", f"private element {offset}")
        made.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        made.save_as(folder / f"{names[k]:04d}.dcm", enforce_file_format=True)


def with_simpleitk(files: list[str]) -> sitk.Image:
    """SimpleITK's series reader on a known, ordered file list."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    return reader.Execute()


def with_pixel_array(files: list[str]) -> np.ndarray:
    """What tutorials do with pydicom: pixel_array of each file, stacked, rescaled to HU."""
    slices = [pydicom.dcmread(file) for file in files]
    stored = np.stack([made.pixel_array for made in slices]).astype(np.int16)
    return stored + np.int16(slices[0].RescaleIntercept)


def only_pixel_array(files: list[str]) -> list[np.ndarray]:
    """The same without stacking and rescaling: pydicom's share alone."""
    return [pydicom.dcmread(file).pixel_array for file in files]


def medium(files: list[str]) -> np.ndarray:
    """The floor: every file's last bytes into one array, nothing understood."""
    voxels = np.empty(SHAPE, np.int16)
    for plane, file in zip(voxels, files, strict=True):
        descriptor = os.open(file, os.O_RDONLY)
        os.preadv(descriptor, [plane.reshape(-1).view(np.uint8).data], os.fstat(descriptor).st_size - plane.nbytes)
        os.close(descriptor)
    return voxels


def inflate_limit(path: Path) -> bytes:
    """The floor for `.nii.gz`: inflating alone."""
    packed = path.read_bytes()
    return isal_zlib.decompress(packed, 31, int.from_bytes(packed[-4:], "little"))


def measure(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, round by round in turn, after one unmeasured round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        for name, run in sides.items():
            began = time.perf_counter()
            result = run()
            took = time.perf_counter() - began
            del result
            if round_number:
                seconds[name].append(took)
    return seconds


def show(title: str, seconds: dict[str, list[float]]) -> None:
    """Print a Markdown table; ratios are to the first side: medians of the ratios within one round."""
    ours = next(iter(seconds.values()))
    print(f"\n{title}\n\n| way | fastest, ms | median, ms | times ours (median of rounds) |\n|---|---:|---:|---:|")
    for name, values in seconds.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(values, ours, strict=True))
        print(f"| {name} | {min(values) * 1e3:.0f} | {statistics.median(values) * 1e3:.0f} | {ratio:.2f} |")


def compare_dicom(folder: Path, volume: Volume, rounds: int) -> None:
    """Reading a known file list, and finding the files as well."""
    write_series(folder, volume)
    series = choose_image(find_series(folder), folder)
    ordered = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    paths = [Path(name) for name in ordered]
    same = (read_series(series).voxels, sitk.GetArrayFromImage(with_simpleitk(ordered)), with_pixel_array(ordered))
    assert all(np.array_equal(volume.voxels, voxels) for voxels in same)
    known: dict[str, Callable[[], object]] = {
        "oncoseg read_files (headers, order, checks, pixels)": lambda: read_files(paths),
        "oncoseg read_series (headers known from find_series)": lambda: read_series(series),
        "SimpleITK ImageSeriesReader": lambda: with_simpleitk(ordered),
        "pydicom pixel_array, stacked, HU": lambda: with_pixel_array(ordered),
        "pydicom pixel_array alone": lambda: only_pixel_array(ordered),
        "floor: bytes into an array": lambda: medium(ordered),
    }
    show("DICOM, 120 x 512 x 512, known file list", measure(known, rounds))
    whole: dict[str, Callable[[], object]] = {
        "oncoseg find_series + read_series": lambda: read_series(choose_image(find_series(folder), folder)),
        "SimpleITK GetGDCMSeriesFileNames + ImageSeriesReader": lambda: with_simpleitk(
            list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        ),
    }
    show("DICOM, 120 x 512 x 512, from the folder's name", measure(whole, rounds))


def compare_nifti(folder: Path, volume: Volume, rounds: int) -> None:
    """Reading one `.nii.gz`, compressed by zlib at its default level as most files are."""
    nifti.write(folder / "plain.nii", volume)
    path = folder / "volume.nii.gz"
    path.write_bytes(gzip.compress((folder / "plain.nii").read_bytes(), 6))
    (folder / "plain.nii").unlink()
    assert np.array_equal(nifti.read(path).voxels, volume.voxels)
    size = path.stat().st_size / 2**20
    sides: dict[str, Callable[[], object]] = {
        "oncoseg": lambda: nifti.read(path),
        "SimpleITK": lambda: sitk.ReadImage(str(path)),
        "nibabel": lambda: np.asarray(nibabel.load(path).dataobj),
        "floor: isal inflate alone": lambda: inflate_limit(path),
    }
    show(f".nii.gz, 120 x 512 x 512, {size:.0f} MiB compressed", measure(sides, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    names = ("numpy", "pydicom", "nibabel", "isal", "SimpleITK")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in names) + f", {rounds} rounds")
    volume = synthetic_ct()
    for compare in (compare_dicom, compare_nifti):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), volume, rounds)


if __name__ == "__main__":
    main()
