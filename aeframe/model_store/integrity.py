"""SHA-256 of a saved model's files: a changed or missing file is noticed when the model is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from aeframe.errors import AeframeError

HASHED = (
    "model.safetensors",
    "modality.json",
    "modality.safetensors",
    "data.json",
    "splits.safetensors",
    "scores.safetensors",
)
"""The files that are hashed. The user may edit ``config.yaml``, which has the hashes, and ``card.md``."""


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files of a saved model by name, for `check_hashes`."""
    return {name: sha256_of(folder / name) for name in HASHED if (folder / name).is_file()}


def check_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare the files of a saved model with the hashes in its config.

    Raises:
        AeframeError: A file is missing, changed or added, or cannot be read.
    """
    for name in HASHED:
        path = folder / name
        if not path.is_file():
            if name in hashes:
                raise AeframeError(f"there is no file '{path}', which a saved model has; copy the folder again")
            continue
        if name not in hashes:
            raise AeframeError(f"'{path}' is no file that this model was saved with; copy the whole folder again")
        try:
            found = sha256_of(path)
        except OSError as error:
            raise AeframeError(f"'{path}' cannot be read: {error.strerror or error}; copy the folder again") from error
        if found != hashes[name]:
            raise AeframeError(
                f"'{path}' is damaged: its SHA-256 is {found[:12]}..., and {hashes[name][:12]}... in config.yaml; copy "
                "the whole folder again"
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
