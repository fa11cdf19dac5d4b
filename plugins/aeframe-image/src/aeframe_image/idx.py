"""The datasets ``mnist`` and ``fashion_mnist``, and their file format IDX: a header with the shape, then bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data.downloads import Remote, fetch
from aeframe.data.limits import check_memory
from aeframe.errors import AeframeError
from aeframe_image.benchmark import Benchmark
from aeframe_image.pictures import Stack

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_UNSIGNED_BYTE = 8
"""The code of this type in the header."""


def read_idx(path: Path, *, who: str) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not (LeCun, Cortes & Burges 1998).

    Raises:
        AeframeError: A damaged or truncated file, or another format.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _UNSIGNED_BYTE:
                raise AeframeError(f"{who}: '{path}' is not an IDX file of bytes; remove it and try again")
            header = file.read(4 * magic[3])
            sizes = [int.from_bytes(header[start : start + 4], "big") for start in range(0, len(header), 4)]
            check_memory(f"{who}: '{path}'", math.prod(sizes), f"an array of shape {tuple(sizes)}")
            # A damaged or hostile file may inflate to any size.
            content = file.read(math.prod(sizes) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise AeframeError(f"{who}: '{path}' cannot be read ({error}); remove it and try again") from error
    if len(content) != math.prod(sizes):
        found = len(content) if len(content) < math.prod(sizes) else f"more than {math.prod(sizes)}"
        raise AeframeError(
            f"{who}: '{path}' has {found} values, expected {math.prod(sizes)} by its header; remove it and try again"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)


class MNIST(Benchmark):
    """70,000 handwritten digits of 28 x 28 grey pixels (LeCun, Bottou, Bengio & Haffner 1998).

    50,000 training, 10,000 validation (the last of the training file) and 10,000 test images. `path` is a NPZ with
    ``x_train`` and ``x_test``, or a folder with the four IDX files, gzipped or not. Null searches ``AEFRAME_DATA`` and
    ``~/.cache/aeframe``, then downloads 11 MB.
    """

    name = "mnist"
    shape = (1, 28, 28)
    validation = 6
    expected_path = "a NPZ with x_train and x_test, or a folder with the four IDX files"
    base: ClassVar[str] = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    checksums: ClassVar[tuple[str, ...]] = (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    )

    def __init__(self, *, path: Path | None = None) -> None:
        super().__init__(path=path)

    def download(self, folder: Path) -> Path:
        names = [name for pair in _FILES.values() for name in pair]
        for name, checksum in zip(names, self.checksums, strict=True):
            # The checksums are those of the compressed files, so unpacked files are not verified.
            if not (folder / name).is_file():
                fetch(Remote(f"{self.base}{name}.gz", checksum), folder, who=self.who)
        return folder

    def original(self, path: Path) -> dict[str, Stack]:
        return {split: self._stack(path, *names) for split, names in _FILES.items()}

    def _stack(self, folder: Path, images: str, labels: str) -> Stack:
        pixels = torch.from_numpy(read_idx(self._file(folder, images), who=self.who).copy()).unsqueeze(1)
        return Stack(pixels, torch.from_numpy(read_idx(self._file(folder, labels), who=self.who).astype(np.int64)))

    def _file(self, folder: Path, name: str) -> Path:
        file = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        if file is None:
            raise AeframeError(
                f"{self.who}: '{folder}' has no '{name}' or '{name}.gz'; set data.path to {self.expected_path}"
            )
        return file


class FashionMNIST(MNIST):
    """70,000 images of clothing of 28 x 28 grey pixels (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747).

    50,000 training, 10,000 validation (the last of the training file) and 10,000 test images. `path` is a NPZ with
    ``x_train`` and ``x_test``, or a folder with the four IDX files, gzipped or not. Null searches ``AEFRAME_DATA`` and
    ``~/.cache/aeframe``, then downloads 30 MB.
    """

    name = "fashion_mnist"
    base = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    checksums = (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    )
