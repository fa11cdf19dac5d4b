"""Read and write the YAML and text files of runs and saved models."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml

from aeframe.errors import AeframeError, did_you_mean


def existing_folder(path: str | Path) -> Path:
    """Return `path` if it is a folder.

    Raises:
        AeframeError: There is no such folder; the message has the nearest name in its parent folder.
    """
    path = Path(path)
    if path.is_dir():
        return path
    if path.exists():
        raise AeframeError(f"'{path}' is a file, expected the folder of a run or of a saved model")
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    raise AeframeError(f"there is no folder '{path}'{did_you_mean(path.name, siblings)}")


def write_yaml(path: Path, value: Any) -> None:
    """Write plain values as YAML, in their order."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of plain values.

    Raises:
        AeframeError: The file is missing, or is not a mapping in YAML.
    """
    if not path.is_file():
        raise AeframeError(f"there is no file '{path}', which a run and a saved model have; copy the folder again")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise AeframeError(
            f"'{path}' cannot be read as YAML of plain values ({reason}); copy the file again"
        ) from error
    if not isinstance(values, dict):
        raise AeframeError(f"'{path}' holds no mapping of names to values; copy the file again")
    return values


def write_text(path: Path, text: str) -> None:
    """Write a file completely or not at all: to a temporary file, which is then renamed. Line ends are kept."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
