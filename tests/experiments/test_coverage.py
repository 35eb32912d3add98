"""What lies outside a model's window is counted, on axial slices, for every case."""

import numpy as np

from oncoseg.experiments.coverage import Coverage
from oncoseg.volume import Volume


class Windowed:
    """Looks at columns 2 to 5."""

    def window_on(self, image):
        seen = np.zeros(image.shape, bool)
        seen[:, :, 2:5] = True
        return seen


class Free:
    """Looks everywhere."""


def reference(*spans):
    """A mask whose slice n holds one row from a to b."""
    voxels = np.zeros((len(spans) + 1, 3, 8), bool)
    for index, (first, stop) in enumerate(spans):
        voxels[index, 1, first:stop] = True
    return Volume.from_spacing(voxels, (3.0, 1.0, 1.0))


def test_slices_and_voxels_outside_are_counted_over_cases():
    coverage = Coverage()
    whole, cut = reference((2, 4)), reference((2, 5), (3, 7), (6, 8))
    assert coverage.add(Windowed(), whole, whole) is None
    sentence = coverage.add(Windowed(), cut, cut)
    assert "4 of 9 tumour voxels (44.4%) on 2 of 3 slices" in sentence
    assert coverage.told == [
        "2 of 4 slices with tumour have some of it (50.0%) outside the window, 4 of 11 tumour voxels (36.4%) lie "
        "there; all of it is scored."
    ]


def test_a_model_without_a_window_has_nothing_to_say():
    coverage, mask = Coverage(), reference((2, 4))
    assert coverage.add(Free(), mask, mask) is None
    assert coverage.told == []
