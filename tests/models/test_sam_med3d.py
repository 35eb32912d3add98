"""SAM-Med3D's room: official files, its options, and a click that grows into a lesion."""

import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.models import sam_med3d
from oncoseg.nn.sam3d.encoder import VolumeEncoder
from oncoseg.prompt import Click
from oncoseg.volume import Volume

SMALL = sam_med3d.RECIPES["smoke"].options


def test_an_official_file_loads_with_what_its_trainer_keeps_beside_the_tensors(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(4)
    state = sam_med3d.build(**SMALL).network.state_dict()
    path = tmp_path / "sam_med3d_turbo.pth"
    torch.save({"epoch": 3, "model_state_dict": state, "losses": [0.5, np.float64(0.25)], "best_loss": 0.25}, path)
    torch.manual_seed(5)
    loaded = sam_med3d.build(weights=path, **SMALL).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_a_file_that_does_not_fit_is_refused_with_names(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = dict(sam_med3d.build(**SMALL).network.state_dict())
    del state["image_encoder.pos_embed"]
    state["image_encoder.other"] = torch.zeros(1)
    torch.save({"model_state_dict": state}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"missing: image_encoder.pos_embed; 1 unexpected: image_encoder.other"):
        sam_med3d.build(weights=tmp_path / "wrong.pth", **SMALL)


def test_the_released_size_is_the_default():
    with torch.device("meta"):
        model = sam_med3d.build()
    assert len(model.network.state_dict()) == 324
    chosen = model.settings
    assert (chosen.image_size, chosen.spacing_mm, chosen.rounds, chosen.mask_only) == (128, 1.5, 11, True)


def test_one_step_moves_encoder_prompts_and_decoder():
    torch.manual_seed(0)
    model = sam_med3d.build(**{**SMALL, "rounds": 2, "mask_only": False})
    voxels = torch.zeros(1, 32, 32, 32)
    voxels[:, 10:20, 12:20, 14:22] = 1
    [(name, loss)] = model.losses({"image": torch.randn(1, 1, 32, 32, 32), "target": voxels})
    assert name == "network"
    loss.backward()
    moved = {n.partition(".")[0] for n, p in model.network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"image_encoder", "prompt_encoder", "mask_decoder"}


def test_a_cube_is_embedded_once_for_all_refinement_stages(monkeypatch):
    embedded = []
    forward = VolumeEncoder.forward
    monkeypatch.setattr(VolumeEncoder, "forward", lambda self, x: embedded.append(len(x)) or forward(self, x))
    model = sam_med3d.build(**{**SMALL, "rounds": 11})
    image = Volume.from_spacing(np.random.default_rng(0).integers(-900, 300, (20, 40, 40)), (4.0, 3.0, 3.0))
    model.predict(image, [Click((10, 20, 20 + n)) for n in range(5)])
    assert embedded == [1]
    target = torch.zeros(2, 32, 32, 32)
    target[:, 10:20, 12:20, 14:22] = 1
    assert len(list(model.rounds(torch.randn(2, 1, 32, 32, 32), target))) == 11
    assert embedded == [1, 2]


def test_clicks_change_the_mask_and_undo_restores_it():
    torch.manual_seed(0)
    model = sam_med3d.build(**SMALL)
    image = Volume.from_spacing(np.random.default_rng(0).integers(-900, 300, (20, 40, 40)), (4.0, 3.0, 3.0))
    session = model.session(image)
    first = session.add(Click((10, 20, 20))).voxels
    second = session.add(Click((12, 25, 20), positive=False)).voxels
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_array_equal(session.undo().voxels, first)
