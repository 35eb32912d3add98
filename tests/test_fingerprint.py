import json
import os
import shutil

from oncoseg.fetch import cache_folder
from oncoseg.fingerprint import fingerprint


def folder(root):
    root.mkdir()
    (root / "a.txt").write_text("one")
    (root / "b.txt").write_text("two")
    return [root / "b.txt", root / "a.txt"]


def test_equal_content_has_an_equal_fingerprint_anywhere(tmp_path):
    here = fingerprint(tmp_path / "x", folder(tmp_path / "x"))
    assert fingerprint(tmp_path / "y", folder(tmp_path / "y")[::-1]) == here


def test_it_changes_with_content_names_and_options(tmp_path):
    root = tmp_path / "x"
    files = folder(root)
    seen = {fingerprint(root, files), fingerprint(root, files[:1]), fingerprint(root, files, {"seed": 1})}
    (root / "a.txt").write_text("ONE!")
    seen.add(fingerprint(root, files))
    (root / "b.txt").rename(root / "c.txt")
    seen.add(fingerprint(root, [root / "c.txt", root / "a.txt"]))
    (root / "c.txt").unlink()
    seen.add(fingerprint(root, [root / "c.txt", root / "a.txt"]))
    assert len(seen) == 6


def test_a_changed_file_of_equal_size_is_noticed(tmp_path):
    files = folder(tmp_path / "x")
    before = fingerprint(tmp_path / "x", files)
    files[0].write_text("TWO")
    os.utime(files[0], ns=(1, 1))
    assert fingerprint(tmp_path / "x", files) != before


def test_hashes_are_remembered_and_a_damaged_memory_is_forgotten(tmp_path):
    files = folder(tmp_path / "x")
    first = fingerprint(tmp_path / "x", files)
    memories = cache_folder() / "fingerprints"
    memory = max(memories.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert len(json.loads(memory.read_text())) == 2
    assert "a.txt" not in memory.read_text()  # names of files may be names of patients
    memory.write_text("{broken")
    assert fingerprint(tmp_path / "x", files) == first
    shutil.rmtree(memories)
    assert fingerprint(tmp_path / "x", files) == first
