"""Clinical objects through an archive: what was drawn comes back voxel by voxel."""

import numpy as np
import pytest

from oncoseg.io.dicom import find_series, read_image
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.seg import read_segments
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.sr_writer import Finding, structured_report
from oncoseg.io.structures import MadeBy, Structure
from oncoseg.io.together import saving, written_together
from oncoseg.measurements import measure
from oncoseg.pacs.archive import Query
from oncoseg.pacs.ledger import Ledger
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Security
from oncoseg.pacs.pulling import pull
from oncoseg.pacs.pushing import outgoing, push


@pytest.fixture
def drawn(ct, tmp_path):
    """A CT with a mask, and RTSTRUCT, SEG and SR of it."""
    folder, results = ct(8), tmp_path / "results"
    reference = open_reference(folder)
    image = reference.image()
    mask = image.with_voxels(image.voxels > 0)
    structure, made_by = Structure("GTV-1", mask, "GTV"), MadeBy("a threshold", generation="AUTOMATIC")
    seg = segmentation([structure], reference, made_by)
    lesions = measure(mask, image)
    report = structured_report(
        [Finding("GTV-1", lesion, len(lesions)) for lesion in lesions], reference, made_by, where=None, segmented=seg
    )
    made = {"rt.dcm": rtstruct([structure], reference, made_by)[0], "seg.dcm": seg, "sr.dcm": report}
    written_together({results / name: saving(dataset) for name, dataset in made.items()})
    return folder, results, mask


def test_image_contours_segments_and_report_come_back(orthanc, protocol, drawn, tmp_path, patience):
    folder, results, mask = drawn
    archive = open_archive(orthanc.peer(protocol), Security(), move_to=orthanc.move_to(protocol))
    done = push(archive, outgoing([folder, results]), Ledger(tmp_path / "out.jsonl"), patience)
    assert (done.sent, done.refused) == (11, {})
    study = find_series(folder)[0].study
    pulled = pull(archive, Query(study=study), tmp_path / "in", patience)
    assert (pulled.series, pulled.fetched, pulled.refused) == (4, 11, {})
    came = {series.modality: series for series in find_series(tmp_path / "in")}
    assert set(came) == {"CT", "RTSTRUCT", "SEG", "SR"}
    image = read_image(came["CT"].files[0])
    assert np.array_equal(image.voxels, read_image(folder).voxels)
    contoured = read_rois(came["RTSTRUCT"].files[0], image)["GTV-1"]
    segmented = read_segments(came["SEG"].files[0], image)["GTV-1"]
    assert mask.voxels.any()
    assert np.array_equal(contoured.voxels, mask.voxels)
    assert np.array_equal(segmented.voxels, mask.voxels)
