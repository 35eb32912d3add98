"""A real Orthanc with its DICOMweb plugin on loopback, and small series to send to it."""

import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import CTImageStorage, generate_uid

from oncoseg.pacs.retry import Patience
from oncoseg.volume import Volume

_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """Started, killed and started again on the same folder."""

    def __init__(self, program: str, plugin: Path, folder: Path, **settings) -> None:
        self.program, self.folder = program, folder
        self.http, self.dicom, self.listener = free_port(), free_port(), free_port()
        folder.mkdir(parents=True)
        self.settings = folder / "orthanc.json"
        self.settings.write_text(
            json.dumps(
                {
                    "Name": "test",
                    "HttpPort": self.http,
                    "DicomPort": self.dicom,
                    "DicomAet": "ORTHANC",
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "SslEnabled": False,
                    "StorageDirectory": str(folder / "storage"),
                    "IndexDirectory": str(folder / "storage"),
                    "Plugins": [str(plugin)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "Ssl": False},
                    "DicomModalities": {"oncoseg": ["ONCOSEG", "127.0.0.1", self.listener]},
                    "DicomCheckCalledAet": False,
                    "DicomAlwaysAllowStore": True,
                    **settings,
                }
            )
        )
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        log = (self.folder / "log.txt").open("ab")
        self.process = subprocess.Popen([self.program, str(self.settings)], stdout=log, stderr=log, cwd=self.folder)
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", self.http), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "log.txt").read_text()[-2000:])

    def kill(self) -> None:
        """As a power cut does: SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, **body):
        data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", data=data, timeout=30) as answer:
            return json.load(answer)

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"ORTHANC@127.0.0.1:{self.dicom}"

    def peer(self, protocol: str) -> str:
        return self.web if protocol == "dicomweb" else self.dimse

    def move_to(self, protocol: str) -> tuple[str, int] | None:
        """Where it sends what C-MOVE asks for."""
        return ("127.0.0.1", self.listener) if protocol == "move" else None

    def holds(self) -> list[str]:
        """SOPInstanceUID of every object."""
        found = self.ask("instances?expand&limit=100000&since=0")
        return sorted(item["MainDicomTags"]["SOPInstanceUID"] for item in found)

    def arrivals(self) -> int:
        """How often an object came that was new to it."""
        changes, seen = self.ask("changes?limit=100000"), 0
        seen += sum(change["ChangeType"] == "NewInstance" for change in changes["Changes"])
        return seen


def _found() -> tuple[str, Path]:
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    plugins = [Path(place) / "libOrthancDicomWeb.so" for place in _PLUGINS]
    plugin = next((p for p in plugins if p.exists()), None)
    if program is None or plugin is None:
        pytest.skip("needs Orthanc with its DICOMweb plugin: apt-get install orthanc orthanc-dicomweb")
    return program, plugin


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate of this machine that is its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-nodes", "-keyout", key, "-out", made]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", *files, *names],
        check=True,
        capture_output=True,
    )
    return made, key


@pytest.fixture
def start_orthanc(tmp_path):
    """Start an empty archive with more settings."""
    made = []

    def start(**settings) -> Orthanc:
        made.append(Orthanc(*_found(), tmp_path / "orthanc", **settings))
        return made[-1]

    yield start
    for archive in made:
        if archive.process.poll() is None:
            archive.kill()


@pytest.fixture
def orthanc(start_orthanc):
    """An empty archive of its own."""
    return start_orthanc()


def _module(path: Path):
    """A module of the tests, which are no package, so that it cannot be imported by name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_READERS = _module(Path(__file__).parents[1] / "io" / "conftest.py")
faults, plastimatch, dcmqi = _READERS.faults, _READERS.plastimatch, _READERS.dcmqi


@pytest.fixture(scope="session")
def mock():
    """The module tests/mock_dicom.py."""
    return _module(Path(__file__).parents[1] / "mock_dicom.py")


@pytest.fixture(scope="session")
def canary():
    """The module tests/canary.py."""
    return _module(Path(__file__).parents[1] / "canary.py")


@pytest.fixture
def content(mock):
    """A DICOM file in memory, of the given tags."""

    def write(**tags) -> bytes:
        made, written = mock.dataset(CTImageStorage, "CT"), io.BytesIO()
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        made.save_as(written, enforce_file_format=True)
        return written.getvalue()

    return write


@pytest.fixture(params=["dicomweb", "dimse", "move"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def patience() -> Patience:
    """Does not wait long."""
    return Patience(attempts=4, first_s=0.05)


def phantom(slices: int = 8, rows: int = 32) -> Volume:
    voxels = np.full((slices, rows, rows), -800, np.int16)
    voxels[slices // 3 : slices // 3 + 2, 10:20, 12:22] = 40
    return Volume.from_spacing(voxels, (3.0, 1.0, 1.0))


@pytest.fixture
def ct(mock, tmp_path):
    """Write a CT series with identifiers of its own; returns its folder."""
    numbers = iter(range(100))

    def write(slices: int = 8, **tags) -> Path:
        folder = tmp_path / f"ct{next(numbers)}"
        own = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), **tags}
        mock.write_ct(folder, phantom(slices), **own)
        return folder

    return write
