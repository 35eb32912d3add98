import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oncoseg.download import PART, Remote, download
from oncoseg.errors import FetchError

CONTENT = bytes(range(256)) * 8192  # 2 MB
HASH = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A file server on the loopback that can cut connections, be busy, change its file or know no ranges."""

    def __init__(self):
        self.content, self.etag = CONTENT, '"one"'
        self.cuts, self.busy, self.ranges, self.length = [], 0, True, True
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/weights/file.pt"

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if "missing" in handler.path:
            handler.send_error(404)
            return
        if self.busy:
            self.busy -= 1
            handler.send_error(503)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        fresh = handler.headers.get("If-Range") in (None, self.etag)
        if start and self.ranges and fresh:
            if start >= len(self.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.content)}")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        else:
            start = 0
            handler.send_response(200)
        rest = self.content[start:]
        handler.send_header("ETag", self.etag)
        if self.length:
            handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        handler.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def fetched(server, target, *, url=None, sha256=HASH, size=None, **options):
    return download(Remote(url or server.url, sha256, size), target, pause=lambda seconds: None, **options)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    target = tmp_path / "deep" / "file.pt"
    assert fetched(server, target, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    fetched(server, target)
    assert server.asked == [None]
    assert [path.name for path in target.parent.iterdir()] == ["file.pt"]


def test_a_connection_cut_in_the_middle_is_gone_on_with(server, tmp_path):
    server.cuts = [1_000_000, 500_000]
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_what_an_earlier_call_left_is_gone_on_with(server, tmp_path):
    server.cuts = [1_000_000, 0, 0]
    with pytest.raises(FetchError, match=r"1\.0 MB are kept; the same command goes on"):
        fetched(server, tmp_path / "file.pt", attempts=2)
    assert not (tmp_path / "file.pt").exists()
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000000-"


def test_a_server_without_ranges_sends_it_again(server, tmp_path):
    server.cuts, server.ranges = [1_000_000], False
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_comes_from_the_start(server, tmp_path):
    (tmp_path / f"file.pt{PART}").write_bytes(b"x" * 1000)
    (tmp_path / f"file.pt{PART}.etag").write_text('"before"')
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT


def test_everything_was_there_already(server, tmp_path):
    (tmp_path / f"file.pt{PART}").write_bytes(CONTENT)
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT


def test_more_than_there_is_comes_from_the_start(server, tmp_path):
    (tmp_path / f"file.pt{PART}").write_bytes(CONTENT + b"more")
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.busy = 2
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_length_is_trusted_to_the_hash(server, tmp_path):
    server.length = False
    assert fetched(server, tmp_path / "file.pt").read_bytes() == CONTENT
    server.cuts = [1000]
    with pytest.raises(FetchError, match="SHA-256"):
        fetched(server, tmp_path / "other.pt")


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 7}])
def test_another_file_is_not_kept(server, tmp_path, wrong):
    with pytest.raises(FetchError, match=r"not the expected file.*Nothing was kept"):
        fetched(server, tmp_path / "file.pt", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_asked_again(server, tmp_path):
    with pytest.raises(FetchError, match=r"404.*oncoseg weights add FILE --as"):
        fetched(server, tmp_path / "file.pt", url=server.url.replace("file", "missing"))
    assert len(server.asked) == 1


def test_without_a_network_the_message_names_the_way_out(server, tmp_path):
    gone = server.url.replace(str(server.http.server_port), "1")
    with pytest.raises(FetchError, match=r"Could not download .*Connect to the network.*oncoseg weights add"):
        fetched(server, tmp_path / "file.pt", url=gone, attempts=2)


def test_progress_is_told(server, tmp_path):
    said = []
    fetched(server, tmp_path / "file.pt", say=said.append)
    assert said == ["file.pt: 2 of 2 MB"]
