"""Addresses, certificates and credentials."""

import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Credentials, DimsePeer, Security, WebPeer, credentials, parse_peer


def test_addresses_of_both_protocols_are_told_apart():
    assert parse_peer("https://pacs.example/dicom-web/") == WebPeer("https://pacs.example/dicom-web")
    assert parse_peer("MY PACS@pacs.example:104") == DimsePeer("MY PACS", "pacs.example", 104)
    assert parse_peer("A@[::1]:11112") == DimsePeer("A", "::1", 11112)


@pytest.mark.parametrize(
    "text", ["pacs.example", "A@host", "A@host:0", "A@host:70000", "TOO_LONG_FOR_A_TITLE@h:1", "@h:1"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="title"):
        parse_peer(text)


def test_credentials_in_an_address_are_refused_without_being_repeated():
    with pytest.raises(InputError, match="ONCOSEG_PACS_USER") as caught:
        parse_peer("https://anna:hunter2@pacs.example/dicom-web")
    assert "hunter2" not in str(caught.value)


def test_credentials_come_from_the_environment_or_a_closed_file(tmp_path):
    held = credentials(None, {"ONCOSEG_PACS_USER": "anna", "ONCOSEG_PACS_PASSWORD": "hunter2"})
    assert (held.user, held.password) == ("anna", "hunter2")
    file = tmp_path / "secret.toml"
    file.write_text('token = "abc"\n')
    file.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        credentials(file, {})
    file.chmod(0o600)
    assert credentials(file, {}).token == "abc"


@pytest.mark.parametrize(
    "text", ['user = "anna"', 'password = "x"', 'user = "a"\npassword = "b"\ntoken = "c"', "pin = 1"]
)
def test_half_and_double_credentials_are_refused(tmp_path, text):
    file = tmp_path / "secret.toml"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError):
        credentials(file, {})


def test_secrets_are_not_shown():
    secret = Credentials("anna", "hunter2")
    assert "hunter2" not in repr(Security(credentials=secret))
    assert "anna" not in repr(secret)


def test_credentials_do_not_go_unencrypted_to_other_machines():
    secret = Security(credentials=Credentials("anna", "hunter2"))
    with pytest.raises(InputError, match="not encrypted"):
        open_archive("http://pacs.example/dicom-web", secret)
    assert open_archive("http://127.0.0.1/dicom-web", secret).name == "http://127.0.0.1/dicom-web"


def test_a_key_needs_its_certificate(tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("x")
    with pytest.raises(InputError, match="--certificate"):
        Security(key=key)
