"""Fixtures every test may use: the shared data, and mock layouts of the data sets."""

import json
import shutil
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import settings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from oncoseg.errors import FetchError

# The same examples in every run: what is found by chance becomes a test of its own.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Tests marked `network` are skipped, with the reason, where what they fetch cannot be had."""
    try:
        return (yield)
    except FetchError as error:
        if item.get_closest_marker("network") is None:
            raise
        pytest.skip(str(error))


def pytest_terminal_summary(terminalreporter):
    """What validators and readers of others said of our objects, and how often."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    said = Counter(value for r in reports for name, value in getattr(r, "user_properties", ()) if name == "validated")
    if said:
        terminalreporter.section("written objects, validated and read by others")
        for line, times in sorted(said.items()):
            terminalreporter.write_line(f"{line}: {times} times")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and known answers beside the checkout; tests skip where it is absent."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder 'shared' beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch, request):
    """Tests never touch the user's cache folder, except those marked `network`."""
    if "network" not in request.keywords:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


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


@pytest.fixture
def sarcoma_root(tmp_path) -> Path:
    """CT and MR of two patients in the layout of the IBSI validation cases."""
    root, shape = tmp_path / "sts_ibsi", (8, 20, 22)
    for number, patient in enumerate(["STS_002", "STS_012"]):
        mass = ellipsoid(shape, (4, 10, 11), (2, 5, 5))
        for image in ("CT", "MR_T1"):
            write_nifti(root / patient / f"{image}_image.nii.gz", ct(shape, mass, number), (3.3, 1.0, 1.0))
            write_nifti(root / patient / f"{image}_mask.nii.gz", mass, (3.3, 1.0, 1.0))
    return root


@pytest.fixture
def brats21_root(tmp_path) -> Path:
    """Two labelled cases (0 background, labels 1, 2, 4) and one of the validation set, in the archive's folders."""
    root, shape = tmp_path / "RSNA-ASNR-MICCAI-BraTS-2021", (12, 40, 36)
    brain = ellipsoid(shape, (6, 20, 18), (5, 17, 15))
    for number, case in enumerate(["TrainingSet/UCSF-PDGM/BraTS2021_00005", "TrainingSet/new/BraTS2021_00017"]):
        centre = (6, 18 + number, 16)
        labels = 2 * ellipsoid(shape, centre, (4, 9, 8)).astype(np.uint8)
        labels[ellipsoid(shape, centre, (3, 5, 5))] = 4
        labels[ellipsoid(shape, centre, (2, 3, 3))] = 1
        _brats_case(root / f"BraTS2021_{case}", brain, labels, number)
    _brats_case(root / "BraTS2021_ValidationSet/new/BraTS2021_00001", brain, np.zeros(shape, np.uint8), 7)
    (root / "BraTS2021_ValidationSet/new/BraTS2021_00001/BraTS2021_00001_seg.nii.gz").unlink()
    (root / "BraTS2021_TrainingSet/new/BraTS2021_00017/._BraTS2021_00017_seg.nii.gz").write_bytes(b"Mac OS X")
    return root


def _brats_case(folder, brain, labels, seed):
    """Four sequences that differ in their mean, zero outside the brain, and the segmentation."""
    noise = np.random.default_rng(seed).normal(0, 5, brain.shape)
    for mean, sequence in enumerate(["flair", "t1", "t1ce", "t2"], start=1):
        voxels = np.where(brain, np.rint(200 * mean + noise), 0).astype(np.int16)
        write_nifti(folder / f"{folder.name}_{sequence}.nii.gz", voxels, (1.0, 1.0, 1.0))
    write_nifti(folder / f"{folder.name}_seg.nii.gz", labels, (1.0, 1.0, 1.0))


