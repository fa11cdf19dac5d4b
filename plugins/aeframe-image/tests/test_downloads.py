"""Downloads: from an address on this machine, so that no network is needed."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest

from aeframe import AeframeError
from aeframe_image.downloads import Remote, data_folders, fetch, local
from aeframe_image.idx import MNIST

CONTENT = b"some pixels"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "a.gz").write_bytes(CONTENT)
    return (tmp_path / "server" / "a.gz").as_uri()


def refused_port() -> int:
    """A port that nobody listens at."""
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
        f"dataset 'x': '{url}' gave a file with SHA-256 {SHA256}, expected {'0' * 64}; "
        "try again later, or give a copy of your own with data.path=..."
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))
    base = f"http://127.0.0.1:{refused_port()}/"
    monkeypatch.setattr(MNIST, "base", base)
    with pytest.raises(AeframeError) as caught:
        MNIST().load()
    assert str(caught.value) == (
        f"dataset 'mnist' cannot be downloaded from '{base}train-images-idx3-ubyte.gz' "
        "([Errno 111] Connection refused); give a copy of your own with data.path=..., or put it below the folder that "
        "AEFRAME_DATA names"
    )
    assert list((tmp_path / "data" / "mnist").iterdir()) == []


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
