"""M-SAM's room: the ablation's rows, files to begin from, and refinement both ways."""

import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.models import m_sam, sam_med3d
from oncoseg.prompt import Click
from oncoseg.volume import Volume

SMALL = m_sam.RECIPES["smoke"].options


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image():
    return Volume.from_spacing(np.random.default_rng(0).integers(-900, 300, (20, 40, 40)), (4.0, 3.0, 3.0))


def learning(model):
    parameters = list(model.network.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@pytest.mark.parametrize(
    ("variant", "options", "percent"),
    [
        ("paper", {}, 21.41),
        ("without_mea", {}, 8.09),
        ("everything", {}, 100.0),
        ("without_mea", {"rank": 0, "trained": "nothing"}, 0.0),
    ],
)
def test_the_rows_of_the_ablation_learn_the_published_share(variant, options, percent):
    """Shi et al. 2024, table 3."""
    with torch.device("meta"):
        some, whole = learning(m_sam.build(variant, **options))
    assert round(100 * some / whole, 2) == percent


def test_the_released_rank_learns_a_little_less():
    with torch.device("meta"):
        assert learning(m_sam.build(rank=4)) == (24_876_784, 117_801_712)


def test_it_begins_from_sam_med3d_and_says_what_is_new(tmp_path):
    torch.manual_seed(4)
    base = sam_med3d.build(**sam_med3d.RECIPES["smoke"].options).network.state_dict()
    path = tmp_path / "sam_med3d_turbo.pth"
    torch.save({"model_state_dict": base}, path)
    begun = m_sam.build("without_mea", weights=path, **SMALL)
    assert any("begin anew" in sentence for sentence in begun.told)
    # Low-rank changes begin as zeros and without the adapter nothing else differs.
    expected = sam_med3d.build(weights=path, **sam_med3d.RECIPES["smoke"].options).predict(image(), [Click((9, 9, 9))])
    np.testing.assert_allclose(begun.predict(image(), [Click((9, 9, 9))]).voxels, expected.voxels, atol=1e-6)
    assert m_sam.build("without_mea", weights=path, rank=0, **SMALL).told == []
    whole = m_sam.build(weights=path, **SMALL).network.state_dict()
    assert torch.equal(whole["mask_decoder.iou_token.weight"], base["mask_decoder.iou_token.weight"])


@pytest.mark.parametrize("variant", ["paper", "without_mea"])
def test_a_file_of_the_authors_training_loads_whole(variant, tmp_path):
    torch.manual_seed(4)
    state = m_sam.build(variant, **SMALL).network.state_dict()
    named = {name if name.startswith("bidatt.") else f"lora_sam.sam.{name}": t + 1 for name, t in state.items()}
    torch.save({"model_state_dict": named}, tmp_path / "trained.pth")
    loaded = m_sam.build(variant, weights=tmp_path / "trained.pth", **SMALL)
    assert loaded.told == []
    assert all(torch.equal(loaded.network.state_dict()[name], tensor + 1) for name, tensor in state.items())
    del named["lora_sam.sam.mask_decoder.iou_token.weight"]
    torch.save({"model_state_dict": named}, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"1 missing: mask_decoder.iou_token.weight"):
        m_sam.build(variant, weights=tmp_path / "less.pth", **SMALL)


def test_the_embedding_is_fed_from_round_to_round_where_the_paper_says_so():
    clicks = [Click((9, 20, 20)), Click((11, 24, 22), positive=False)]
    found = {}
    for feed in ("code", "paper"):
        torch.manual_seed(0)
        model = m_sam.build(**{**SMALL, "feed": feed})
        found[feed] = [model.predict(image(), clicks[:count]).voxels for count in (1, 2)]
    np.testing.assert_array_equal(found["code"][0], found["paper"][0])
    assert np.abs(found["code"][1] - found["paper"][1]).max() > 1e-4


@pytest.mark.parametrize("feed", ["code", "paper"])
def test_every_round_of_a_step_has_a_click_and_only_what_is_light_learns(feed):
    torch.manual_seed(0)
    model = m_sam.build(**{**SMALL, "feed": feed})
    target = torch.zeros(1, 32, 32, 32)
    target[:, 10:20, 12:20, 14:22] = 1
    assert len(list(model.rounds(torch.randn(1, 1, 32, 32, 32), target, count=4))) == 4
    assert model._without_click(11, torch.Generator()) == set()
    [(_, loss)] = model.losses({"image": torch.randn(1, 1, 32, 32, 32), "target": target})
    loss.backward()
    moved = {name for name, p in model.network.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("bidatt.") for name in moved)
    assert all("linear_" in name for name in moved if name.startswith("image_encoder."))
