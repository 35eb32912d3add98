"""ONNX Runtime computes what torch computes, where it is installed."""

import importlib.util

import pytest
import torch
from torch import nn

from oncoseg.errors import ConfigError
from oncoseg.inference import on_onnxruntime
from oncoseg.inference.running import Running, runner
from oncoseg.nn.tiny_vit import TinyViT

installed = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="the optional packages onnx and onnxruntime are not installed",
)


@installed
def test_a_convolution_is_the_same_at_every_shape():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 1, 1)).eval()
    run = runner(network, Running(backend="onnxruntime"))
    for shape in ((1, 1, 16, 16), (3, 1, 20, 24)):
        batch = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(run(batch), network(batch), atol=1e-5, rtol=1e-5)


@installed
def test_the_small_image_encoder_is_the_same_where_windows_are_padded():
    """A division that torch rounds down and ONNX towards zero once made another network of it."""
    torch.manual_seed(0)
    encoder = TinyViT("lite_medsam").eval()
    images = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        expected = encoder(images)
    torch.testing.assert_close(runner(encoder, Running(backend="onnxruntime"))(images), expected, atol=2e-4, rtol=1e-3)


@installed
def test_bfloat16_is_refused():
    with pytest.raises(ConfigError, match="float32"):
        runner(nn.Conv2d(1, 1, 1), Running("bfloat16", "onnxruntime"))


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'oncoseg\[onnx\]'"):
        on_onnxruntime.require()
