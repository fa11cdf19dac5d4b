"""Write the YAML and text files of runs and saved models; `aeframe.plain_files` reads them."""

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
    write_text(path, yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Dumper(yaml.SafeDumper):
    """Write an object that occurs twice as two values, without an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


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
