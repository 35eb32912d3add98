import gc
import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from oncoseg.errors import ConfigError, InputError
from oncoseg.inference.windows import NEVER, places, slide


def network(channels=1, outputs=3, dimensions=3, seed=0):
    """Not symmetric, and sensitive to the window's edges."""
    torch.manual_seed(seed)
    convolution = nn.Conv3d if dimensions == 3 else nn.Conv2d
    layers = [convolution(channels, 4, 3, padding=1), nn.ReLU(), convolution(4, outputs, 3, padding=1)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nnunets(net, x, window, step, mirror=()):
    """nnU-Net's inference as its paper and documentation say it, written without thought for speed or memory."""
    point = np.zeros(window)
    point[tuple(n // 2 for n in window)] = 1
    weights = gaussian_filter(point, [n / 8 for n in window], 0, mode="constant", cval=0)
    weights = torch.from_numpy(weights / weights.max())
    starts = []
    for size, n in zip(x.shape[1:], window, strict=True):
        steps = int(np.ceil((size - n) / (n * step))) + 1
        apart = (size - n) / (steps - 1) if steps > 1 else 0
        starts.append([int(np.round(apart * i)) for i in range(steps)])
    flips = [c for n in range(len(mirror) + 1) for c in itertools.combinations([m + 2 for m in mirror], n)]
    sums, counts = 0, torch.zeros(x.shape[1:], dtype=torch.float64)
    for start in itertools.product(*starts):
        region = tuple(slice(s, s + n) for s, n in zip(start, window, strict=True))
        cut = x[(slice(None), *region)][None]
        logits = sum(net(cut.flip(f)).flip(f) for f in flips)[0].double() / len(flips)
        if isinstance(sums, int):
            sums = torch.zeros(len(logits), *x.shape[1:], dtype=torch.float64)
        sums[(slice(None), *region)] += logits * weights
        counts[region] += weights
    return (sums / counts).float()


SIZES = [
    ((33, 40, 29), (16, 24, 12), 0.5),
    ((24, 24, 24), (24, 16, 12), 0.25),
    ((17, 31, 20), (8, 9, 7), 0.7),
]


@pytest.mark.parametrize(("space", "window", "overlap"), [*SIZES, ((9, 31, 5), (16, 12, 8), 0.5)])
@pytest.mark.parametrize(("weighting", "mode"), [("gaussian", "gaussian"), ("uniform", "constant")])
def test_gives_what_monai_gives(space, window, overlap, weighting, mode):
    from monai.inferers import sliding_window_inference

    x, net = image(2, *space), network(channels=2)
    expected = sliding_window_inference(x[None], window, 2, net, overlap=overlap, mode=mode)[0]
    found = slide(net, x, window=window, overlap=overlap, weighting=weighting, convention="monai")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("space", "window", "overlap"), SIZES)
@pytest.mark.parametrize("mirror", [(), (1,), (0, 1, 2)])
def test_gives_what_nnunets_formulas_give(space, window, overlap, mirror):
    x, net = image(1, *space), network()
    found = slide(net, x, window=window, overlap=overlap, mirror=mirror)
    torch.testing.assert_close(found, nnunets(net, x, window, 1 - overlap, mirror), atol=1e-4, rtol=0)


def test_windows_are_where_nnunet_says():
    # The example in the comment of its `compute_steps_for_sliding_window`.
    assert places(110, 64, 0.5) == [0, 23, 46]
    assert places(110, 64, 0.5, "monai") == [0, 32, 46]
    assert places(64, 64, 0.5) == places(64, 64, 0.5, "monai") == [0]


@pytest.mark.parametrize("batch", [2, 5, 100])
def test_the_batch_does_not_matter(batch):
    x, net = image(1, 20, 30, 25), network()
    one = slide(net, x, window=(8, 16, 12), mirror=(2,))
    torch.testing.assert_close(slide(net, x, window=(8, 16, 12), mirror=(2,), batch=batch), one, atol=1e-5, rtol=0)


def test_twice_is_the_same():
    x, net = image(1, 20, 30, 25), network()
    assert torch.equal(slide(net, x, window=(8, 16, 12)), slide(net, x, window=(8, 16, 12)))


def test_slices_of_a_volume_are_looked_at_alone():
    x, net = image(2, 5, 40, 30), network(channels=2, dimensions=2)
    found = slide(net, x, window=(16, 16), mirror=(0, 1), batch=4)
    expected = [slide(net, plane, window=(16, 16), mirror=(0, 1)) for plane in x.unbind(1)]
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=1e-5, rtol=0)


def test_a_small_image_lies_in_the_middle_of_the_window():
    x, net = image(1, 5, 12, 8), network()
    padded = torch.zeros(1, 8, 12, 16)
    padded[:, 1:6, :, 4:12] = x
    expected = net(padded[None])[0, :, 1:6, :, 4:12]
    torch.testing.assert_close(slide(net, x, window=(8, 12, 16)), expected, atol=1e-5, rtol=0)


def test_what_is_kept_of_slabs_is_what_would_be_made_of_all_logits():
    x, net = image(1, 20, 50, 25), network()
    logits = slide(net, x, window=(8, 16, 12))

    labels = slide(net, x, window=(8, 16, 12), finish=lambda slab: slab.argmax(0, keepdim=True).to(torch.uint8))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, logits.argmax(0, keepdim=True).to(torch.uint8))

    tumour = slide(net, x, window=(8, 16, 12), finish=lambda slab: slab.softmax(0)[2:])
    torch.testing.assert_close(tumour, logits.softmax(0)[2:])


