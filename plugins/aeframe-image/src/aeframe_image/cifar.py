"""The dataset ``cifar10``, read from its binary version; the Python version is a pickle, which can run code."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from aeframe.data.downloads import Remote, fetch
from aeframe.errors import AeframeError
from aeframe_image.benchmark import Benchmark
from aeframe_image.pictures import Stack

_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)
_RECORD = 1 + 3 * 32 * 32
"""Bytes of one image: its class, then red, green and blue pixels row by row."""
_REMOTE = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)


class CIFAR10(Benchmark):
    """60,000 colour photographs of 32 x 32 pixels in ten classes (Krizhevsky 2009).

    40,000 training, 10,000 validation (the last of the training files) and 10,000 test images. `path` is a NPZ with
    ``x_train`` and ``x_test``, the archive ``cifar-10-binary.tar.gz``, or a folder with it or with its ``.bin`` files.
    Null searches ``AEFRAME_DATA`` and ``~/.cache/aeframe``, then downloads 162 MB.
    """

    name = "cifar10"
    shape = (3, 32, 32)
    validation = 5
    expected_path = "a NPZ with x_train and x_test, cifar-10-binary.tar.gz, or a folder with its .bin files"

    def __init__(self, *, path: Path | None = None) -> None:
        super().__init__(path=path)

    def download(self, folder: Path) -> Path:
        # The checksum is that of the archive, so unpacked files are not verified.
        unpacked = _unpacked(folder) and not (folder / _REMOTE.name).is_file()
        return folder if unpacked else fetch(_REMOTE, folder, who=self.who)

    def original(self, path: Path) -> dict[str, Stack]:
        if path.is_dir() and (path / _REMOTE.name).is_file():
            path = path / _REMOTE.name
        files = self._from_folder(path) if path.is_dir() else self._from_archive(path)
        missing = next((name for name in (*_TRAIN, *_TEST) if name not in files), None)
        if missing is not None:
            raise AeframeError(f"{self.who}: '{path}' has no '{missing}'; set data.path to {self.expected_path}")
        return {
            "train": self._stack(path, [(name, files[name]) for name in _TRAIN]),
            "test": self._stack(path, [(name, files[name]) for name in _TEST]),
        }

    def _from_folder(self, folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in _unpacked(folder)}

    def _from_archive(self, archive: Path) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = member.name.rpartition("/")[2]
                    if name in (*_TRAIN, *_TEST) and (file := tar.extractfile(member)) is not None:
                        files[name] = file.read()
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise AeframeError(
                f"{self.who}: '{archive}' cannot be read as a tar archive; set data.path to {self.expected_path}"
            ) from error
        return files

    def _stack(self, path: Path, files: Iterable[tuple[str, bytes]]) -> Stack:
        records = []
        for name, content in files:
            if not content or len(content) % _RECORD:
                raise AeframeError(
                    f"{self.who}: '{name}' of '{path}' has {len(content)} bytes, expected a multiple of {_RECORD}; "
                    f"set data.path to {self.expected_path}"
                )
            records.append(np.frombuffer(content, np.uint8).reshape(-1, _RECORD))
        rows = torch.from_numpy(np.concatenate(records))
        return Stack(rows[:, 1:].reshape(-1, 3, 32, 32).contiguous(), rows[:, 0].long())


def _unpacked(folder: Path) -> list[Path]:
    """Return the unpacked files of the archive in a folder, or in the sub-folder that unpacking creates."""
    parents = (folder, folder / "cifar-10-batches-bin")
    return [parent / name for parent in parents for name in (*_TRAIN, *_TEST) if (parent / name).is_file()]
