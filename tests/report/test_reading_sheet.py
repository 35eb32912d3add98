import re
from dataclasses import replace

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.io.sr_writer import Finding
from oncoseg.measurements import Location, measure
from oncoseg.report.reading_sheet import LUNG, SOFT_TISSUE, Sheet, _rows, columns, rows, write_sheet
from oncoseg.volume import Volume


def sheet(radii=(5, 3), **options):
    shape = (8, 40, 60)
    index = np.indices(shape).transpose(1, 2, 3, 0)
    mask = np.zeros(shape, bool)
    for n, radius in enumerate(radii):
        mask |= np.linalg.norm((index - np.array([4, 20, 12 + 25 * n])) * [2.0, 1.0, 1.0], axis=-1) <= radius
    grid = Volume.from_spacing(mask, (2.0, 1.0, 1.0))
    image = grid.with_voxels(np.where(mask, 40, -800).astype(np.int16))
    lesions = measure(grid, image)
    findings = [Finding("GTV<1>", lesion, len(lesions)) for lesion in lesions]
    return Sheet(image, {"GTV<1>": grid}, findings, "1.2.3.4", "Drawn by LiteMedSAM.", **options)


def test_a_line_a_lesion_with_volume_diameters_and_mean():
    large, small = rows(sheet())
    assert large[0] == "GTV<1> 1"
    assert float(large[1]) > float(small[1])
    assert large[2:5] == ("11.0", "11.0", "40 ± 0")
    assert large[5] == "4"


def test_html_is_one_file_that_says_what_it_is_for(tmp_path):
    write_sheet(tmp_path / "sheet.html", sheet())
    page = (tmp_path / "sheet.html").read_text()
    assert "Research use only" in page
    assert "1.2.3.4" in page
    assert "Drawn by LiteMedSAM." in page
    assert "GTV&lt;1&gt; 1" in page
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_pdf_has_one_page(tmp_path):
    write_sheet(tmp_path / "sheet.pdf", sheet())
    content = (tmp_path / "sheet.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1


@pytest.mark.parametrize("name", ["sheet.pdf", "sheet.html"])
def test_nothing_found_is_a_page_too(name, tmp_path):
    write_sheet(tmp_path / name, sheet(radii=()))
    assert (tmp_path / name).stat().st_size > 1000
    if name.endswith("html"):
        assert "No lesion was found." in (tmp_path / name).read_text()


def test_the_window_suits_the_site():
    assert sheet().window == SOFT_TISSUE
    assert sheet(where="lung").window == LUNG


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.pdf or \.html"):
        write_sheet(tmp_path / "sheet.docx", sheet())


def test_locations_have_a_column_where_there_are_any():
    plain = sheet()
    assert len(columns(plain)) == len(rows(plain)[0]) == 7
    first, second = plain.findings
    located = replace(first, lesion=replace(first.lesion, location=Location("left", "upper")))
    lines = rows(replace(plain, findings=[located, second]))
    assert [line[7] for line in lines] == ["left lung, upper third", "–"]
    assert columns(replace(plain, findings=[located, second]))[7] == "location"


def test_the_page_says_which_side_is_which(tmp_path):
    plain = sheet()
    write_sheet(tmp_path / "a.html", plain)
    assert "patient&#39;s right is on the left" in (tmp_path / "a.html").read_text()
    mirrored = Volume(plain.image.voxels, plain.image.affine @ np.diag([1.0, 1.0, -1.0, 1.0]))
    masks = {name: mirrored.with_voxels(mask.voxels) for name, mask in plain.masks.items()}
    write_sheet(tmp_path / "b.html", replace(plain, image=mirrored, masks=masks))
    assert "patient&#39;s right is on the right" in (tmp_path / "b.html").read_text()


def test_one_lesion_fills_three_rows_of_pictures():
    assert [len(views) for views in _rows(sheet(radii=(5,)))] == [3, 3, 3]
    assert len(_rows(sheet(radii=(5, 3)))) == 3
    assert _rows(sheet(radii=())) == []
    titles = [view.title for view in _rows(sheet(radii=(5,)))[2]]
    assert titles == ["GTV<1>, slice 6", "GTV<1>, slice 4", "GTV<1>, slice 2"]  # of slices 2 to 6
