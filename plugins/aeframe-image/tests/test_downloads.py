"""The error of a download without network access."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from aeframe import AeframeError
from aeframe_image.idx import MNIST


def refused_port() -> int:
    """Return a port without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        "([Errno 111] Connection refused); set data.path=... to a copy of your own, or put it into the folder that "
        "AEFRAME_DATA names"
    )
    assert list((tmp_path / "data" / "mnist").iterdir()) == []
