"""`oncoseg cost` counts without weights or data, and measures on request."""

import json


def test_parts_factors_and_sums(oncoseg):
    done = oncoseg("cost", "unet.ronneberger", "--shape", "10x512x512", "--set", "mirror=true")
    assert done.code == 0
    assert "31,030,658 parameters" in done.out
    assert "10 slices x 4 mirrors" in done.out
    assert "192.4" in done.out
    assert "one forward pass 192.4 GMACs" in done.err
    assert "FlopCounterMode" in done.err


def test_json_holds_everything(oncoseg):
    found = json.loads(oncoseg("cost", "sam_med3d", "--clicks", "2", "--json").out)
    assert found["parameters"] == 100_509_232
    assert [p["part"] for p in found["passes"]] == ["image encoder", "prompts and mask decoder"]
    assert found["volume_macs"] == sum(p["total"] for p in found["passes"])
    assert found["measured"] is None


def test_a_measured_model(oncoseg):
    size = ["--shape", "3x32x32", "--spacing", "1x1x1", "--set", "base=4", "--set", "patch=32"]
    found = json.loads(oncoseg("cost", "unet.ronneberger", *size, "--measure", "--json").out)
    measured = found["measured"]
    assert measured["macs"] == found["volume_macs"]
    assert measured["seconds_median"] > 0
    assert measured["peak_memory_bytes"] > 50e6
    assert (measured["energy_joules"] is None) != (measured["energy_reason"] is None)


def test_models_that_cannot_be_counted_and_sizes_that_cannot_be(oncoseg):
    assert "nnU-Net plans its own" in oncoseg("cost", "nnunet.2d").err
    assert "There is no network" in oncoseg("cost", "ellipsoid").err
    assert oncoseg("cost", "unet", "--shape", "512").code == 2
    assert "Did you mean" in oncoseg("cost", "unettt").err
