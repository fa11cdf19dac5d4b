"""Find public data on this machine, or fetch them once, and make sure that they are what was expected."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aeframe.errors import AeframeError

_log = logging.getLogger("aeframe")
_TIMEOUT_SECONDS = 30
_CHUNK = 1 << 20
_WAY_OUT = "try again later, or give a copy of your own with data.path=..."


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the network."""

    url: str
    sha256: str | None = None
    """None where the server may make other bytes of the same content, as for archives that are made when asked for."""
    saved_as: str = ""
    """What the file is called here, where not as in `url`."""

    @property
    def name(self) -> str:
        """The file's name on this machine."""
        return self.saved_as or self.url.rpartition("/")[2]


def data_folders() -> list[Path]:
    """Return where data are looked for: ``AEFRAME_DATA``, then ``~/.cache/aeframe``; downloads go to the first."""
    cache = Path("~/.cache/aeframe").expanduser()
    named = os.environ.get("AEFRAME_DATA", "")
    return [Path(named).expanduser(), cache] if named else [cache]


def local(*names: str) -> Path | None:
    """Return the first of `names` (paths below the data folders) that exists."""
    return next((path for folder in data_folders() for name in names if (path := folder / name).exists()), None)


def fetch(remote: Remote, folder: Path, *, who: str, check: Callable[[Path], None] | None = None) -> Path:
    """Return the file in `folder`, downloaded if it is not there; a file that is not as expected is never returned.

    One that was downloaded before is read again for its SHA-256, where `remote` has one.

    Args:
        remote: What to fetch.
        folder: Where it is kept.
        who: The dataset, for messages.
        check: Looks into a file that was downloaded, and raises AeframeError where it is not the one expected: for one
            without a checksum.

    Raises:
        AeframeError: No network, no such file, no room, or a file that is not the one expected.
    """
    target = folder / remote.name
    if target.is_file():
        _check_cached(target, remote, who)
        return target
    _log.info("downloading %s to %s", remote.url, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes may fetch the same file: each writes its own, and the last to finish moves it in whole.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            part = Path(scratch) / remote.name
            found = _download(remote.url, part)
            if remote.sha256 is not None and found != remote.sha256:
                raise AeframeError(
                    f"{who}: '{remote.url}' gave a file with SHA-256 {found}, expected {remote.sha256}; {_WAY_OUT}"
                )
            if check is not None:
                _checked(part, check, f"{who}: '{remote.url}'")
            part.replace(target)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise AeframeError(
            f"{who} cannot be downloaded from '{remote.url}' ({reason}); give a copy of your own with data.path=..., "
            "or put it below the folder that AEFRAME_DATA names"
        ) from error
    return target


def _check_cached(path: Path, remote: Remote, who: str) -> None:
    if remote.sha256 is None:
        return
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AeframeError(f"{who}: '{path}' cannot be read ({error}); delete it to download it again") from error
    if found != remote.sha256:
        raise AeframeError(
            f"{who}: '{path}' has SHA-256 {found}, expected {remote.sha256}; delete it to download it again, or give a "
            "copy of your own with data.path=..."
        )


def _download(url: str, path: Path) -> str:
    """Write what is at `url` to a file, and return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file, urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        while chunk := response.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _checked(path: Path, check: Callable[[Path], None], what: str) -> None:
    try:
        check(path)
    except AeframeError as error:
        raise AeframeError(f"{what} gave another file than expected ({error}); {_WAY_OUT}") from error