@pytest.fixture
def kits19_root(tmp_path) -> Path:
    """A clone with three labelled cases, one of them without its image, and one test case; the official affine."""
    root, shape, thickness, width = tmp_path / "kits19", (9, 40, 36), 3.0, 0.8
    affine = np.array([[0, 0, -width, 0], [0, -width, 0, 0], [-thickness, 0, 0, 0], [0, 0, 0, 1]])
    for number in (0, 1, 15, 210):
        folder = root / f"data/case_{number:05}"
        folder.mkdir(parents=True)
        kidney = ellipsoid(shape, (4, 20, 12), (4, 9, 7))
        tumour = ellipsoid(shape, (2, 16 + number % 3, 12), (2, 4, 4))
        values = {"imaging": ct(shape, kidney | tumour, number).astype(float), "segmentation": kidney.astype(np.uint8)}
        values["segmentation"][tumour] = 2
        for kind, voxels in values.items():
            if (number, kind) not in ((1, "imaging"), (210, "segmentation")):
                nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / f"{kind}.nii.gz")
    return root


@pytest.fixture
def lits_root(tmp_path) -> Path:
    """Two training batches, one zipped: a sound volume, one without tumour, one whose headers differ; a test volume."""
    root, shape = tmp_path / "lits", (10, 36, 40)
    for number, name in {0: "Batch 1/{}-0.nii", 32: "Batch 2/{}-32.nii.gz", 50: "Batch 2/{}-50.nii.gz"}.items():
        liver = ellipsoid(shape, (5, 18, 14), (4, 12, 10))
        labels = liver.astype(np.uint8)
        if number != 32:
            labels[ellipsoid(shape, (5, 15, 12), (2, 4, 3))] = 2
        write_nifti(root / name.format("volume"), ct(shape, liver, number), (5.0, 0.7, 0.7))
        write_nifti(root / name.format("segmentation"), labels, (1.0, 1.0, 1.0) if number == 50 else (5.0, 0.7, 0.7))
    write_nifti(root / "test/test-volume-3.nii", ct(shape, ellipsoid(shape, (5, 18, 14), (4, 12, 10)), 3))
    return root


def dicom_file(path, modality, sop_class, **elements):
    """Write a DICOM file with the given elements and whatever identifiers it still needs."""
    dataset = Dataset()
    for keyword, value in {"SOPInstanceUID": generate_uid(), "Modality": modality, **elements}.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID = sop_class
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


CT_IMAGE, RT_STRUCTURES = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3"
#: The mock CT of NSCLC-Radiomics: 12 x 64 x 64 voxels of 3 x 0.977 x 0.977 mm, first voxel at x = y = -30, z = 100 mm.
GRID = {"shape": (12, 64, 64), "pixel": 0.977, "slice": 3.0, "origin": (-30.0, -30.0, 100.0)}


