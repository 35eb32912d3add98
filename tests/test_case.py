import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.errors import GridMismatchError, InputError, UnknownNameError
from oncoseg.volume import Volume

IMAGE = Volume.from_spacing(np.zeros((3, 4, 5), np.float32), (1, 1, 1))


def test_a_case_knows_its_masks_by_name():
    tumour = IMAGE.with_voxels(np.ones(IMAGE.shape, bool))
    case = Case("a", "p", IMAGE, {"tumour": tumour})
    assert case.mask() is tumour
    with pytest.raises(UnknownNameError, match="Did you mean: tumour"):
        case.mask("tumor")


def test_mask_on_another_grid_is_refused():
    other = Volume.from_spacing(np.zeros(IMAGE.shape, bool), (2, 1, 1))
    with pytest.raises(GridMismatchError, match="case a: image and mask 'tumour'"):
        Case("a", "p", IMAGE, {"tumour": other})


def test_mask_of_numbers_is_refused():
    with pytest.raises(InputError, match="boolean"):
        Case("a", "p", IMAGE, {"tumour": IMAGE})


def test_masks_and_facts_cannot_be_changed_afterwards():
    case = Case("a", "p", IMAGE, facts={"modality": "CT"})
    with pytest.raises(TypeError):
        case.facts["modality"] = "MR"  # type: ignore[index]
