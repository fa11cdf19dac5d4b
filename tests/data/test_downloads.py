"""Downloads from this machine: ``file:`` URLs and a local HTTP server."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from aeframe.data.downloads import Remote, data_folders, fetch, local
from aeframe.errors import AeframeError

CONTENT = b"some pixels"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "a.gz").write_bytes(CONTENT)
    return (tmp_path / "server" / "a.gz").as_uri()


def closed_port() -> int:
    """Return a port on which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_file_is_fetched_once(tmp_path: Path, url: str) -> None:
    path = fetch(Remote(url, SHA256), tmp_path / "cache" / "x", who="dataset 'x'")
    assert path == tmp_path / "cache" / "x" / "a.gz"
    assert path.read_bytes() == CONTENT
    (tmp_path / "server" / "a.gz").unlink()
    assert fetch(Remote(url, SHA256), tmp_path / "cache" / "x", who="dataset 'x'") == path
    assert [p.name for p in path.parent.iterdir()] == ["a.gz"]


def test_another_checksum_is_refused_and_nothing_is_kept(tmp_path: Path, url: str) -> None:
    with pytest.raises(AeframeError) as caught:
        fetch(Remote(url, "0" * 64), tmp_path / "cache", who="dataset 'x'")
    assert str(caught.value) == (
        f"dataset 'x': '{url}' has SHA-256 {SHA256}, expected {'0' * 64}; "
        "try again later, or set data.path=... to a copy of your own"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_checksum_the_content_is_checked(tmp_path: Path, url: str) -> None:
    def check(path: Path) -> None:
        # Readers are chosen by the suffix.
        assert path.name == "b.gz"
        if path.read_bytes() != CONTENT:
            raise AeframeError("3 rows where 4 are expected")

    remote = Remote(url, saved_as="b.gz")
    assert fetch(remote, tmp_path / "cache", who="dataset 'x'", check=check) == tmp_path / "cache" / "b.gz"
    (tmp_path / "server" / "a.gz").write_bytes(b"a page that says no")
    with pytest.raises(AeframeError) as caught:
        fetch(remote, tmp_path / "other", who="dataset 'x'", check=check)
    assert str(caught.value) == (
        f"dataset 'x': '{url}' is not the expected file (3 rows where 4 are expected); try again later, or set "
        "data.path=... to a copy of your own"
    )
    assert list((tmp_path / "other").iterdir()) == []


def error_of_fetch(url: str, folder: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        fetch(Remote(url), folder, who="dataset 'x'")
    assert not folder.exists() or list(folder.iterdir()) == []
    return str(caught.value)


NEXT_STEP = "set data.path=... to a copy of your own, or put it into the folder that AEFRAME_DATA names"


class Handler(BaseHTTPRequestHandler):
    """Answers with `CONTENT`, a redirect, an error, or too few bytes, by path."""

    def do_GET(self) -> None:
        if self.path == "/moved.gz":
            self.send_response(302)
            self.send_header("Location", "/a.gz")
            self.end_headers()
        elif self.path in ("/a.gz", "/short.gz"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/a.gz" else CONTENT[:-1])
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.gz", "moved.gz"])
def test_a_file_is_downloaded_over_http(tmp_path: Path, server: str, name: str) -> None:
    path = fetch(Remote(f"{server}/{name}", SHA256), tmp_path, who="dataset 'x'")
    assert path == tmp_path / name
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.gz", "404 Client Error: Not Found for url: "),
        ("short.gz", "IncompleteRead(10 bytes read, 1 more expected)"),
    ],
)
def test_errors_of_http(tmp_path: Path, server: str, name: str, reason: str) -> None:
    url = f"{server}/{name}"
    assert error_of_fetch(url, tmp_path / "cache").startswith(
        f"dataset 'x' cannot be downloaded from '{url}' ({reason}"
    )


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = f"http://127.0.0.1:{closed_port()}/a.gz"
    assert error_of_fetch(url, tmp_path / "cache") == (
        f"dataset 'x' cannot be downloaded from '{url}' ([Errno 111] Connection refused); {NEXT_STEP}"
    )


def test_a_connection_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.gz"
        message = error_of_fetch(url, tmp_path / "cache")
        thread.join()
    assert message.startswith(f"dataset 'x' cannot be downloaded from '{url}' (IncompleteRead(")
    assert message.endswith(f"; {NEXT_STEP}")


def test_where_nothing_can_be_written(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AeframeError) as caught:
        fetch(Remote(url), tmp_path / "file", who="dataset 'x'")
    assert str(caught.value) == (
        f"dataset 'x' cannot be downloaded from '{url}' ([Errno 17] File exists: '{tmp_path}/file'); {NEXT_STEP}"
    )


def test_where_data_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AEFRAME_DATA", raising=False)
    assert data_folders() == [tmp_path / ".cache" / "aeframe"]
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "mine"))
    assert data_folders() == [tmp_path / "mine", tmp_path / ".cache" / "aeframe"]
    assert local("a", "b") is None
    (tmp_path / ".cache" / "aeframe" / "b").mkdir(parents=True)
    assert local("a", "b") == tmp_path / ".cache" / "aeframe" / "b"
    (tmp_path / "mine" / "b").mkdir(parents=True)
    assert local("a", "b") == tmp_path / "mine" / "b"


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], b"another file"])
def test_a_cached_file_with_another_checksum_is_refused(tmp_path: Path, url: str, content: bytes) -> None:
    path = fetch(Remote(url, SHA256), tmp_path / "cache", who="dataset 'x'")
    path.write_bytes(content)
    with pytest.raises(AeframeError) as caught:
        fetch(Remote(url, SHA256), tmp_path / "cache", who="dataset 'x'")
    assert str(caught.value) == (
        f"dataset 'x': '{path}' has SHA-256 {hashlib.sha256(content).hexdigest()}, expected {SHA256}; delete it to "
        "download it again, or set data.path=... to a copy of your own"
    )
    assert path.read_bytes() == content
    path.unlink()
    assert fetch(Remote(url, SHA256), tmp_path / "cache", who="dataset 'x'").read_bytes() == CONTENT
