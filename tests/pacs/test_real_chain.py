"""A published CT from DICOM through a model with real weights into an archive and back, read by three readers."""

import json
import os
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from oncoseg.io.dicom import find_series, read_image
from oncoseg.io.images import read_mask
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.seg import read_segments
from oncoseg.io.structures import onto_grid


def _run(*arguments, folder):
    """The verb in a process of its own, as a user starts it."""
    command = "import sys; sys.argv[0] = 'oncoseg'; from oncoseg.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", command, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.network
def test_from_the_scanner_to_the_archive_and_back(
    shared, orthanc, plastimatch, dcmqi, faults, record_property, tmp_path
):
    patient = shared / "data" / "nsclc_radiomics" / "LUNG1-001"
    study = find_series(patient / "CT")[0].study
    # An archive that holds the CT, and a user who pulls it, draws a box, and sends what comes out.
    _run("push", orthanc.web, patient / "CT", folder=tmp_path)
    _run("pull", orthanc.web, "--study", study, "--modality", "CT", "--out", "in", folder=tmp_path)
    (series,) = find_series(tmp_path / "in")
    folder, image = series.files[0].parent, read_image(series.files[0])
    assert len(series.files) == 134
    drawn = next(iter((patient / "RTSTRUCT").glob("*.dcm")))
    tumour = read_rois(drawn, image)["GTV-1"]
    k, i, j = (np.flatnonzero(tumour.voxels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    box = f"{j[0] - 3},{i[0] - 3},{k[0]},{j[-1] + 4},{i[-1] + 4},{k[-1] + 1}"
    objects = [part for name in ("rtstruct", "seg", "sr") for part in (f"--{name}", f"out/{name}.dcm")]
    told = _run(
        "predict", "lite_medsam", folder, "--out", "mask.nii.gz", "--box", box, *objects, "--roi", "GTV-1",
        "--site", "lung", folder=tmp_path,
    )  # fmt: skip
    assert "left lung, middle third" in told
    mask = onto_grid(read_mask(tmp_path / "mask.nii.gz"), image, "mask and image").voxels
    overlap = 2 * np.count_nonzero(mask & tumour.voxels) / (mask.sum() + tumour.voxels.sum())
    assert overlap > 0.6  # not how good the model is: a box from the reference, one case
    _run("push", orthanc.web, "out", folder=tmp_path)
    told = _run("pull", orthanc.dimse, "--study", study, "--out", "back", folder=tmp_path)
    assert "4 series: 137 object(s) fetched" in told
    came = {s.modality: s.files[0] for s in find_series(tmp_path / "back")}
    assert set(came) == {"CT", "RTSTRUCT", "SEG", "SR"}
    found = {
        "our reader of RTSTRUCT": read_rois(came["RTSTRUCT"], image)["GTV-1"].voxels,
        "our reader of SEG": read_segments(came["SEG"], image)["GTV-1"].voxels,
        "plastimatch": plastimatch(came["RTSTRUCT"], folder)["GTV-1"],
        "dcmqi": onto_grid(dcmqi(came["SEG"])[0], image, "segment and image").voxels > 0,
    }
    assert {name: int(np.count_nonzero(voxels ^ mask)) for name, voxels in found.items()} == dict.fromkeys(found, 0)
    for modality in ("RTSTRUCT", "SEG", "SR"):
        assert faults(came[modality]) == []
        made = pydicom.dcmread(came[modality])
        assert "lite_medsam" in json.dumps(made.to_json_dict())
    record_property(
        "validated",
        f"LUNG1-001, LiteMedSAM, Orthanc and back: {mask.sum()} voxels, 0 differ for {', '.join(sorted(found))}",
    )
