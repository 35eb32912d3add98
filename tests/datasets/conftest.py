"""Mock layouts of the data sets, a few small volumes each."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest


def write_nifti(path, voxels, spacing=(3.0, 0.977, 0.977)):
    """Array (slice, row, column) as a NIfTI file with the LPS axes of an axial CT."""
    z, y, x = spacing
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = voxels.astype(np.uint8) if voxels.dtype == bool else voxels
    nibabel.save(nibabel.Nifti1Image(stored.transpose(2, 1, 0), np.diag([-x, -y, z, 1.0])), path)


def ellipsoid(shape, centre, radii):
    index = np.indices(shape).transpose(1, 2, 3, 0)
    return (((index - centre) / radii) ** 2).sum(axis=-1) <= 1


def ct(shape, tumour, seed=0):
    noise = np.random.default_rng(seed).normal(0, 20, shape)
    return np.rint(np.where(tumour, 40, -800) + noise).astype(np.int16)


@pytest.fixture
def msd_root(tmp_path) -> Path:
    """Task06 as unpacked: 3 training cases, a side file of macOS, and one listed case whose files are missing."""
    root, shape = tmp_path / "Task06_Lung", (24, 64, 64)
    tumours = {
        "lung_001": ellipsoid(shape, (12, 30, 30), (4, 8, 6)),
        "lung_004": ellipsoid(shape, (6, 20, 20), (3, 5, 5)) | ellipsoid(shape, (18, 45, 40), (3, 6, 4)),
        "lung_009": ellipsoid(shape, (0, 32, 63), (5, 9, 9)),
    }
    for number, (case, tumour) in enumerate(tumours.items()):
        write_nifti(root / f"imagesTr/{case}.nii.gz", ct(shape, tumour, number))
        write_nifti(root / f"labelsTr/{case}.nii.gz", tumour)
    write_nifti(root / "imagesTs/lung_002.nii.gz", ct(shape, tumours["lung_001"], 9))
    for folder in ("imagesTr", "labelsTr"):
        (root / folder / "._lung_001.nii.gz").write_bytes(b"Mac OS X")
    listed = ["lung_009", "lung_001", "lung_004", "lung_053"]
    described = {
        "name": "Lung",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "cancer"},
        "numTraining": 4,
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in listed],
        "test": ["./imagesTs/lung_002.nii.gz"],
    }
    described["training"].insert(0, {"image": "./imagesTr/._lung_001.nii.gz", "label": "./labelsTr/._lung_001.nii.gz"})
    (root / "dataset.json").write_text(json.dumps(described))
    return root


@pytest.fixture
def nnunet_root(tmp_path) -> Path:
    """Two patients with three cases, two channels, labels pancreas and cancer and a region of both."""
    root, shape = tmp_path / "Dataset007_Pancreas", (10, 32, 32)
    for number, case in enumerate(["P1_a", "P1_b", "P2_a"]):
        organ = ellipsoid(shape, (5, 16, 16), (4, 10, 10))
        tumour = ellipsoid(shape, (5, 14, 14 + number), (2, 4, 4))
        write_nifti(root / f"imagesTr/{case}_0000.nii.gz", ct(shape, organ, number))
        write_nifti(root / f"imagesTr/{case}_0001.nii.gz", np.full(shape, number, np.int16))
        write_nifti(root / f"labelsTr/{case}.nii.gz", organ.astype(np.uint8) + tumour)
    described = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "whole pancreas": [1, 2], "cancer": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described))
    return root


@pytest.fixture
def folder_root(tmp_path) -> Path:
    """images/ and masks/ with three pairs of two patients."""
    root, shape = tmp_path / "hospital", (8, 24, 24)
    for number, case in enumerate(["A1_pre", "A1_post", "B2_pre"]):
        tumour = ellipsoid(shape, (4, 10 + number, 12), (2, 5, 4))
        write_nifti(root / f"images/{case}.nii.gz", ct(shape, tumour, number))
        write_nifti(root / f"masks/{case}.nii.gz", tumour)
    (root / "images/notes.txt").write_text("not an image")
    return root


@pytest.fixture
def nodules_root(tmp_path) -> Path:
    """Three crops of two patients in the layout of the published nodule crops, nodule in the middle."""
    root, shape = tmp_path / "lidc_voi", (5, 30, 28)
    for number, case in enumerate(["LIDC-IDRI-0001_R_1", "LIDC-IDRI-0004_R_1", "LIDC-IDRI-0004_R_12"]):
        nodule = ellipsoid(shape, (2, 14.5, 13.5), (3, 6, 6))
        write_nifti(root / f"image/{case}.nii.gz", ct(shape, nodule, number), (2.0, 0.7, 0.7))
        write_nifti(root / f"nodule_mask/{case}.nii.gz", nodule, (2.0, 0.7, 0.7))
    return root


@pytest.fixture(name="write_nifti")
def _write_nifti():
    return write_nifti
