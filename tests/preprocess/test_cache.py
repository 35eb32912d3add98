"""Entries come back as they were, are found by content, and repair themselves."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.preprocess.cache import VolumeCache, volume_key
from oncoseg.volume import Volume


def made(seed: int = 0, dtype: str = "float32") -> Volume:
    rng = np.random.default_rng(seed)
    return Volume.from_spacing((rng.normal(size=(20, 70, 65)) * 300).astype(dtype), (3, 0.8, 0.8), (1, -2, 5))


def never() -> Volume:
    raise AssertionError("the entry was there")


@pytest.mark.parametrize("storage", ["blosc2", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
def test_gives_back_what_was_made(tmp_path, storage, dtype):
    volume = made(dtype=dtype)
    cache = VolumeCache(tmp_path, storage=storage)
    cache.get_or_make("key", lambda: volume)
    entry = cache.get_or_make("key", never)
    assert entry.dtype == volume.voxels.dtype
    assert np.array_equal(entry.read().voxels, volume.voxels)
    assert np.array_equal(entry.read().affine, volume.affine)
    crop, expected = entry.crop((3, 10, 20), (18, 41, 65)), volume.crop((3, 10, 20), (18, 41, 65))
    assert np.array_equal(crop.voxels, expected.voxels)
    assert crop.same_grid(expected)
    assert crop.voxels.flags.writeable


def test_a_crop_outside_is_refused(tmp_path):
    entry = VolumeCache(tmp_path).get_or_make("key", made)
    with pytest.raises(InputError, match="not inside"):
        entry.crop((0, 0, 0), (21, 4, 4))


def test_the_key_follows_voxels_affine_type_and_configuration():
    volume = made()
    again = Volume(volume.voxels.copy(), volume.affine.copy())
    assert volume_key(volume, {"order": 3}) == volume_key(again, {"order": 3})
    other = volume.voxels.copy()
    other[3, 4, 5] += 1
    keys = {
        volume_key(volume, {"order": 3}),
        volume_key(volume, {"order": 1}),
        volume_key(volume.with_voxels(other), {"order": 3}),
        volume_key(volume.with_voxels(volume.voxels.astype(np.float64)), {"order": 3}),
        volume_key(Volume.from_spacing(volume.voxels, (3, 0.8, 0.9)), {"order": 3}),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("storage", ["blosc2", "plain"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "magic", "header", "empty"])
def test_a_damaged_entry_is_reported_and_made_again(tmp_path, caplog, storage, harm):
    volume = made()
    path = VolumeCache(tmp_path, storage=storage).get_or_make("key", lambda: volume).path
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 4
    elif harm == "magic":
        content[0] ^= 1
    elif harm == "header":
        content[12:20] = b"\xff" * 8
    else:
        content = content[: len(content) - 5 if harm == "truncate" else 0]
    path.unlink()
    path.write_bytes(content)
    cache = VolumeCache(tmp_path, storage=storage)
    assert np.array_equal(cache.get_or_make("key", lambda: volume).read().voxels, volume.voxels)
    assert cache.damaged == [path]
    assert "damaged" in caplog.text
    assert np.array_equal(VolumeCache(tmp_path).get_or_make("key", never).read().voxels, volume.voxels)


def test_a_failing_maker_leaves_nothing_behind(tmp_path):
    def broken() -> Volume:
        raise InputError("no such series")

    with pytest.raises(InputError, match="no such series"):
        VolumeCache(tmp_path).get_or_make("key", broken)
    assert list(tmp_path.iterdir()) == []


def write_one(folder, seed):
    entry = VolumeCache(folder).get_or_make("shared", made)
    return seed, float(entry.read().voxels.sum())


def test_writers_at_the_same_time_agree(tmp_path):
    with ProcessPoolExecutor(2) as pool:
        sums = {total for _, total in pool.map(write_one, [tmp_path] * 6, range(6))}
    assert sums == {float(made().voxels.sum())}
    assert [p.name for p in tmp_path.iterdir()] == ["shared.vol"]


def test_pruning_keeps_the_newest(tmp_path):
    import os

    cache = VolumeCache(tmp_path, storage="plain")
    paths = [cache.get_or_make(f"k{i}", made).path for i in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    gone = cache.prune(limit_bytes=paths[0].stat().st_size + 10)
    assert gone == paths[:2]
    assert paths[2].exists()
