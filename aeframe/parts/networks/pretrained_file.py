"""`PretrainedFile`: a network's weights, or a whole exported network, from a file with a known SHA-256.

Two formats: safetensors, which has tensors only, and the archive of `torch.export`, which also has the graph of the
network. Opening an archive can run code (torch evaluates expressions in it, and unpickles some tensors). So an archive
is opened only in two cases: the user's own config has its path and hash, or its copy lies in the `archive_folder`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from aeframe.errors import AeframeError
from aeframe.tensors import trusted_content

_log = logging.getLogger("aeframe")
# Each archive of torch.export has one of these files; the second was written before torch 2.8.
_ARCHIVE_MEMBERS = ("archive_format", "serialized_exported_program.json")


@dataclass(frozen=True, slots=True)
class PretrainedFile:
    """A file with a network, and the config keys that error messages name."""

    path: Path
    sha256: str | None
    """The hash of the file in hexadecimal; None is refused, with the file's hash in the error."""
    who: str
    """Kind and name of the part that contains the network, such as ``penalty perceptual``."""
    path_key: str
    """The config key of `path`, such as ``penalties.perceptual.file``."""
    sha256_key: str
    network_key: str
    """The config key of the network, such as ``penalties.perceptual.network``."""

    @property
    def _error_start(self) -> str:
        return f"{self.who} reads its network from '{self.path}'"

    def check(self) -> None:
        """Check that the file exists and has the expected hash.

        Raises:
            AeframeError: It does not exist, cannot be read, or has another hash.
        """
        if not self.path.is_file():
            raise AeframeError(f"{self._error_start}, which does not exist; correct {self.path_key}")
        try:
            with self.path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise AeframeError(
                f"{self._error_start}, which cannot be read ({error}); correct {self.path_key}"
            ) from error
        self._check_digest(digest)

    def _check_digest(self, digest: str) -> None:
        if self.sha256 is None or digest != self.sha256.lower():
            raise AeframeError(
                f"{self._error_start} with sha256 {digest}, expected {self.sha256 or 'one in the config'}; "
                f"if this is the right file, set {self.sha256_key} to its hash"
            )

    def load_weights(self, network: nn.Module, *, prefix: str = "", ignore: Collection[str] = ()) -> None:
        """Load the weights of `network` from a safetensors file, after checks of its hash and of all shapes.

        In a dry run the network is on the meta device: the file is checked, and no weights are loaded.

        Args:
            network: The network, with the same tensors as the file.
            prefix: Prefix of its tensors in the file; other tensors are not read.
            ignore: Names, without the prefix, of tensors of the file that the network does not have.

        Raises:
            AeframeError: The file is missing, has another hash or format, or does not have the network's tensors.
        """
        self.check()
        try:
            tensors = load_file(self.path)
        except SafetensorError as error:
            raise AeframeError(
                f"{self._error_start}, which is not a safetensors file ({error}); convert its weights"
            ) from error
        stored = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        stored = {name: value for name, value in stored.items() if name not in ignore}
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        shapes = {name: tuple(value.shape) for name, value in stored.items()}
        for name in sorted(expected.keys() | shapes.keys()):
            if expected.get(name) != shapes.get(name):
                raise AeframeError(
                    f"{self._error_start}, where tensor '{prefix}{name}' has shape {shapes.get(name)}, but the "
                    f"network's has {expected.get(name)}; set {self.network_key} to the saved one"
                )
        if not any(value.is_meta for value in network.state_dict().values()):
            network.load_state_dict(stored)

    def load_archive(self) -> nn.Module:
        """Return the network of a `torch.export` archive on the CPU, after a check of its hash.

        Its `train()` and `eval()` raise an error: dropout and batch statistics are as they were at the export.

        Raises:
            AeframeError: The file is missing, has another hash, or is no such archive.
        """
        if not self.path.is_file():
            raise AeframeError(f"{self._error_start}, which does not exist; correct {self.path_key}")
        try:
            # The bytes that are checked are the bytes that are opened, since opening an archive can run code.
            content = self.path.read_bytes()
        except OSError as error:
            raise AeframeError(
                f"{self._error_start}, which cannot be read ({error}); correct {self.path_key}"
            ) from error
        self._check_digest(hashlib.sha256(content).hexdigest())
        if not _is_archive(content):
            raise AeframeError(
                f"{self._error_start}, which is not an archive of torch.export; write it with torch.export.save, or "
                f"set {self.network_key} if it is a safetensors file"
            )
        try:
            # Without the context, tensors of the archive would be on the meta device in a dry run.
            with torch.device("cpu"), trusted_content():
                return torch.export.load(io.BytesIO(content)).module()
        except (RuntimeError, ValueError, KeyError) as error:
            first = str(error).partition("\n")[0]
            raise AeframeError(
                f"{self._error_start}, which torch {torch.__version__} cannot open ({first}); export the network again"
            ) from error

    def keep_archive(self) -> None:
        """Put the archive into the `archive_folder`, so that saved models find it; a hard link where possible.

        If that fails, a warning says so.
        """
        assert self.sha256 is not None
        target = archive_folder() / f"{self.sha256.lower()}.pt2"
        if target.exists():
            return
        # Processes of one run do this at the same time; renaming is atomic.
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.path, partial)
            except OSError:  # another file system
                shutil.copyfile(self.path, partial)
            partial.replace(target)
        except OSError as error:
            _log.warning(
                "%s cannot be copied to '%s' (%s); copy it before you open the saved model", self.path, target, error
            )

    def kept_archive(self) -> PretrainedFile:
        """Return the copy of the archive in the `archive_folder`, for a saved model.

        The path in the saved model's config is not used: a model of another author could name a file of its own,
        and opening that file could run code.

        Raises:
            AeframeError: There is no copy, or the hash is not one.
        """
        digest = (self.sha256 or "").lower()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise AeframeError(
                f"{self.who} needs {self.sha256_key}, the SHA-256 of '{self.path.name}' in 64 hexadecimal digits, "
                f"found {self.sha256!r}; copy the saved model again"
            )
        path = archive_folder() / f"{digest}.pt2"
        if not path.is_file():
            raise AeframeError(
                f"{self.who} needs the torch.export archive '{self.path.name}' with sha256 {digest}, which a saved "
                f"model does not contain; if you trust it, copy it to '{path}'"
            )
        return PretrainedFile(path, digest, self.who, self.path_key, self.sha256_key, self.network_key)


def archive_folder() -> Path:
    """Return the folder of archives that may be opened: ``AEFRAME_ARCHIVES``, or ``~/.cache/aeframe/archives``."""
    return Path(os.environ.get("AEFRAME_ARCHIVES") or "~/.cache/aeframe/archives").expanduser()


def _is_archive(content: bytes) -> bool:
    """Return whether a file is a zip archive with the members that `torch.export.save` writes."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith(_ARCHIVE_MEMBERS) for name in archive.namelist())
