"""The server of the explorer's page: loopback only, with a random token in the address."""

from __future__ import annotations

import importlib.resources
import importlib.util
import json
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError, first_sentence
from aeframe.explorer.callbacks import Callbacks

_HOST = "127.0.0.1"
_MAX_BODY = 16 << 20
"""Bytes of a request: the positions of some 2 million points."""
_HEADERS = {
    # The drawing library compiles its shaders' wrappers with `Function` and adds style sheets; no other host is
    # reachable from the page, whatever it tries.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}

Answer = tuple[str, bytes]
"""The MIME type and the content of a response."""


def check_page() -> None:
    """Raise AeframeError if the library that draws the map is not installed."""
    if importlib.util.find_spec("plotly") is None:
        raise AeframeError(
            "the page of aeframe explore requires plotly; run pip install 'aeframe[explore]', or write a file with "
            "--export"
        )


class ExplorerServer(ThreadingHTTPServer):
    """Serves the page on the loopback interface. Requests without the token, or to another host name, are refused.

    Args:
        callbacks: Answers the requests of the page.
        port: The port; 0 for a free one.

    Raises:
        AeframeError: The port is in use, or may not be used.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, callbacks: Callbacks, port: int = 0) -> None:
        self.callbacks = callbacks
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise AeframeError(
                f"port {port} of this computer cannot be used ({first_sentence(error)}); choose another --port"
            ) from error
        # Pages of other sites that know the port still have another host name (DNS rebinding).
        self.hosts = {f"{name}:{self.server_port}" for name in (_HOST, "localhost")}

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{_HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors of the server; a browser that closed its connection is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(callbacks: Callbacks, port: int, *, open_browser: bool) -> None:
    """Serve the page until Ctrl-C, and print its address.

    Args:
        callbacks: Answers the requests of the page.
        port: The port; 0 for a free one.
        open_browser: Also open the address in the user's browser.
    """
    with ExplorerServer(callbacks, port) as server:
        try:
            print(f"{server.url}\nThe page is served until Ctrl-C.", flush=True)
            if open_browser:
                # Some browsers return only when they are closed.
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: ExplorerServer
    server_version, sys_version = "aeframe", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(_GET, b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"the request is too large\n")
            return
        self._answer(_POST, self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the path of each request has the token."""

    def _answer(self, routes: Mapping[str, _Route], body: bytes) -> None:
        parts = urlsplit(self.path)
        _, token, *rest = [*parts.path.split("/", 2), ""]
        origin = self.headers.get("Origin")
        is_known_host = self.headers.get("Host", "") in self.server.hosts
        is_own_origin = origin is None or origin.removeprefix("http://") in self.server.hosts
        if not (is_known_host and is_own_origin and secrets.compare_digest(token.encode(), self.server.token.encode())):
            self._send(
                HTTPStatus.FORBIDDEN, "text/plain", b"open the address that aeframe explore printed, with its token\n"
            )
            return
        route = routes.get(rest[0])
        if route is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such page\n")
            return
        try:
            with user_errors():
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                kind, content = route(self.server.callbacks, query, body)
        except AeframeError as error:
            self._send(HTTPStatus.BAD_REQUEST, *_json({"error": str(error)}))
            return
        except (KeyError, TypeError, ValueError) as error:
            self._send(HTTPStatus.BAD_REQUEST, *_json({"error": f"the request is not valid: {error}"}))
            return
        self._send(HTTPStatus.OK, kind, content)

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


_Route = Callable[[Callbacks, Mapping[str, str], bytes], Answer]


def _json(value: Any) -> Answer:
    return "application/json", json.dumps(value).encode()


def _file(name: str) -> _Route:
    def route(callbacks: Callbacks, query: Mapping[str, str], body: bytes) -> Answer:
        file, kind = _FILES[name]
        return kind, importlib.resources.files("aeframe.explorer").joinpath(file).read_bytes()

    return route


def _drawing_library(callbacks: Callbacks, query: Mapping[str, str], body: bytes) -> Answer:
    from plotly.offline import get_plotlyjs

    return "text/javascript; charset=utf-8", get_plotlyjs().encode()


def _like(query: Mapping[str, str]) -> int | None:
    return int(query["like"]) if query.get("like") else None


def _decode(callbacks: Callbacks, query: Mapping[str, str], body: bytes) -> Answer:
    request = json.loads(body)
    base = None if request["base"] is None else int(request["base"])
    offsets = [float(offset) for offset in request["offsets"]]
    return _json(callbacks.decode(base, str(request["along"]), offsets))


def _export(callbacks: Callbacks, query: Mapping[str, str], body: bytes) -> Answer:
    return callbacks.export(query["suffix"], [int(position) for position in json.loads(body)])


_GET: dict[str, _Route] = {
    **{name: _file(name) for name in _FILES},
    "plotly.js": _drawing_library,
    "overview": lambda callbacks, query, body: _json(callbacks.overview()),
    "points": lambda callbacks, query, body: ("application/octet-stream", callbacks.points()),
    "column": lambda callbacks, query, body: _json(callbacks.column(query["name"])),
    "sample": lambda callbacks, query, body: _json(callbacks.sample(int(query["at"]))),
    "detail": lambda callbacks, query, body: _json(callbacks.detail(int(query["at"]))),
    "path": lambda callbacks, query, body: _json(
        callbacks.path(int(query["from"]), int(query["to"]), int(query["steps"]))
    ),
    "samples": lambda callbacks, query, body: _json(
        callbacks.samples(int(query["num"]), int(query["seed"]), _like(query))
    ),
}
_POST: dict[str, _Route] = {"decode": _decode, "export": _export}
