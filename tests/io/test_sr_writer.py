import json
import subprocess

import numpy as np
import pydicom
import pytest

from oncoseg.errors import UnknownNameError
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.sr_writer import Finding, structured_report
from oncoseg.io.structures import MadeBy, Structure
from oncoseg.measurements import measure
from oncoseg.volume import Volume

MODEL = MadeBy("LiteMedSAM", "0.1", "ab" * 32, "1 box, by the user", "SEMIAUTOMATIC")


@pytest.fixture
def one_and_two(ct_grid):
    """Two ROIs in an image of 40 HU: one of one lesion, one of two."""
    index = np.indices(ct_grid.shape).transpose(1, 2, 3, 0)

    def ball(*centre, radius):
        return np.linalg.norm((index - np.array(centre)) * [2.0, 1.0, 1.0], axis=-1) <= radius

    return Volume(np.full(ct_grid.shape, 40, np.int16), ct_grid.affine), {
        "GTV": ball(4, 20, 22, radius=8),
        "nodes": ball(2, 6, 6, radius=3) | ball(6, 33, 36, radius=4),
    }


@pytest.fixture
def reported(mock, tmp_path):
    """Write a report on name -> array in an image, and the SEG of the same; returns both files."""

    def report(image, masks, *, where="lung", with_segments=True):
        mock.write_ct(tmp_path / "ct", image)
        reference = open_reference(tmp_path / "ct")
        structures = [Structure(n, image.with_voxels(m), "GTV") for n, m in masks.items()]
        segmented = segmentation(structures, reference, MODEL)
        segmented.save_as(tmp_path / "seg.dcm")
        found = {s.name: measure(s.mask, reference.image()) for s in structures}
        findings = [Finding(name, lesion, len(all_)) for name, all_ in found.items() for lesion in all_]
        made = structured_report(
            findings, reference, MODEL, where=where, segmented=segmented if with_segments else None
        )
        made.save_as(tmp_path / "sr.dcm")
        return tmp_path / "sr.dcm", tmp_path / "seg.dcm"

    return report


def groups(path):
    import highdicom

    content = highdicom.sr.srread(path).content
    return [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]


def values(group):
    return {m.name.meaning: (float(m.value), m.unit.value) for m in group.get_measurements()}


def test_every_lesion_has_its_group_of_measurements(one_and_two, reported):
    image, masks = one_and_two
    path, _ = reported(image, masks)
    found = {g.tracking_identifier: values(g) for g in groups(path)}
    assert set(found) == {"GTV", "nodes 1", "nodes 2"}
    (lesion,) = measure(image.with_voxels(masks["GTV"]), image)
    assert found["GTV"] == {
        "Volume": (pytest.approx(lesion.volume_mm3, abs=1e-3), "mm3"),
        "Long axis": (pytest.approx(lesion.long_axis.length_mm, abs=1e-3), "mm"),
        "Short axis": (pytest.approx(lesion.short_axis.length_mm, abs=1e-3), "mm"),
        "Attenuation Coefficient": (pytest.approx(40), "[hnsf'U]"),
    }


def test_a_roi_of_one_lesion_refers_to_its_segment(one_and_two, reported):
    path, segmented = reported(*one_and_two)
    named = {g.tracking_identifier: g for g in groups(path)}
    segment = pydicom.dcmread(segmented).SegmentSequence[0]
    drawn = named["GTV"].referenced_segment
    assert drawn.referenced_sop_instance_uid == pydicom.dcmread(segmented).SOPInstanceUID
    assert named["GTV"].tracking_uid == segment.TrackingUID
    assert named["nodes 1"].tracking_uid != pydicom.dcmread(segmented).SegmentSequence[1].TrackingUID


def test_without_a_segment_the_axes_are_drawn_on_their_slice(one_and_two, reported):
    image, masks = one_and_two
    path, _ = reported(image, masks, with_segments=False)
    (group,) = [g for g in groups(path) if g.tracking_identifier == "GTV"]
    (lesion,) = measure(image.with_voxels(masks["GTV"]))
    line = next(m for m in group.get_measurements() if m.name.meaning == "Long axis").referenced_coordinates[0]
    points = np.array(line.GraphicData).reshape(2, 2)[:, ::-1] - 0.5
    np.testing.assert_allclose(points, [lesion.long_axis.start, lesion.long_axis.end], atol=1e-4)


