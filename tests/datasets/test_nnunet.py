import json

import numpy as np
import pytest

from oncoseg.datasets import nnunet
from oncoseg.errors import ConfigError, InputError


def test_patients_come_from_the_name_when_asked(nnunet_root):
    data = nnunet.build(root=nnunet_root, patient=r"^(P\d+)_")
    assert [tuple(e) for e in data.entries()] == [("P1_a", "P1"), ("P1_b", "P1"), ("P2_a", "P2")]


def test_reads_regions_and_the_tumour(nnunet_root):
    case = nnunet.build(root=nnunet_root).load("P1_a")
    assert set(case.masks) == {"whole_pancreas", "tumour"}
    assert (case.mask("whole_pancreas").voxels | ~case.mask().voxels).all()
    assert case.mask().voxels.sum() < case.mask("whole_pancreas").voxels.sum()


def test_the_channel_is_chosen(nnunet_root):
    assert np.unique(nnunet.build(root=nnunet_root, channel=1).load("P2_a").image.voxels).tolist() == [2]
    assert nnunet.build(root=nnunet_root).info.modality == "CT"
    with pytest.raises(ConfigError, match="channel 2 is not one of 0, 1"):
        nnunet.build(root=nnunet_root, channel=2)


def test_half_a_pair_is_listed_and_names_what_is_missing(nnunet_root):
    (nnunet_root / "labelsTr/P1_b.nii.gz").unlink()
    (nnunet_root / "imagesTr/P2_a_0000.nii.gz").unlink()
    data = nnunet.build(root=nnunet_root)
    assert len(data.entries()) == 3
    with pytest.raises(InputError, match=r"labelsTr/P1_b\.nii\.gz"):
        data.load("P1_b")
    with pytest.raises(InputError, match=r"P2_a_0000\.nii\.gz"):
        data.load("P2_a")


def test_label_values_outside_the_map_are_named(nnunet_root):
    source = nnunet_root / "dataset.json"
    labels = {"background": 0, "cancer": 2}
    source.write_text(json.dumps({**json.loads(source.read_text()), "labels": labels}))
    with pytest.raises(InputError, match=r"P1_a\.nii\.gz holds the label values \[1\]"):
        nnunet.build(root=nnunet_root).load("P1_a")


def test_the_decathlons_dataset_json_is_told_apart(nnunet_root):
    source = nnunet_root / "dataset.json"
    content = json.loads(source.read_text())
    del content["file_ending"]
    source.write_text(json.dumps(content))
    with pytest.raises(InputError, match="file_ending"):
        nnunet.build(root=nnunet_root)
