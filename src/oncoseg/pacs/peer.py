"""Who is spoken to, and by what they know us: addresses, certificates and credentials."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from oncoseg.config import load_toml
from oncoseg.errors import ConfigError, InputError
from oncoseg.files import require_file

_DIMSE = re.compile(r"(?P<aet>[^@\\]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:/\[\]\s]+):(?P<port>\d{1,5})")
#: Application entity titles: 1 to 16 printable characters without backslash (PS3.5, VR AE).
_AET = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
#: Environment variables that credentials come from.
USER, PASSWORD, TOKEN = "ONCOSEG_PACS_USER", "ONCOSEG_PACS_PASSWORD", "ONCOSEG_PACS_TOKEN"


@dataclass(frozen=True)
class WebPeer:
    """An archive that speaks DICOMweb.

    Attributes:
        url: root of its services, without credentials and without a slash at the end.
    """

    url: str

    @property
    def name(self) -> str:
        """As the ledger calls it."""
        return self.url

    @property
    def host(self) -> str:
        """Name or address of the machine."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True)
class DimsePeer:
    """An archive that speaks DIMSE.

    Attributes:
        aet: its application entity title.
        host: name or address of its machine.
        port: it listens on.
    """

    aet: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """As the ledger calls it."""
        return f"{self.aet}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """What DICOMweb archives ask for; never printed."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.user or self.token)


@dataclass(frozen=True)
class Security:
    """How a connection is protected.

    Attributes:
        tls: DIMSE over TLS; DICOMweb says it by https.
        ca: PEM file of authorities to trust; None for those of the system.
        certificate: PEM file that we show; None for none.
        key: PEM file of its key; None when it is in the same file.
        credentials: for DICOMweb.

    Raises:
        InputError: for a file that is not there, or a key without a certificate.
    """

    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    credentials: Credentials = Credentials()

    def __post_init__(self) -> None:
        for file in (self.ca, self.certificate, self.key):
            if file is not None:
                require_file(file)
        if self.key is not None and self.certificate is None:
            raise InputError(f"The key {self.key} needs its certificate: give --certificate FILE.")


def parse_peer(text: str) -> WebPeer | DimsePeer:
    """The archive that `https://host/dicom-web` or `AET@host:port` means.

    Raises:
        InputError: for anything else, and for a URL with a user or password in it.
    """
    if text.lower().startswith(("http://", "https://")):
        return _web_peer(text)
    match = _DIMSE.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise InputError(
            f"'{text}' is no archive: give the URL of its DICOMweb services (https://pacs.example/dicom-web) "
            "or its title, machine and port (AET@pacs.example:104)."
        )
    return DimsePeer(require_aet(match["aet"]), match["host"].strip("[]"), int(match["port"]))


def _web_peer(text: str) -> WebPeer:
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise InputError(
            f"A URL on the command line must not hold credentials: they stay in the shell's history. Set {USER} and "
            f"{PASSWORD} (or {TOKEN}) in the environment, or give --credentials FILE."
        )
    if not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"'{text}' is no root of DICOMweb services, such as https://pacs.example/dicom-web.")
    return WebPeer(text.rstrip("/"))


def require_aet(text: str) -> str:
    """An application entity title.

    Raises:
        InputError: unless it has 1 to 16 printable ASCII characters without backslash.
    """
    if not _AET.fullmatch(text):
        raise InputError(f"'{text}' is no application entity title: 1 to 16 ASCII characters without backslash.")
    return text


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("pacs.example")
        (True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def credentials(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Credentials:
    """User and password, or a token, from a TOML file or the environment.

    Args:
        file: with `user` and `password`, or `token`; only its owner may read it. None for the environment.
        environment: the variables.

    Raises:
        InputError: for a file that others may read.
        ConfigError: for other keys, or half of a pair.
    """
    if file is None:
        return _checked(environment.get(USER, ""), environment.get(PASSWORD, ""), environment.get(TOKEN, ""))
    require_file(file)
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"Others may read {file}, which holds credentials. Close it: chmod 600 {file}.")
    held = load_toml(file)
    unknown = set(held) - {"user", "password", "token"}
    if unknown or not all(isinstance(value, str) for value in held.values()):
        raise ConfigError(f"{file}: credentials are texts called user and password, or token.")
    return _checked(held.get("user", ""), held.get("password", ""), held.get("token", ""))


def _checked(user: str, password: str, token: str) -> Credentials:
    if bool(user) != bool(password) or (user and token):
        raise ConfigError("Give a user with a password, or a token: one of the two, and whole.")
    return Credentials(user, password, token)