def test_the_validator_finds_no_error(one_and_two, reported, faults):
    assert faults(reported(*one_and_two)[0]) == []
    assert faults(reported(*one_and_two, with_segments=False, where=None)[0]) == []


def test_nothing_found_is_a_report_that_says_so(one_and_two, reported, faults):
    image, masks = one_and_two
    path, _ = reported(image, {"GTV": np.zeros_like(masks["GTV"])})
    assert faults(path) == []
    (group,) = groups(path)
    assert [q.value.meaning for q in group.get_qualitative_evaluations()] == ["Absent"]
    assert b"No lesion was found" in path.read_bytes()


@pytest.mark.parametrize(("where", "meaning"), [("lung", "Lung"), (None, "Unknown")])
def test_the_site_is_told_when_known_and_unknown_otherwise(where, meaning, one_and_two, reported):
    path, _ = reported(*one_and_two, where=where)
    assert {site.value.meaning for g in groups(path) for site in g.finding_sites} == {meaning}


def test_a_site_without_a_code_is_refused(one_and_two, reported):
    with pytest.raises(UnknownNameError, match="lung"):
        reported(*one_and_two, where="lnug")


def test_the_report_says_what_made_it_and_what_it_is_for(one_and_two, reported):
    path, _ = reported(*one_and_two)
    made, text = pydicom.dcmread(path), path.read_text("latin-1")
    assert made.VerificationFlag == "UNVERIFIED"
    for said in ("Research use only", "LiteMedSAM", "ab" * 32, "1 box, by the user"):
        assert said in text
    assert (made.PatientID, made.StudyInstanceUID) == ("P1", "1.2.3.2")


def test_dcmqi_reads_the_measurements(one_and_two, reported, dcmqi_tool, tmp_path):
    image, masks = one_and_two
    path, _ = reported(image, {"GTV": masks["GTV"]})
    out = tmp_path / "sr.json"
    tool = dcmqi_tool("tid1500reader")
    subprocess.run([tool, "--inputDICOM", str(path), "--outputMetadata", str(out)], check=True, capture_output=True)
    (group,) = json.loads(out.read_text())["Measurements"]
    read = {item["quantity"]["CodeMeaning"]: float(item["value"]) for item in group["measurementItems"]}
    (lesion,) = measure(image.with_voxels(masks["GTV"]), image)
    assert read["Volume"] == pytest.approx(lesion.volume_mm3, abs=1e-3)
    assert read["Attenuation Coefficient"] == pytest.approx(40)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_patients_keep_their_names_in_every_character_set(character_set, name, mock, axial, tmp_path, faults):
    mock.write_ct(tmp_path / "ct", axial, SpecificCharacterSet=character_set, PatientName=name)
    reference = open_reference(tmp_path / "ct")
    structure = Structure("GTV", axial.with_voxels(axial.voxels > 2000), "GTV")
    findings = [Finding("GTV", lesion, 2) for lesion in measure(structure.mask)[:2]]
    rtstruct([structure], reference, MODEL)[0].save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    segmentation([structure], reference, MODEL).save_as(tmp_path / "seg.dcm")
    structured_report(findings, reference, MODEL).save_as(tmp_path / "sr.dcm")
    for made in ("rt.dcm", "seg.dcm", "sr.dcm"):
        assert str(pydicom.dcmread(tmp_path / made).PatientName) == name
        assert faults(tmp_path / made) == []


def test_a_lesion_in_a_lung_has_its_side_and_height(one_and_two, mock, tmp_path, faults):
    image, masks = one_and_two
    mask = image.with_voxels(masks["GTV"])
    lungs = np.zeros(mask.shape, np.uint8)
    lungs[1:] = 2  # slices rise by 2 mm from the second on, so the lesion on slices 1 to 7 of 1 to 11 lies low
    mock.write_ct(tmp_path / "ct", image)
    reference = open_reference(tmp_path / "ct")
    (lesion,) = measure(mask, None, image.with_voxels(lungs))
    for where, sides in (("lung", {"Left"}), ("liver", set())):
        made = structured_report([Finding("GTV", lesion)], reference, MODEL, where=where)
        made.save_as(tmp_path / f"{where}.dcm")
        assert faults(tmp_path / f"{where}.dcm") == []
        (site,) = [s for g in groups(tmp_path / f"{where}.dcm") for s in g.finding_sites]
        assert {site.laterality.meaning} - {None} == sides if site.laterality else not sides
        assert (site.topographical_modifier is not None) == bool(sides)
