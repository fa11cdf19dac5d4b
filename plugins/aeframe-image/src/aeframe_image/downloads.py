"""Find benchmark data on this machine, or fetch them once, with their checksum."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from aeframe.errors import AeframeError

_log = logging.getLogger("aeframe")
_TIMEOUT_SECONDS = 30
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the network."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def data_folders() -> list[Path]:
    """Return where data are looked for: ``AEFRAME_DATA``, then ``~/.cache/aeframe``; downloads go to the first."""
    cache = Path("~/.cache/aeframe").expanduser()
    named = os.environ.get("AEFRAME_DATA", "")
    return [Path(named).expanduser(), cache] if named else [cache]


def local(*names: str) -> Path | None:
    """Return the first of `names` (paths below the data folders) that exists."""
    return next((path for folder in data_folders() for name in names if (path := folder / name).exists()), None)


def fetch(remote: Remote, folder: Path, *, who: str) -> Path:
    """Return the file in `folder`, downloaded if it is not there.

    Raises:
        AeframeError: No network, no such file, no room, or a file that is not the one expected.
    """
    target = folder / remote.name
    if target.is_file():
        return target
    _log.info("downloading %s to %s", remote.url, folder)
    part: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes may fetch the same file: each writes its own, and the last to finish renames it whole.
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{remote.name}.")
        part = Path(name)
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(remote.url, timeout=_TIMEOUT_SECONDS) as response:
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != remote.sha256:
            raise AeframeError(
                f"{who}: '{remote.url}' gave a file with SHA-256 {digest.hexdigest()}, expected {remote.sha256}; "
                "try again later, or give a copy of your own with data.path=..."
            )
        part.replace(target)
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise AeframeError(
            f"{who} cannot be downloaded from '{remote.url}' ({reason}); give a copy of your own with data.path=..., "
            "or put it below the folder that AEFRAME_DATA names"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return target
