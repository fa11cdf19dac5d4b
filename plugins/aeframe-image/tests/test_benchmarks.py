"""MNIST, Fashion-MNIST and CIFAR-10: file formats, search paths and checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aeframe import AeframeError
from aeframe.data.downloads import Remote
from aeframe.testing.fixtures import real_file
from aeframe_image.benchmark import Benchmark
from aeframe_image.cifar import _REMOTE, CIFAR10
from aeframe_image.idx import MNIST, FashionMNIST, read_idx
from aeframe_image.modality import Image

RNG = np.random.default_rng(0)
X_TRAIN, X_TEST = (RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (12, 4))
Y_TRAIN, Y_TEST = (RNG.integers(0, 10, n, dtype=np.uint8) for n in (12, 4))
C_TRAIN, C_TEST = (RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8) for n in (10, 2))


@pytest.fixture(autouse=True)
def _no_data_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_idx(folder: Path, *, zipped: bool) -> None:
    folder.mkdir(parents=True)
    files = {
        "train-images-idx3-ubyte": X_TRAIN,
        "train-labels-idx1-ubyte": Y_TRAIN,
        "t10k-images-idx3-ubyte": X_TEST,
        "t10k-labels-idx1-ubyte": Y_TEST,
    }
    for name, array in files.items():
        content = idx(array)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)


def cifar_files() -> dict[str, bytes]:
    def records(images: NDArray[np.uint8], first: int) -> bytes:
        return b"".join(bytes([first + n]) + image.tobytes() for n, image in enumerate(images))

    train = {f"data_batch_{n + 1}.bin": records(C_TRAIN[2 * n : 2 * n + 2], 2 * n) for n in range(5)}
    return {**train, "test_batch.bin": records(C_TEST, 0)}


def write_cifar(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"hello", **cifar_files()}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def message(dataset: Benchmark) -> str:
    with pytest.raises(AeframeError) as caught:
        dataset.load()
    return str(caught.value)


def check_mnist(dataset: Benchmark) -> None:
    raw = dataset.load()
    # The validation split is the last sixth of the training images.
    assert [len(stack) for stack in raw.values()] == [10, 2, 4]
    images = torch.cat([raw["train"].pixels, raw["validation"].pixels])  # type: ignore[union-attr]
    assert torch.equal(images, torch.from_numpy(X_TRAIN)[:, None])
    assert torch.equal(raw["test"].pixels, torch.from_numpy(X_TEST)[:, None])  # type: ignore[union-attr]
    for split, labels in {"train": Y_TRAIN[:10], "validation": Y_TRAIN[10:], "test": Y_TEST}.items():
        loaded = raw[split].labels
        assert loaded is not None
        assert loaded.dtype == torch.int64
        assert loaded.tolist() == labels.tolist()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_of_a_folder(tmp_path: Path, kind: type[MNIST], zipped: bool) -> None:
    write_idx(tmp_path / "raw", zipped=zipped)
    dataset = kind(path=str(tmp_path / "raw"))
    assert dataset.describe() == {"shape": (1, 28, 28)}
    check_mnist(dataset)


@pytest.mark.parametrize("place", ["mnist.npz", "image/mnist.npz", "mnist/mnist.npz"])
@pytest.mark.parametrize("root", ["data", "home/.cache/aeframe"])
def test_a_npz_is_found_in_the_data_folders(tmp_path: Path, root: str, place: str) -> None:
    path = tmp_path / root / place
    path.parent.mkdir(parents=True)
    np.savez(path, x_train=X_TRAIN, y_train=Y_TRAIN, x_test=X_TEST, y_test=Y_TEST)
    check_mnist(MNIST())
    check_mnist(MNIST(path=str(path)))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with downloaded files of Fashion-MNIST; the dataset's URLs are those of a local copy."""
    folder, server = tmp_path / "data" / "fashion_mnist", tmp_path / "server"
    for copy in (folder, server):
        write_idx(copy, zipped=True)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = [server / f"{name}-ubyte.gz" for name in names]
    monkeypatch.setattr(FashionMNIST, "base", f"{server.as_uri()}/")
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(FashionMNIST, "checksums", tuple(sha256(file) for file in files))
    return folder


