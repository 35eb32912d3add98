"""`oncoseg pull` and `oncoseg push` without an archive: what is asked for is checked before anything is sent."""

import pytest
from typer.testing import CliRunner

from oncoseg.cli.main import app
from oncoseg.errors import FetchError, InputError


def failing(*arguments):
    return CliRunner().invoke(app, list(arguments)).exception


def test_a_pull_of_a_whole_archive_is_refused(tmp_path):
    error = failing("pull", "https://pacs.example/dicom-web", "--out", str(tmp_path / "in"), "--modality", "CT")
    assert isinstance(error, InputError)
    assert "whole archive" in str(error)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("peer", ["http://127.0.0.1:9/dicom-web", "PACS@127.0.0.1:9"])
def test_an_archive_that_is_not_there_is_said(tmp_path, peer):
    error = failing("pull", peer, "--out", str(tmp_path / "in"), "--study", "1.2.3", "--attempts", "1")
    assert isinstance(error, FetchError)
    assert peer in str(error)


def test_nothing_to_push_is_said(tmp_path):
    error = failing("push", "PACS@127.0.0.1:9", str(tmp_path))
    assert isinstance(error, InputError)


def test_passwords_are_no_options():
    shown = CliRunner().invoke(app, ["pull", "--help"]).output + CliRunner().invoke(app, ["push", "--help"]).output
    assert "--password" not in shown
    assert "--token" not in shown
