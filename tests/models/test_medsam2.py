"""MedSAM2: key slice, training clips, loss."""

import numpy as np
import pytest
import torch

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import ConfigError, InputError
from oncoseg.models import medsam2
from oncoseg.prompt import Box
from oncoseg.promptable.teaching import lesions_of
from oncoseg.volume import Volume
from oncoseg.weights import official as layouts
from oncoseg.weights.trained import write_tensors

SMALLEST = {"size": "smallest", "image_size": 64, "video_length": 4, "corrections": 2, "gated": False}


def model(**options):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return medsam2.build(**{**SMALLEST, **options})


def case():
    voxels = np.full((14, 48, 40), -800, np.int16)
    mask = np.zeros(voxels.shape, bool)
    mask[3:11, 10:30, 8:26] = True
    voxels[mask] = 40
    image = Volume.from_spacing(voxels, (3.0, 1.0, 1.0))
    return Case("one", "one", image, {TUMOUR: image.with_voxels(mask)})


def batch_of(asked, seed=0):
    sample = next(asked.samples(asked.prepare(case()), np.random.default_rng(seed)))
    return {name: torch.as_tensor(value)[None] for name, value in sample.items()}


def recorded(asked):
    """What the decoder is asked while a clip is learnt from: kinds in order."""
    kinds = []
    decode, take = asked.network.decode, asked.network.take

    def telling(seen, features, prompts=None, *, single=False):
        if single:  # inside `take`
            return decode(seen, features, prompts, single=True)
        boxes, points = (prompts.boxes, prompts.points) if prompts else (None, None)
        kinds.append(("box" if boxes is not None else "") + (f" {points.shape[1]}" if points is not None else ""))
        return decode(seen, features, prompts)

    asked.network.decode = telling
    asked.network.take = lambda features, mask: kinds.append("mask") or take(features, mask)
    return kinds


def test_the_paper_s_size():
    with torch.device("meta"):
        network = medsam2.build().network
    assert sum(p.numel() for p in network.parameters()) == 38_962_498
    assert network.image_size == 512


def test_a_3d_box_is_followed_from_its_middle_within_its_slices():
    found = model().predict(case().image, [Box((3, 10, 8), (11, 30, 26))]).voxels
    assert found.any(axis=(1, 2)).nonzero()[0].tolist() == list(range(3, 11))


def test_clips_begin_on_the_lesion_and_run_either_way():
    asked = model()
    starts = set()
    prepared = asked.prepare(case())
    for seed in range(60):
        slices = asked.slices(lesions_of(prepared)[0], prepared, np.random.default_rng(seed))
        starts.add(slices[0])
        assert slices == [min(max(slices[0] + n * (slices[1] - slices[0]), 0), 13) for n in range(4)]
        assert abs(slices[1] - slices[0]) == 1
    assert starts == set(range(3, 11))


def test_clips_begin_with_masks_without_correction_or_boxes_with_clicks():
    asked = model(prompted_share=0.0, starts=1, corrected=1)
    kinds = recorded(asked)
    [(group, _)] = list(asked.losses(batch_of(asked)))
    assert group == "network"
    assert kinds == ["mask", "", "", ""]
    asked = model(prompted_share=1.0, starts=1, corrected=1)
    kinds = recorded(asked)
    list(asked.losses(batch_of(asked)))
    assert kinds == ["box", "box 1", "box 2", "", "", ""]


def test_up_to_two_slices_are_prompted_and_corrected():
    counts = set()
    for seed in range(30):
        asked = model(prompted_share=1.0)
        kinds = recorded(asked)
        batch = batch_of(asked)
        torch.manual_seed(seed)
        list(asked.losses(batch))
        counts.add((kinds.count("box"), sum(kind.endswith(" 2") for kind in kinds)))
    assert counts == {(1, 1), (1, 2), (2, 2)}


def test_correcting_clicks_fall_on_what_is_wrong():
    asked = model(from_reference=0.0)
    logits = torch.full((1, 1, 16, 16), -9.0)
    logits[..., 4:8, 4:8] = 9
    answer = asked.network.decode(
        *(lambda f: (asked.network.without_memory(f), f))(asked.network.embed(torch.zeros(1, 3, 64, 64)))
    )._replace(logits=logits)
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[16:32, 16:48] = 1  # its right half is missing
    for seed in range(20):
        torch.manual_seed(seed)
        point, label = asked._click(answer, mask)
        column, row = point[0, 0].long().tolist()
        assert 16 <= row < 32
        assert 29 <= column < 48
        assert label.item() == 1


def test_gradients_reach_every_part():
    asked = model(prompted_share=1.0, starts=1, corrected=1)
    asked.network.train()
    [(_, loss)] = list(asked.losses(batch_of(asked)))
    loss.backward()
    for part in ("vision_encoder", "mask_decoder", "memory_attention", "memory_encoder", "object_pointer_proj"):
        gradients = [p.grad for p in getattr(asked.network, part).parameters()]
        assert any(g is not None and g.abs().max() > 0 for g in gradients), part


def test_validation_prompts_are_a_3d_box_a_lesion_or_boxes_on_every_slice():
    assert model().validation_prompts(case()) == [Box((3, 10, 8), (11, 30, 26), source="oracle")]
    every = model(thick_box="every").validation_prompts(case())
    assert [p.slices[0] for p in every] == list(range(3, 11))


def official(version):
    """Random tensors by the names and shapes of an official SAM 2 tiny."""
    shapes = layouts.sam2(layouts.SAM2_SIZES["tiny"], version)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}


def test_official_files_fill_the_whole_network():
    network, state = medsam2.build(image_size=64).network, official("2.1")
    medsam2.load_official(network, state, "the file")
    held = network.state_dict()
    for ours, theirs in {
        "vision_encoder.backbone.blocks.3.attn.qkv.weight": "image_encoder.trunk.blocks.3.attn.qkv.weight",
        "memory_encoder.projection.weight": "memory_encoder.out_proj.weight",
        "memory_attention.layers.2.self_attn.o_proj.bias": "memory_attention.layers.2.self_attn.out_proj.bias",
        "object_pointer_proj.proj_out.weight": "obj_ptr_proj.layers.2.weight",
        "memory_temporal_positional_encoding": "maskmem_tpos_enc",
    }.items():
        assert torch.equal(held[ours], state[theirs]), ours
    with pytest.raises(InputError, match="3 missing"):
        medsam2.load_official(network, official("2.0"), "the older file")


def test_files_of_sam_2_0_are_refused(tmp_path):
    state = dict(model().network.state_dict())
    del state["occlusion_spatial_embedding_parameter"]
    target = tmp_path / "older.safetensors"
    write_tensors(target, state, {})
    with pytest.raises(InputError, match="occlusion_spatial_embedding_parameter"):
        medsam2.build(weights=target, **SMALLEST)


@pytest.mark.parametrize("options", [{"starts": 5}, {"prompted_share": 1.5}, {"corrections": -1}], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        model(**options)
