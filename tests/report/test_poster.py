"""The picture for pages and slides."""

import pytest
from PIL import Image

from oncoseg.errors import UnknownNameError
from oncoseg.report.poster import write_poster


def test_a_tile_for_each_model_of_the_data_set(full_run, tmp_path):
    import numpy as np

    target = write_poster(full_run, tmp_path / "picture.png", dataset="phantom")
    picture = np.asarray(Image.open(target).convert("RGB")).astype(int)
    assert picture.shape[1] > picture.shape[0]
    yellow = (abs(picture - (255, 210, 31)).sum(axis=2) < 60).sum()
    assert yellow > 50, "the outline of the reference is drawn"


def test_an_unknown_data_set_is_named(full_run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean: lidc_demo"):
        write_poster(full_run, tmp_path / "picture.png", dataset="lidc_dem")
    assert not (tmp_path / "picture.png").exists()
