"""Find public data on this machine, or download them once and verify their checksum."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from aeframe.errors import AeframeError

_log = logging.getLogger("aeframe")
_enabled = True
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 20
_NEXT_STEP = "try again later, or set data.path=... to a copy of your own"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the network."""

    url: str
    sha256: str | None = None
    """Checksum of the file; None where its bytes may change without its content, as in generated archives."""
    saved_as: str = ""
    """File name on this machine; by default the last part of `url`."""

    @property
    def name(self) -> str:
        """The file name on this machine."""
        return self.saved_as or self.url.rpartition("/")[2]


def data_folders() -> list[Path]:
    """Return the folders to search for data: ``AEFRAME_DATA``, then ``~/.cache/aeframe``; downloads go to the first."""
    cache = Path("~/.cache/aeframe").expanduser()
    configured = os.environ.get("AEFRAME_DATA", "")
    return [Path(configured).expanduser(), cache] if configured else [cache]


def local(*names: str) -> Path | None:
    """Return the first of `names` (paths relative to the data folders) that exists, or None."""
    return next((path for folder in data_folders() for name in names if (path := folder / name).exists()), None)


@contextmanager
def disabled() -> Iterator[None]:
    """Context in which `fetch` downloads nothing: it raises an `AeframeError` for a file that is not there."""
    global _enabled
    _enabled, before = False, _enabled
    try:
        yield
    finally:
        _enabled = before


def fetch(remote: Remote, folder: Path, *, who: str, check: Callable[[Path], None] | None = None) -> Path:
    """Return the path of the file in `folder`, after downloading it if it is not there.

    The checksum is verified after the download, and again for a file that is already there. The file appears in
    `folder` only when it is complete and verified.

    Args:
        remote: The file.
        folder: Where it is stored.
        who: The dataset, for error messages.
        check: Verifies a downloaded file that has no checksum; raises AeframeError if it is not the expected file.

    Raises:
        AeframeError: No network, no such file, no space on the disk, or not the expected file.
    """
    target = folder / remote.name
    if target.is_file():
        _verify_existing(target, remote, who)
        return target
    if not _enabled:
        raise AeframeError(f"{who} would be downloaded from '{remote.url}', and downloads are switched off here")
    _log.info("downloading %s to %s", remote.url, folder)
    from pooch import file_hash

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that download the same file write to folders of their own; the move is atomic.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            part = Path(scratch) / remote.name
            _download(remote.url, part)
            if remote.sha256 is not None and (sha256 := file_hash(str(part))) != remote.sha256:
                raise AeframeError(
                    f"{who}: '{remote.url}' has SHA-256 {sha256}, expected {remote.sha256}; {_NEXT_STEP}"
                )
            if check is not None:
                _verify_content(part, check, f"{who}: '{remote.url}'")
            part.replace(target)
    except OSError as error:  # the exceptions of requests among them
        raise AeframeError(
            f"{who} cannot be downloaded from '{remote.url}' ({_first_cause(error)}); set data.path=... to a copy of "
            "your own, or put it into the folder that AEFRAME_DATA names"
        ) from error
    return target


def _verify_existing(path: Path, remote: Remote, who: str) -> None:
    if remote.sha256 is None:
        return
    from pooch import file_hash

    try:
        sha256 = file_hash(str(path))
    except OSError as error:
        raise AeframeError(f"{who}: '{path}' cannot be read ({error}); delete it to download it again") from error
    if sha256 != remote.sha256:
        raise AeframeError(
            f"{who}: '{path}' has SHA-256 {sha256}, expected {remote.sha256}; delete it to download it again, or "
            "set data.path=... to a copy of your own"
        )


def _verify_content(path: Path, check: Callable[[Path], None], what: str) -> None:
    """Call `check`; `what` names the file at the start of its error message."""
    try:
        check(path)
    except AeframeError as error:
        raise AeframeError(f"{what} is not the expected file ({error}); {_NEXT_STEP}") from error


def _download(url: str, path: Path) -> None:
    """Write the content of `url` to a file; ``file:`` URLs are copied."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        shutil.copyfile(url2pathname(parts.path), path)
        return
    from pooch import HTTPDownloader

    # Compression by the server would change the bytes, and so the checksum.
    headers = {"Accept-Encoding": "identity"}
    try:
        HTTPDownloader(chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS, headers=headers)(url, str(path), None)
    except OSError as error:
        # pooch leaves the connection open after a status such as 404.
        if (response := getattr(error, "response", None)) is not None:
            response.close()
        raise


def _first_cause(error: BaseException) -> BaseException:
    """Return the exception that `error` was raised from, at any depth: the operating system's own reason."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
