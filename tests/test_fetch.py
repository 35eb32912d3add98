import hashlib
import io
import tarfile
import zipfile

import pytest

from oncoseg import fetch
from oncoseg.errors import FetchError


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """An archive that stands in for the download, and its record."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("thing/data.bin", b"payload")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    calls = []

    def download(archive, folder):
        calls.append(archive.package)
        target = folder / source.name
        target.write_bytes(source.read_bytes())
        return target

    monkeypatch.setattr(fetch, "_pip_download", download)
    return fetch.Archive("thing", "1.0", digest, 0.1, "MIT", "a test"), calls


def test_a_fetched_archive_is_kept_and_works_offline_the_second_time(wheel):
    archive, calls = wheel
    said = []
    first = fetch.fetch(archive, said.append)
    assert fetch.fetch(archive, said.append) == first
    assert calls == ["thing"]
    assert "0.1 MB" in said[0]
    assert "MIT" in said[0]


def test_a_member_is_extracted_and_checked(wheel):
    archive, _ = wheel
    assert fetch.member(archive, "thing/data.bin", hashlib.sha256(b"payload").hexdigest()).read_bytes() == b"payload"
    with pytest.raises(FetchError, match="no file thing/other"):
        fetch.member(archive, "thing/other")


def test_members_are_extracted_by_pattern(wheel):
    archive, _ = wheel
    (only,) = fetch.members(archive, "thing/*.bin")
    assert only.read_bytes() == b"payload"
    only.write_bytes(b"cut")
    assert fetch.members(archive, "thing/*.bin")[0].read_bytes() == b"payload"
    with pytest.raises(FetchError, match=r"no file \*\.dcm"):
        fetch.members(archive, "*.dcm")


def test_a_member_that_differs_is_not_kept(wheel):
    archive, _ = wheel
    with pytest.raises(FetchError, match="not the expected file"):
        fetch.member(archive, "thing/data.bin", "0" * 64)
    assert not list(fetch.cache_folder().glob("members/**/data.bin"))


@pytest.mark.usefixtures("wheel")
def test_an_archive_with_another_hash_is_not_kept():
    wrong = fetch.Archive("thing", "1.0", "0" * 64, 0.1, "MIT", "a test")
    with pytest.raises(FetchError, match="SHA-256"):
        fetch.fetch(wrong)
    assert not list(fetch.cache_folder().rglob("*.whl"))


def test_a_damaged_copy_in_the_cache_is_fetched_again(wheel):
    archive, calls = wheel
    kept = fetch.fetch(archive)
    kept.write_bytes(b"damaged")
    assert hashlib.sha256(fetch.fetch(archive).read_bytes()).hexdigest() == archive.sha256
    assert len(calls) == 2


def test_without_a_network_the_message_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    absent = fetch.Archive("oncoseg-no-such-package", "0", "0" * 64, 1, "none", "a test")
    with pytest.raises(FetchError, match=r"Could not download oncoseg-no-such-package.*Connect to the network"):
        fetch.fetch(absent)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm of our own that packs one file, in front of any real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packed = tmp_path / "thing-1.0.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        info = tarfile.TarInfo("package/data.bin")
        info.size = len(b"payload")
        archive.addfile(info, io.BytesIO(b"payload"))
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/calls\n'
        'while [ "$1" != --pack-destination ]; do shift; done\n'
        f'/bin/cp {packed} "$2"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    return fetch.Archive("thing", "1.0", digest, 0.1, "MIT", "a test", client="npm"), program


def test_a_package_for_javascript_comes_with_npm_whose_scripts_do_not_run(npm, tmp_path):
    archive, _ = npm
    assert fetch.member(archive, "package/data.bin").read_bytes() == b"payload"
    fetch.member(archive, "package/data.bin")
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert "pack thing@1.0 --ignore-scripts" in call
    with pytest.raises(FetchError, match="no file package/other"):
        fetch.member(archive, "package/other")


def test_without_npm_the_message_names_the_way_out(npm):
    archive, program = npm
    program.unlink()
    with pytest.raises(FetchError, match=r"comes with npm, which is not on this machine.*Install Node"):
        fetch.fetch(archive)
