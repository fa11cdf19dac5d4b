"""Which ``aeplugin.py`` files the user trusts, by path and content. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aeframe.errors import AeframeError

FILE_NAME = "aeplugin.py"
"""The plugin file of a working folder."""
_LOAD = f"load it with --plugin {FILE_NAME}"
_TRUST = "aeframe plugins trust"


@dataclass(frozen=True, slots=True)
class FolderPlugin:
    """The plugin file of the working folder, whether it is trusted or not."""

    path: Path
    """With symlinks resolved."""
    content: bytes | None
    """What was compared with the trusted content; None where the file is not trusted."""
    reason: str = ""
    """Why it is not trusted, and what to do."""


def folder_plugin() -> FolderPlugin | None:
    """Return the ``aeplugin.py`` of the working folder, None where there is none.

    A file that the user never trusted is not opened.
    """
    if not os.path.isfile(FILE_NAME):
        return None
    path = Path(os.path.realpath(FILE_NAME))
    try:
        trusted = _read().get(str(path))
    except AeframeError as error:
        return FolderPlugin(path, None, str(error))
    if trusted is None:
        return FolderPlugin(path, None, f"{_LOAD}, or trust it with {_TRUST} .")
    try:
        content = path.read_bytes()
    except OSError as error:
        return FolderPlugin(path, None, f"it cannot be read ({error.strerror})")
    if _digest(content) != trusted:
        reason = f"it was changed after it was trusted; {_LOAD}, or trust it again with {_TRUST} ."
        return FolderPlugin(path, None, reason)
    return FolderPlugin(path, content)


def trust(place: Path) -> tuple[Path, str]:
    """Trust a file with the content that it has now, and return its path and the SHA-256 of the content.

    Args:
        place: A file named ``aeplugin.py``, or its folder.

    Raises:
        AeframeError: No such file, another name, or a list of trusted files that cannot be read or written.
    """
    if place.is_file() and place.name != FILE_NAME:
        raise AeframeError(
            f"only a file named {FILE_NAME} is loaded from the working folder, found '{place.name}'; load it with "
            f"--plugin {place}"
        )
    path = _resolved(place)
    if not path.is_file():
        raise AeframeError(f"there is no file '{path}'; give the folder of an {FILE_NAME}")
    try:
        digest = _digest(path.read_bytes())
    except OSError as error:
        raise AeframeError(f"'{path}' cannot be read ({error.strerror}); make it readable first") from error
    _write({**_read(), str(path): digest})
    return path, digest


def untrust(place: Path) -> Path:
    """Take a file off the list of trusted files, and return its path; the file itself may be gone.

    Args:
        place: As for `trust`.

    Raises:
        AeframeError: A file that is not on the list, or a list that cannot be read or written.
    """
    path, trusted = _resolved(place), _read()
    if str(path) not in trusted:
        raise AeframeError(f"'{path}' is not trusted; trusted are {', '.join(trusted) or 'none'}")
    del trusted[str(path)]
    _write(trusted)
    return path


def _resolved(place: Path) -> Path:
    return Path(os.path.realpath(place if place.name == FILE_NAME else place / FILE_NAME))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store() -> Path:
    """Return the file with the list of trusted files, which is below the user's config folder.

    Relative paths in the environment are ignored: they would name a file of the working folder.
    """
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    folder = configured if os.path.isabs(configured) else os.path.expanduser("~/.config")
    if not os.path.isabs(folder):
        raise AeframeError(f"there is no home folder to keep trusted files in; set XDG_CONFIG_HOME, or {_LOAD}")
    return Path(os.path.realpath(folder), "aeframe", "trusted.json")


def _read() -> dict[str, str]:
    """Return the SHA-256 of each trusted file by its path.

    Raises:
        AeframeError: A list that cannot be read.
    """
    path = _store()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(found, dict) and all(isinstance(digest, str) for digest in found.values())):
            raise ValueError("expected SHA-256 values by path")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise AeframeError(
            f"'{path}' cannot be read ({why}), so no file is trusted; delete it, and trust files again with {_TRUST}"
        ) from error
    return found


def _write(trusted: dict[str, str]) -> None:
    """Write the list whole or not at all."""
    path = Path(os.path.realpath(_store()))
    partial = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(number, "w", encoding="utf-8") as file:
            json.dump(trusted, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise AeframeError(f"'{path}' cannot be written ({error.strerror}); nothing was changed") from error
