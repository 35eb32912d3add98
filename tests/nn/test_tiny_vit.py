import pytest
import torch

from oncoseg.nn.tiny_vit import TinyViT, WindowBlock, distance_index


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return TinyViT("lite_medsam").eval()


def test_bias_is_shared_by_pairs_of_equal_distance_in_official_order():
    index = distance_index(3)
    assert index[0].tolist() == list(range(9))
    assert torch.equal(index, index.T)
    assert index[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]


def test_state_dict_has_the_official_names_and_shapes(encoder):
    state = encoder.state_dict()
    assert len(state) == 298
    assert sum(p.numel() for p in encoder.parameters()) == 5_726_740
    assert state["patch_embed.seq.2.c.weight"].shape == (64, 32, 1, 1)
    assert state["layers.0.blocks.1.conv2.bn.running_var"].shape == (256,)
    assert state["layers.2.blocks.5.attn.attention_biases"].shape == (5, 196)
    assert state["layers.2.downsample.conv2.c.weight"].shape == (320, 1, 3, 3)
    assert state["layers.3.blocks.1.local_conv.c.weight"].shape == (320, 1, 3, 3)
    assert state["neck.3.weight"].shape == (256,)


def test_mobile_sam_differs_in_the_patch_embedding_only(encoder):
    mobile = {name: t.shape for name, t in TinyViT("mobile_sam").state_dict().items()}
    lite = {name: t.shape for name, t in encoder.state_dict().items()}
    assert mobile.keys() == lite.keys()
    differing = {name for name in lite if mobile[name] != lite[name]}
    assert differing == {"patch_embed.seq.0.c.weight", "patch_embed.seq.2.c.weight"}


@pytest.mark.parametrize(("patches", "stride"), [("lite_medsam", 4), ("mobile_sam", 16)])
def test_embeds_an_image_at_the_stride_of_its_patches(patches, stride):
    with torch.inference_mode():
        embedding = TinyViT(patches).eval()(torch.zeros(1, 3, 64, 96))
    assert embedding.shape == (1, 256, 64 // stride, 96 // stride)


def test_attention_stays_inside_its_window():
    torch.manual_seed(0)
    block = WindowBlock(width=8, heads=2, window=4).eval()
    pixels = torch.randn(1, 8, 8, 8)
    changed = pixels.clone()
    changed[:, 0, 0, 0] += 3
    with torch.inference_mode():
        before = block._attended(pixels.permute(0, 2, 3, 1))
        after = block._attended(changed.permute(0, 2, 3, 1))
    touched = (before - after).abs().amax(dim=(0, 3)) > 1e-7
    assert touched[:4, :4].all()
    assert not touched[4:].any()
    assert not touched[:, 4:].any()
