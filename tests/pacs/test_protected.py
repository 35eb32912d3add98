"""DICOMweb archives that ask for a password or speak https."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oncoseg.errors import FetchError
from oncoseg.pacs.archive import Query
from oncoseg.pacs.opening import open_archive
from oncoseg.pacs.peer import Credentials, Security
from oncoseg.pacs.pulling import pull

QUERY = Query(study="1.2.3")


def found(url, security, tmp_path, patience):
    return pull(open_archive(url, security), QUERY, tmp_path / "in", patience).series


def test_a_password_is_sent_and_a_missing_or_wrong_one_is_said(start_orthanc, tmp_path, patience):
    orthanc = start_orthanc(AuthenticationEnabled=True, RegisteredUsers={"anna": "hunter2"})
    right = Security(credentials=Credentials("anna", "hunter2"))
    assert found(orthanc.web, right, tmp_path, patience) == 0
    for wrong in (Security(), Security(credentials=Credentials("anna", "wrong-one"))):
        with pytest.raises(FetchError, match="answers 401") as caught:
            found(orthanc.web, wrong, tmp_path, patience)
        assert "ONCOSEG_PACS_USER" in str(caught.value)
        assert "wrong-one" not in str(caught.value)


def test_passwords_of_netrc_are_not_used(start_orthanc, tmp_path, patience, monkeypatch):
    orthanc = start_orthanc(AuthenticationEnabled=True, RegisteredUsers={"anna": "hunter2"})
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(FetchError, match="answers 401"):
        found(orthanc.web, Security(), tmp_path, patience)


class _EmptyArchive(BaseHTTPRequestHandler):
    """Answers every query with nothing; over TLS because Debian's Orthanc of 2022 drops TLS connections."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass


@pytest.fixture
def https(certificate):
    made, key = certificate
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EmptyArchive)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/dicom-web"
    server.shutdown()
    server.server_close()


def test_https_works_with_a_trusted_certificate_and_with_no_other(https, tmp_path, patience, certificate):
    with pytest.raises(FetchError, match="not trusted"):
        found(https, Security(), tmp_path, patience)
    assert found(https, Security(ca=certificate[0]), tmp_path, patience) == 0
