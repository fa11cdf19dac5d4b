"""The server refuses whoever does not have its address."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.explorer.server import ExplorerServer, check_page, serve


class Answers:
    """Stands for the callbacks of a model."""

    def overview(self) -> dict[str, Any]:
        return {"num": 3}

    def column(self, name: str) -> dict[str, Any]:
        raise AeframeError(f"no column '{name}'")

    def decode(self, base: int | None, along: str, offsets: list[float]) -> dict[str, Any]:
        return {"media": [base, along, offsets]}


@pytest.fixture
def server() -> Iterator[ExplorerServer]:
    callbacks: Any = Answers()
    with ExplorerServer(callbacks) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(
    server: ExplorerServer, path: str, *, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_it_listens_on_the_loopback_interface_only(server: ExplorerServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32


@pytest.mark.parametrize("path", ["/", "/overview", "/page.js", "/wrong/overview", "//overview", "/{token}x/overview"])
def test_requests_without_the_token_are_refused(server: ExplorerServer, path: str) -> None:
    status, text = ask(server, path.format(token=server.token))
    assert status == 403
    assert text == "open the address that aeframe explore printed, with its token\n"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:{port}"}, {"Host": ""}, {"Origin": "http://evil.example"}],
)
def test_other_hosts_and_origins_are_refused(server: ExplorerServer, headers: dict[str, str]) -> None:
    filled = {name: value.format(port=server.server_port) for name, value in headers.items()}
    assert ask(server, f"/{server.token}/overview", **filled)[0] == 403


def test_the_page_may_load_from_its_own_host_only(server: ExplorerServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", f"/{server.token}/", headers={"Host": f"localhost:{server.server_port}"})
    response = connection.getresponse()
    assert response.status == 200
    page = response.read().decode()
    connection.close()
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"https?://", page)


def test_answers_are_json_and_errors_are_sentences(server: ExplorerServer) -> None:
    at = f"/{server.token}"
    assert ask(server, f"{at}/overview") == (200, '{"num": 3}')
    assert ask(server, f"{at}/column?name=a") == (400, json.dumps({"error": "no column 'a'"}))
    assert ask(server, f"{at}/nowhere")[0] == 404
    assert ask(server, f"{at}/column")[0] == 400
    request = {"base": 3, "along": "numbers", "offsets": [1, 2.5]}
    status, text = ask(server, f"{at}/decode", method="POST", body=json.dumps(request))
    assert (status, json.loads(text)) == (200, {"media": [3, "numbers", [1.0, 2.5]]})
    assert ask(server, f"{at}/decode", method="POST", body="{")[0] == 400
    assert ask(server, f"{at}/decode", method="POST", **{"Content-Length": str(1 << 30)})[0] == 413
    assert ask(server, f"{at}/../../etc/passwd")[0] == 404


def test_a_port_in_use_is_an_error() -> None:
    callbacks: Any = Answers()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            AeframeError, match=rf"^port {port} of this computer cannot be used .*; choose another --port$"
        ):
            ExplorerServer(callbacks, port)


def test_the_page_requires_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AeframeError, match=r"run pip install 'aeframe\[explore\]', or write a file with --export$"):
        check_page()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends SIGINT to all processes of a console")
def test_ctrl_c_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    callbacks: Any = Answers()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    serve(callbacks, 0, open_browser=False)
    timer.join()
    printed = capsys.readouterr()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", printed.out.splitlines()[0])
    assert printed.err == "ended\n"
