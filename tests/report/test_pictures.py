import base64
import io

import numpy as np
import pytest
from PIL import Image

from oncoseg.experiments.store import GallerySlice, read_run
from oncoseg.report.groups import make_groups
from oncoseg.report.pictures import LARGEST_SIDE, gallery, outline, png


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_outline_runs_along_the_voxel_edges_in_mm():
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1] = True
    assert outline(mask, (2.0, 0.5)) == "M0.5 2H1M0.5 6H1M0.5 2V6M1 2V6"


def test_outline_of_nothing_is_empty():
    assert outline(np.zeros((3, 3), bool), (1.0, 1.0)) == ""


def test_outline_of_a_mask_at_the_edge_is_closed():
    assert outline(np.ones((2, 3), bool), (1.0, 1.0)) == "M0 0H3M0 2H3M0 0V2M3 0V2"


def test_picture_shows_its_window():
    image = np.array([[-2000.0, -1000.0], [-300.0, 3000.0]], np.float32)
    nothing = np.zeros((2, 2), bool)
    assert decoded(png(GallerySlice(image, nothing, nothing, (1.0, 1.0), 0))).tolist() == [[0, 0], [128, 255]]


def test_large_pictures_are_thinned():
    image = np.zeros((600, 512), np.float32)
    shown = decoded(png(GallerySlice(image, image > 0, image > 0, (1.0, 1.0), 0)))
    assert max(shown.shape) <= LARGEST_SIDE


@pytest.fixture
def strips_of(tmp_path, write_cell):
    """`strips_of(planned, ...)` is the gallery of a run with these cells."""

    def write(*cells, **options):
        for cell in cells:
            write_cell(tmp_path, cell)
        return gallery(make_groups(read_run(tmp_path)), **options)

    return write


def test_worst_cases_come_first_then_median_and_best(strips_of, planned):
    cases = tuple(f"c{n}" for n in range(9))
    (strip,), left_out = strips_of(planned(cases=cases, pictures=True))
    assert [t.why for t in strip.tiles] == ["worst", "2nd worst", "3rd worst", "median", "best"]
    values = [t.value for t in strip.tiles]
    assert values == sorted(values)
    assert left_out == 0


def test_a_single_case_is_shown_once(strips_of, planned):
    (strip,), _ = strips_of(planned(cases=("c1",), pictures=True))
    assert [t.why for t in strip.tiles] == ["only case"]


def test_models_come_before_baselines_and_the_rest_is_counted(strips_of, planned):
    cells = [planned("ellipsoid", pictures=True), planned("unet", pictures=True), planned("sam", pictures=True)]
    strips, left_out = strips_of(*cells, most=2)
    assert [s.label for s in strips] == ["sam", "unet"]
    assert left_out == 1


def test_cells_without_pictures_have_no_strip(strips_of, planned):
    assert strips_of(planned()) == ([], 0)