def test_downloaded_files_are_found_again(tmp_path: Path, downloaded: Path) -> None:
    shutil.rmtree(tmp_path / "server")
    check_mnist(FashionMNIST())


def test_downloaded_files_are_verified(downloaded: Path) -> None:
    path = downloaded / "t10k-labels-idx1-ubyte.gz"
    expected = sha256(path)
    path.write_bytes(gzip.compress(idx(Y_TEST[::-1].copy())))
    assert message(FashionMNIST()) == (
        f"dataset 'fashion_mnist': '{path}' has SHA-256 {sha256(path)}, expected {expected}; delete it to download it "
        "again, or set data.path=... to a copy of your own"
    )


def test_missing_files_are_downloaded(downloaded: Path) -> None:
    (downloaded / "t10k-labels-idx1-ubyte.gz").unlink()
    check_mnist(FashionMNIST())


def test_unpacked_files_are_found(tmp_path: Path) -> None:
    write_idx(tmp_path / "data" / "fashion_mnist", zipped=False)
    check_mnist(FashionMNIST())
    folder = tmp_path / "data" / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, content in cifar_files().items():
        (folder / name).write_bytes(content)
    assert len(CIFAR10().load()["test"]) == 2


def test_a_downloaded_archive_is_verified(tmp_path: Path) -> None:
    path = write_cifar(tmp_path / "data" / "cifar10" / "cifar-10-binary.tar.gz")
    assert message(CIFAR10()) == (
        f"dataset 'cifar10': '{path}' has SHA-256 {sha256(path)}, expected {_REMOTE.sha256}; delete it to download it "
        "again, or set data.path=... to a copy of your own"
    )


def test_the_published_mnist() -> None:
    splits = Image().prepare(MNIST(path=str(real_file("image/mnist.npz"))))
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [50_000, 10_000, 10_000]
    batch = splits.train.batch(torch.arange(5))
    assert batch.x.shape == (5, 1, 28, 28)
    assert batch.extras["label"].tolist() == [5, 0, 4, 1, 9]
    # The commonly cited mean brightness of the training images is 0.1307. The step is odd because even rows of the file
    # are darker than odd ones.
    assert splits.train.batch(torch.arange(0, 50_000, 17)).x.mean() == pytest.approx(0.1307, abs=0.002)


@pytest.mark.parametrize("form", ["archive", "folder with archive", "files", "unpacked", "found"])
def test_cifar_files_and_archives(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some"
    if form in ("archive", "folder with archive", "found"):
        where = tmp_path / "data" / "cifar10" if form == "found" else folder
        archive = write_cifar(where / "cifar-10-binary.tar.gz")
        monkeypatch.setattr("aeframe_image.cifar._REMOTE", Remote(_REMOTE.url, sha256(archive)))
        path = {"archive": str(archive), "folder with archive": str(folder), "found": None}[form]
    else:
        inner = folder / "cifar-10-batches-bin" if form == "unpacked" else folder
        inner.mkdir(parents=True)
        for name, content in cifar_files().items():
            (inner / name).write_bytes(content)
        path = str(folder)
    raw = CIFAR10(path=path).load()
    assert [len(stack) for stack in raw.values()] == [8, 2, 2]
    images = torch.cat([raw["train"].pixels, raw["validation"].pixels])  # type: ignore[union-attr]
    assert torch.equal(images, torch.from_numpy(C_TRAIN))
    assert raw["validation"].labels is not None
    assert raw["validation"].labels.tolist() == [8, 9]
    assert torch.equal(raw["test"].pixels, torch.from_numpy(C_TEST))  # type: ignore[union-attr]


# -- bad input ---------------------------------------------------------------------------------------------------

MNIST_PATH = "a NPZ with x_train and x_test, or a folder with the four IDX files"


def test_a_missing_path(tmp_path: Path) -> None:
    assert message(MNIST(path=str(tmp_path / "no"))) == (
        f"dataset 'mnist': there is no '{tmp_path}/no'; set data.path to {MNIST_PATH}, or leave it out"
    )


def test_a_folder_without_the_files(tmp_path: Path) -> None:
    assert message(MNIST(path=str(tmp_path))) == (
        f"dataset 'mnist': '{tmp_path}' has no 'train-images-idx3-ubyte' or 'train-images-idx3-ubyte.gz'; set "
        f"data.path to {MNIST_PATH}"
    )


def test_images_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=X_TRAIN[:, :20], x_test=X_TEST)
    assert message(MNIST(path=str(path))) == (
        f"dataset 'mnist': '{path}' has train images of 1 x 20 x 28, expected images of 1 x 28 x 28; set data.path "
        f"to {MNIST_PATH}"
    )


