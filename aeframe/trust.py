"""The list of ``aeplugin.py`` files that the user trusts, by path and content. Imports nothing heavy.

A Python file of this name in the working folder is a plugin. It is loaded only if its content is the one that was
trusted.
"""

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
"""The name of the plugin file in a working folder."""
_HOW_TO_LOAD = f"load it with --plugin {FILE_NAME}"
_TRUST_COMMAND = "aeframe plugins trust"


@dataclass(frozen=True, slots=True)
class FolderPlugin:
    """The plugin file of the working folder, trusted or not."""

    path: Path
    """The path of the file, with symlinks resolved."""
    content: bytes | None
    """The trusted content of the file; None if the file is not trusted."""
    reason: str = ""
    """Why the file is not trusted, and the next step."""


def folder_plugin() -> FolderPlugin | None:
    """Return the ``aeplugin.py`` of the working folder, None if there is none.

    A file that was never trusted is not opened.
    """
    if not os.path.isfile(FILE_NAME):
        return None
    path = Path(os.path.realpath(FILE_NAME))
    try:
        trusted_digest = _read().get(str(path))
    except AeframeError as error:
        return FolderPlugin(path, None, str(error))
    if trusted_digest is None:
        return FolderPlugin(path, None, f"{_HOW_TO_LOAD}, or trust it with {_TRUST_COMMAND} .")
    try:
        content = path.read_bytes()
    except OSError as error:
        return FolderPlugin(path, None, f"it cannot be read ({error.strerror})")
    if _digest(content) != trusted_digest:
        reason = f"it changed after it was trusted; {_HOW_TO_LOAD}, or trust it again with {_TRUST_COMMAND} ."
        return FolderPlugin(path, None, reason)
    return FolderPlugin(path, content)


def trust(path: Path) -> tuple[Path, str]:
    """Trust the current content of a plugin file; return the path of the file and the SHA-256 of the content.

    Args:
        path: A file named ``aeplugin.py``, or its folder.

    Raises:
        AeframeError: There is no such file, it has another name, or the list of trusted files cannot be read or
            written.
    """
    if path.is_file() and path.name != FILE_NAME:
        raise AeframeError(
            f"only a file named {FILE_NAME} is loaded from the working folder, found '{path.name}'; load it with "
            f"--plugin {path}"
        )
    file = _resolved(path)
    if not file.is_file():
        raise AeframeError(f"there is no file '{file}'; pass the folder of an {FILE_NAME}")
    try:
        digest = _digest(file.read_bytes())
    except OSError as error:
        raise AeframeError(f"'{file}' cannot be read ({error.strerror}); make it readable first") from error
    _write({**_read(), str(file): digest})
    return file, digest


def untrust(path: Path) -> Path:
    """Remove a file from the list of trusted files, and return its path. The file itself need not exist.

    Args:
        path: A file named ``aeplugin.py``, or its folder.

    Raises:
        AeframeError: The file is not on the list, or the list cannot be read or written.
    """
    file, trusted = _resolved(path), _read()
    if str(file) not in trusted:
        raise AeframeError(f"'{file}' is not trusted; trusted are {', '.join(trusted) or 'none'}")
    del trusted[str(file)]
    _write(trusted)
    return file


def _resolved(path: Path) -> Path:
    """Return the path of the plugin file, with symlinks resolved."""
    return Path(os.path.realpath(path if path.name == FILE_NAME else path / FILE_NAME))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store() -> Path:
    """Return the path of the list of trusted files, in the user's config folder.

    A relative path in ``XDG_CONFIG_HOME`` is ignored, since a working folder could then contain a list that trusts it.
    """
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    folder = configured if os.path.isabs(configured) else os.path.expanduser("~/.config")
    if not os.path.isabs(folder):
        raise AeframeError(
            f"there is no home folder for the list of trusted files; set XDG_CONFIG_HOME, or {_HOW_TO_LOAD}"
        )
    return Path(os.path.realpath(folder), "aeframe", "trusted.json")


def _read() -> dict[str, str]:
    """Return the SHA-256 of each trusted file by its path.

    Raises:
        AeframeError: The list cannot be read.
    """
    path = _store()
    try:
        trusted = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(trusted, dict) and all(isinstance(digest, str) for digest in trusted.values())):
            raise ValueError("expected SHA-256 values by path")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AeframeError(
            f"'{path}' cannot be read ({reason}), so that no file is trusted; delete it, and trust files again with "
            f"{_TRUST_COMMAND}"
        ) from error
    return trusted


def _write(trusted: dict[str, str]) -> None:
    """Replace the list of trusted files atomically."""
    path = Path(os.path.realpath(_store()))
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(trusted, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise AeframeError(f"'{path}' cannot be written ({error.strerror}); nothing was changed") from error
