import os

import pytest

from oncoseg.errors import InputError
from oncoseg.files import read_json, remove_partial, require_file, sha256, write_json, write_text, written_whole


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "scores.jsonl"
    write_text(target, "old")

    def fail_half_way():
        with written_whole(target) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["scores.jsonl"]


def test_temporary_keeps_the_suffixes_so_that_writers_choose_the_format(tmp_path):
    with written_whole(tmp_path / "mask.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"x")
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"x"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        write_text(blocker / "below" / "a.json", "x")


def test_disk_full_is_an_input_error_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "a"
    write_text(target, "old")

    def fill_the_disk():
        with written_whole(target) as temporary:
            temporary.write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        fill_the_disk()
    assert target.read_text() == "old"


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".partial-abc-mask.nii.gz").write_text("")
    (tmp_path / "kept.json").write_text("{}")
    remove_partial(tmp_path)
    assert os.listdir(tmp_path) == ["kept.json"]


def test_json_round_trip_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), (b"", "empty"), (b"{", "not valid JSON")])
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    source = tmp_path / "prompts.json"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(InputError, match=rf"prompts\.json.*{message}"):
        read_json(source)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        require_file(tmp_path)


def test_sha256_is_that_of_the_content(tmp_path):
    write_text(tmp_path / "a", "abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    for target in (tmp_path / "taken" / "a.json", tmp_path / "taken" / "deep" / "a.json"):
        with pytest.raises(InputError, match=r"taken is not a folder"):
            write_json(target, {})
    assert (tmp_path / "taken").read_text() == "a file"
