import subprocess
import sys

import pytest
import torch

from oncoseg.errors import ConfigError
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam_vit import SIZES, VitEncoder, VitSize, sam_vit, sized

#: Segment Anything's own code, counted; the whole SAM is 4,064,560 larger (prompt encoder and mask decoder).
PUBLISHED = {"b": 89_670_912, "l": 308_278_272, "h": 637_026_048}
SMALL = VitSize(48, 3, 4, (1,), window=3)


@pytest.mark.parametrize("vit", "blh")
def test_has_the_parameters_of_the_paper(vit):
    with torch.device("meta"):
        network = sam_vit(SIZES[vit])
    assert sum(p.numel() for p in network.image_encoder.parameters()) == PUBLISHED[vit]
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[vit] + 6_220 + 4_058_340


def test_sam_med2ds_256_pixels_have_fewer_positions():
    with torch.device("meta"):
        encoder = VitEncoder(SIZES["b"], image_size=256)
    assert sum(p.numel() for p in encoder.parameters()) == 86_672_640


def randomised(network):
    """No tensor of zeros, so that none can be forgotten unnoticed."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_answers_as_transformers_own_sam():
    """The encoder, and boxes, clicks and masks through the whole network, against `SamModel` with equal weights."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    ours = randomised(sam_vit(SMALL, image_size=64))
    vision = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "mlp_dim": 192,
        "image_size": 64,
        "window_size": 3,
        "global_attn_indexes": [1],
    }
    config = SamConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": 64},
        mask_decoder_config={"layer_norm_eps": 1e-5},
        attn_implementation="eager",
    )
    theirs = SamModel(config).eval()
    state = {k.replace("image_encoder.", "vision_encoder.", 1): v for k, v in ours.state_dict().items()}
    position = state["prompt_encoder.shared_embedding.positional_embedding"]
    theirs.load_state_dict({**state, "shared_image_embedding.positional_embedding": position}, strict=True)
    images, boxes = torch.randn(2, 3, 64, 64), torch.tensor([[3.0, 5, 40, 50], [10.0, 0, 63, 33]])
    points, labels = torch.tensor([[[9.0, 30]], [[40.0, 8]]]), torch.ones(2, 1, dtype=torch.int64)
    masks = torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        embedding = ours.embed(images)
        torch.testing.assert_close(embedding, theirs.get_image_embeddings(images), atol=2e-5, rtol=1e-4)
        for prompts in (SlicePrompts(boxes), SlicePrompts(None, points, labels, masks)):
            answer = ours.decode(embedding, prompts, multimask=True)
            expected = theirs(
                pixel_values=images,
                input_boxes=None if prompts.boxes is None else boxes[:, None],
                input_points=None if prompts.points is None else points[:, None],
                input_labels=None if prompts.labels is None else labels[:, None],
                input_masks=prompts.masks,
                multimask_output=True,
            )
            torch.testing.assert_close(answer.logits, expected.pred_masks[:, 0], atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(answer.quality, expected.iou_scores[:, 0], atol=1e-4, rtol=1e-3)


def test_a_smaller_depth_keeps_a_global_last_layer():
    assert sized("b") == SIZES["b"]
    assert sized("b", embed_dim=32, depth=2, heads=2) == VitSize(32, 2, 2, (1,))
    assert sized("b", depth=8).global_blocks == (1, 4, 7)
    assert sized("l", depth=12).global_blocks == (5, 11)


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="multiple of heads"):
        sized("b", embed_dim=100)
    with pytest.raises(ConfigError, match="image_size 100"):
        VitEncoder(SMALL, image_size=100)


def test_importing_the_file_does_not_import_transformers():
    command = "import sys, oncoseg.nn.sam_vit; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