def test_no_test_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=X_TRAIN)
    assert message(MNIST(path=str(path))) == (
        f"dataset 'mnist': '{path}' has no test images, expected images of 1 x 28 x 28; set data.path to {MNIST_PATH}"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"hello there", "'{path}' is not an IDX file of bytes"),
        (b"", "'{path}' is not an IDX file of bytes"),
        (idx(X_TEST)[:-1], "'{path}' has 3135 values, expected 3136 by its header"),
    ],
)
def test_invalid_idx_files_are_errors(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(AeframeError) as caught:
        read_idx(path, who="dataset 'mnist'")
    assert str(caught.value) == f"dataset 'mnist': {problem.format(path=path)}; remove it and try again"


@pytest.mark.parametrize("zipped", [False, True])
def test_sizes_in_the_header_are_checked_before_they_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    path = tmp_path / ("a.gz" if zipped else "a")
    monkeypatch.setenv("AEFRAME_MAX_GB", "1")
    for sizes, problem in (
        ((2**31, 2**31), "an array of shape (2147483648, 2147483648) would occupy 4.61e+06 TB"),
        ((3, 4), "has more than 12 values, expected 12 by its header"),
    ):
        content = b"\0\0\x08\x02" + struct.pack(">II", *sizes) + bytes(10**6)
        path.write_bytes(gzip.compress(content) if zipped else content)
        with pytest.raises(AeframeError) as caught:
            read_idx(path, who="dataset 'mnist'")
        assert problem in str(caught.value)


def test_a_truncated_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx(X_TEST))[:100])
    with pytest.raises(AeframeError) as caught:
        read_idx(path, who="dataset 'mnist'")
    assert str(caught.value) == (
        f"dataset 'mnist': '{path}' cannot be read (Compressed file ended before the end-of-stream marker was "
        "reached); remove it and try again"
    )


CIFAR_PATH = "a NPZ with x_train and x_test, cifar-10-binary.tar.gz, or a folder with its .bin files"


def test_a_cifar_file_that_is_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"hello")
    assert message(CIFAR10(path=str(path))) == (
        f"dataset 'cifar10': '{path}' cannot be read as a tar archive; set data.path to {CIFAR_PATH}"
    )


def test_a_truncated_cifar_archive(tmp_path: Path) -> None:
    path = write_cifar(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:20_000])
    assert message(CIFAR10(path=str(path))) == (
        f"dataset 'cifar10': '{path}' cannot be read as a tar archive; set data.path to {CIFAR_PATH}"
    )


def test_missing_and_truncated_cifar_files(tmp_path: Path) -> None:
    for name, content in cifar_files().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_3.bin").write_bytes(b"1234")
    assert message(CIFAR10(path=str(tmp_path))) == (
        f"dataset 'cifar10': 'data_batch_3.bin' of '{tmp_path}' has 4 bytes, expected a multiple of 3073; set "
        f"data.path to {CIFAR_PATH}"
    )
    (tmp_path / "data_batch_3.bin").unlink()
    assert message(CIFAR10(path=str(tmp_path))) == (
        f"dataset 'cifar10': '{tmp_path}' has no 'data_batch_3.bin'; set data.path to {CIFAR_PATH}"
    )