def held_bytes():
    tensors = [t for t in gc.get_objects() if type(t) is torch.Tensor]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def largest_held(outputs):
    """Bytes of all tensors at their most, as the network sees them, while a probability map is made."""
    seen = []

    def net(batch):
        seen.append(held_bytes())
        return batch.expand(-1, outputs, *batch.shape[2:]) * 1.0

    slide(net, image(1, 16, 160, 16), window=(16, 16, 16), finish=lambda slab: slab.softmax(0)[-1:])
    return max(seen)


def test_memory_of_the_whole_volume_does_not_grow_with_classes():
    # 30 more classes of the whole volume would be 30 x 160 x 16 x 16 float32 = 4.9 MB more. Windows overlap by half
    # along the longest axis, so a window's thickness is open, and as much again is in the network's last output.
    window = 30 * 16 * 16 * 16 * 4
    assert largest_held(32) - largest_held(2) <= 2 * window
    assert 2 * window < 0.25 * 30 * 160 * 16 * 16 * 4


def test_windows_outside_are_skipped_and_the_inside_stays_exactly_the_same():
    x, net = image(1, 20, 60, 25), network()
    where = np.zeros((20, 60, 25), bool)
    where[3:9, 20:31, 2:20] = True
    seen, everything = [], slide(net, x, window=(8, 12, 12))
    found = slide(net, x, window=(8, 12, 12), where=where, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(found[:, where], everything[:, where])
    windows = [len(places(n, w, 0.5)) for n, w in zip((20, 60, 25), (8, 12, 12), strict=True)]
    assert seen[-1][0] == seen[-1][1] == len(seen) < np.prod(windows)
    assert torch.equal(found[:, 0, 59, 0], torch.tensor([0.0, NEVER, NEVER]))


def test_what_nobody_looked_at_is_background():
    x, where = image(1, 4, 40, 4), np.zeros((4, 40, 4), bool)
    where[0, 0, 0] = True
    one = slide(network(outputs=1), x, window=(4, 8, 4), where=where)
    assert torch.sigmoid(one[0, :, 20:]).max() < 1e-8
    chosen = slide(network(), x, window=(4, 8, 4), where=where, outside=(1.0, -2.0, 3.0))
    assert chosen[:, 0, 30, 0].tolist() == [1.0, -2.0, 3.0]
    nowhere = slide(network(), x, window=(4, 8, 4), where=np.zeros_like(where))
    assert bool((nowhere[:, :, 20:].argmax(0) == 0).all())


def test_a_mask_works_where_the_image_is_padded():
    x, net, where = image(1, 5, 40, 7), network(), np.zeros((5, 40, 7), bool)
    where[4, 39, 6] = True
    found, everything = slide(net, x, window=(8, 8, 8), where=where), slide(net, x, window=(8, 8, 8))
    assert torch.equal(found[:, 4, 39, 6], everything[:, 4, 39, 6])
    assert found[1, 0, 0, 0] == NEVER


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": (8, 8, 8, 8)}, "1 to 3 sizes"),
        ({"window": (0, 8, 8)}, "at least 1"),
        ({"overlap": 1.0}, r"overlap 1.0 must be in \[0, 1\)"),
        ({"mirror": (3,)}, "0 to 2"),
        ({"mirror": (1, 1)}, "different axes"),
        ({"batch": 0}, "batch 0"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        slide(network(), image(1, 16, 16, 16), **{"window": (8, 8, 8), **options})


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"\(2, 3, 4\)"):
        slide(network(), image(1, 16, 16, 16), window=(8, 8, 8), where=np.ones((2, 3, 4), bool))


@pytest.mark.parametrize("returned", [lambda x: [x], lambda x: x[..., ::2]])
def test_a_network_that_does_not_return_logits_of_the_window_is_refused(returned):
    with pytest.raises(InputError, match="it must return one tensor of logits"):
        slide(returned, image(1, 16, 16, 16), window=(8, 8, 8))
