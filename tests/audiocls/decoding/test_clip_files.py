from __future__ import annotations

import http.server
import socket
import threading

import fsspec
import pytest

from audiocls.decoding.clip_files import look_at_files, read_file
from audiocls.errors import StoreError
from audiocls.params.run import AudioParams

ANSWERS = {"/gone.wav": 404, "/deleted.wav": 410, "/secret.wav": 403, "/busy.wav": 429, "/broken.wav": 503}
CONTENT = b"RIFF"


@pytest.fixture
def web():
    """The address of a server that has one file, a.wav, and its answers by path, which may be changed."""
    answers = dict(ANSWERS)

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status = answers.get(self.path, 200)
            body = CONTENT if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()


def look_at(uri):
    (found,) = look_at_files([uri], AudioParams())
    return found


def test_a_file_of_a_web_server_is_found_and_read(web):
    found = look_at(f"{web[0]}/a.wav")
    assert (found.size_bytes, found.reason) == (len(CONTENT), None)
    assert read_file(found) == (CONTENT, None)


@pytest.mark.parametrize("prefix", ["", "simplecache::"])
def test_what_a_web_server_does_not_have_or_give_is_missing(web, prefix):
    found = [look_at(f"{prefix}{web[0]}{name}") for name in ("/gone.wav", "/deleted.wav", "/secret.wav")]
    assert [file.reason for file in found] == ["missing"] * 3
    assert [file.detail for file in found[:2]] == ["no such object"] * 2
    assert "the server refuses access: 403" in found[2].detail


@pytest.mark.parametrize("name", ["/busy.wav", "/broken.wav"])
def test_a_web_server_that_cannot_answer_now_is_no_fault_of_the_clip(web, name):
    with pytest.raises(StoreError, match=rf"{name}: the storage does not respond: .*{ANSWERS[name]}.*Run again"):
        look_at(f"{web[0]}{name}")


def test_a_web_server_that_breaks_down_before_the_reading_is_no_fault_of_the_clip(web):
    address, answers = web
    found = look_at(f"{address}/a.wav")
    answers["/a.wav"] = 500
    with pytest.raises(StoreError, match="does not respond"):
        read_file(found)
    answers["/a.wav"] = 404
    assert read_file(found) == (b"", "no such object")


def test_a_host_that_refuses_connections_is_an_outage_and_no_missing_file():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(StoreError, match=r"http://me:\*\*\*@127.*the storage does not respond") as caught:
        look_at(f"http://me:hush-hush@{address}/a.wav")
    assert "hush-hush" not in str(caught.value)


def test_a_name_that_would_be_a_chain_of_uris_is_told_and_not_another_file():
    files = fsspec.filesystem("memory")
    files.pipe_file("/chained/a", b"another")
    try:
        found = look_at("memory://chained/a::b.wav")
    finally:
        files.rm("/chained", recursive=True)
    assert found.reason == "unreadable"
    assert "'::' separates the links of a chain" in found.detail