class MockPatient:
    """One patient of NSCLC-Radiomics: CT, RTSTRUCT and SEG in folders whose names mean nothing."""

    def __init__(self, root, name):
        self.folder, self.name = root / name / "09-18-2008-StudyID-NA-69331", name
        self.study, self.series, self.frame = generate_uid(), generate_uid(), generate_uid()
        self.common = {"PatientID": name, "StudyInstanceUID": self.study, "FrameOfReferenceUID": self.frame}

    def ct(self, slices=range(12), copies=(), intercept=-1024):
        """Write the CT; `copies` repeats slices under new instance UIDs."""
        shape, (x, y, z) = GRID["shape"], GRID["origin"]
        tumour = ellipsoid(shape, (6, 30, 20), (3, 8, 6))
        voxels = ct(shape, tumour)
        images = []
        for number, k in enumerate([*slices, *copies]):
            images.append(
                dicom_file(
                    self.folder / f"0.000000-NA-82046/1-{len(shape) * 100 - number:03}.dcm",
                    "CT",
                    CT_IMAGE,
                    **self.common,
                    SeriesInstanceUID=self.series,
                    InstanceNumber=number + 1,
                    ImagePositionPatient=[x, y, z + GRID["slice"] * k],
                    ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                    PixelSpacing=[GRID["pixel"]] * 2,
                    SliceThickness=GRID["slice"],
                    Rows=shape[1],
                    Columns=shape[2],
                    SamplesPerPixel=1,
                    PhotometricInterpretation="MONOCHROME2",
                    BitsAllocated=16,
                    BitsStored=16,
                    HighBit=15,
                    PixelRepresentation=0,
                    RescaleSlope=1,
                    RescaleIntercept=intercept,
                    PixelData=(voxels[k] + 1024).astype("<u2").tobytes(),
                    PatientName="Mock^",
                    PatientBirthDate="",
                    PatientSex="",
                    StudyDate="20080918",
                    StudyTime="",
                    StudyID="",
                    AccessionNumber="",
                    ReferringPhysicianName="",
                    Manufacturer="CMS, Inc.",
                    SeriesNumber=1,
                )
            )
        return images

    def rtstruct(self, names=("GTV-1", "Lung-Left", "Lung-Right"), z_shift=0.0, series=None):
        """Write ROIs as 40-cornered ellipses on slices 4 to 8, the tumour first."""
        x, y, z = GRID["origin"]
        rois, contours = [], []
        for number, name in enumerate(names, start=1):
            roi, drawn = Dataset(), Dataset()
            roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, self.frame
            drawn.ReferencedROINumber, drawn.ContourSequence = number, []
            for k in range(4, 9):
                turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
                centre = (x + 20 * number * GRID["pixel"], y + 30 * GRID["pixel"])
                points = np.stack(
                    [centre[0] + 6 * np.cos(turn), centre[1] + 8 * np.sin(turn), 0 * turn + z + z_shift + 3 * k], axis=1
                )
                contour = Dataset()
                contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 40
                contour.ContourData = [f"{v:.4f}" for v in points.ravel()]
                drawn.ContourSequence.append(contour)
            rois.append(roi)
            contours.append(drawn)
        reference, study, frame = Dataset(), Dataset(), Dataset()
        reference.SeriesInstanceUID = series or self.series
        study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = self.study, [reference]
        frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = self.frame, [study]
        dicom_file(
            self.folder / "1.000000-NA-20718/1-1.dcm",
            "RTSTRUCT",
            RT_STRUCTURES,
            **self.common,
            SeriesInstanceUID=generate_uid(),
            StructureSetLabel="mock",
            ReferencedFrameOfReferenceSequence=[frame],
            StructureSetROISequence=rois,
            ROIContourSequence=contours,
        )

    def seg(self, images, masks):
        """Write name -> bool array (in the order of `images`) as one SEG whose frames run against the CT."""
        import highdicom as hd

        coded = hd.sr.CodedConcept("4147007", "SCT", "Mass")
        segments = [
            hd.seg.SegmentDescription(n, "Neoplasm, Primary", coded, coded, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
            for n in range(1, len(masks) + 1)
        ]
        for segment, name in zip(segments, masks, strict=True):
            segment.SegmentDescription = name
        segmentation = hd.seg.Segmentation(
            source_images=images[::-1],
            pixel_array=np.stack(list(masks.values()), axis=-1)[::-1].astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=generate_uid(),
            series_number=300,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="mock",
            manufacturer_model_name="mock",
            software_versions="1",
            device_serial_number="1",
        )
        target = self.folder / "300.000000-Segmentation-9.554/1-1.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        segmentation.save_as(target)


@pytest.fixture
def mock_patient(tmp_path):
    """Name -> a patient to write below `tmp_path/lung1`."""
    return lambda name: MockPatient(tmp_path / "lung1", name)


@pytest.fixture(scope="session")
def _lung1(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("published") / "lung1"
    for name in ("LUNG1-001", "LUNG1-014"):
        sound = MockPatient(root, name)
        sound.ct()
        sound.rtstruct()
    for name, rois in {
        "LUNG1-128": ("Lung-Left",),
        "LUNG1-200": ("gtv-pre-op", "Lung-Left"),
        "LUNG1-201": ("GTV-2", "GTV-3"),
    }.items():
        patient = MockPatient(root, name)
        patient.ct()
        patient.rtstruct(rois)
    shifted = MockPatient(root, "LUNG1-021")
    shifted.ct()
    shifted.rtstruct(z_shift=1.5)
    twice = MockPatient(root, "LUNG1-300")
    twice.ct(copies=[5])
    twice.rtstruct()
    gap = MockPatient(root, "LUNG1-301")
    gap.ct(slices=[k for k in range(12) if k != 7])
    gap.rtstruct()
    MockPatient(root, "LUNG1-302").ct()
    return root


@pytest.fixture
def lung1_root(_lung1, tmp_path) -> Path:
    """Two sound patients; no GTV, other grid, slice twice, slice missing, `gtv-pre-op`, several GTVs, no drawing."""
    return Path(shutil.copytree(_lung1, tmp_path / "lung1"))


@pytest.fixture(name="write_nifti")
def _write_nifti():
    """`write_nifti(path, voxels, spacing)` with an array (slice, row, column)."""
    return write_nifti


@pytest.fixture(name="ellipsoid")
def _ellipsoid():
    """`ellipsoid(shape, centre, radii)` as a bool array."""
    return ellipsoid


def _jax_names(width, units, hidden, heads, layers, mlp):
    """Name -> shape in the JAX layout of a ViT, without the position table; no `units` leaves the ResNet out."""
    attention = "MultiHeadDotProductAttention_1"
    shapes = {"cls": (1, 1, hidden), "head/kernel": (hidden, 10), "head/bias": (10,), "embedding/bias": (hidden,)}
    shapes["embedding/kernel"] = (1, 1, 16 * width, hidden) if units else (16, 16, 3, hidden)
    for layer in [f"encoderblock_{number}" for number in range(layers)]:
        size = hidden // heads
        for part in ("query", "key", "value"):
            shapes[f"Transformer/{layer}/{attention}/{part}/kernel"] = (hidden, heads, size)
            shapes[f"Transformer/{layer}/{attention}/{part}/bias"] = (heads, size)
        shapes[f"Transformer/{layer}/{attention}/out/kernel"] = (heads, size, hidden)
        shapes[f"Transformer/{layer}/{attention}/out/bias"] = (hidden,)
        for number, (one, other) in enumerate([(hidden, mlp), (mlp, hidden)]):
            shapes[f"Transformer/{layer}/MlpBlock_3/Dense_{number}/kernel"] = (one, other)
            shapes[f"Transformer/{layer}/MlpBlock_3/Dense_{number}/bias"] = (other,)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"Transformer/{layer}/{norm}/{end}": (hidden,) for end in ("scale", "bias")}
    shapes |= {f"Transformer/encoder_norm/{end}": (hidden,) for end in ("scale", "bias")}
    if units:
        shapes |= {"conv_root/kernel": (7, 7, 3, width), "gn_root/scale": (1, 1, 1, width)}
        shapes["gn_root/bias"] = (1, 1, 1, width)
    entering = width
    for block, count in enumerate(units, start=1):
        inner = width * 2 ** (block - 1)
        for unit in range(1, count + 1):
            parts = {"1": (1, entering, inner), "2": (3, inner, inner), "3": (1, inner, 4 * inner)}
            parts |= {"_proj": (1, entering, 4 * inner)} if unit == 1 else {}
            for part, (side, one, other) in parts.items():
                shapes[f"block{block}/unit{unit}/conv{part}/kernel"] = (side, side, one, other)
                for end in ("scale", "bias"):
                    shapes[f"block{block}/unit{unit}/gn{part}/{end}"] = (1, 1, 1, other)
            entering = 4 * inner
    return shapes


@pytest.fixture
def jax_vit_file():
    """`jax_vit_file(path, tokens=..., width=..., ...)` writes random weights in the JAX layout; returns its arrays."""

    def write(path, *, tokens, width, units, hidden, layers, heads, mlp, **others):
        rng = np.random.default_rng(0)
        shapes = _jax_names(width, units, hidden, heads, layers, mlp)
        shapes["Transformer/posembed_input/pos_embedding"] = (1, 1 + tokens, hidden)
        arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        np.savez(path, **arrays)
        return arrays

    return write
