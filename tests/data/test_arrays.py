"""Files of arrays: headers, names, splits and labels, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeframe.data.arrays import ArrayFile, SplitArrays
from aeframe.errors import AeframeError

X = np.arange(24, dtype=np.uint8).reshape(6, 4)


def save_arrays(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def open_splits(path: Path, key: str | None = None) -> SplitArrays:
    return SplitArrays(path, who="w", nouns=("scan", "scans", "slices"), key=key)


def error_of(function: Any, *args: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        function(*args)
    return str(caught.value)


def test_arrays_and_their_headers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.astype(np.float32))
    plain, zipped = ArrayFile(tmp_path / "a.npy", who="w"), ArrayFile(save_arrays(tmp_path, x=X, other=X[0]), who="w")
    assert (plain.names, plain.where("arr_0")) == (["arr_0"], f"w: '{tmp_path}/a.npy'")
    assert (zipped.names, zipped.where("other")) == (["x", "other"], "w: array 'other'")
    assert plain.header("arr_0") == ((6, 4), np.float32)
    assert zipped.header("other") == ((4,), np.uint8)
    np.testing.assert_array_equal(plain.load("arr_0"), X)
    np.testing.assert_array_equal(zipped.load("other"), X[0])


@pytest.mark.parametrize("who", ["", "w"])
def test_errors_of_unreadable_files(tmp_path: Path, who: str) -> None:
    out = "save it again with numpy.savez, without objects"
    begin = f"{who}: " if who else ""
    path = tmp_path / "a.npz"
    path.write_text("a")
    assert error_of(lambda: ArrayFile(path, who=who)) == (
        f"{begin}'{path}' cannot be read (File is not a zip file); {out}"
    )
    save_arrays(tmp_path, x=np.array([{}], dtype=object))
    assert error_of(ArrayFile(path, who=who).load, "x") == (
        f"{begin}'{path}' cannot be read (Object arrays cannot be loaded when allow_pickle=False); {out}"
    )
    (tmp_path / "b.npy").write_text("a")
    for act in (ArrayFile(tmp_path / "b.npy", who=who).header, ArrayFile(tmp_path / "b.npy", who=who).load):
        message = error_of(act, "arr_0")
        assert message.startswith(f"{begin}'{tmp_path}/b.npy' cannot be read (")
        assert message.endswith("); save it again with numpy.save, without objects")


def test_a_compressed_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 9, 4000))
    content = bytearray(path.read_bytes())
    content[200:210] = b"\xff" * 10
    path.write_bytes(bytes(content))
    assert error_of(ArrayFile(path, who="w").load, "x").startswith(f"w: '{path}' cannot be read (")


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("x",), {"train": "x"}),
        (("slices", "weights"), {"train": "slices"}),
        (("anything",), {"train": "anything"}),
        (("x_train", "val_scans", "test"), {"train": "x_train", "validation": "val_scans", "test": "test"}),
        (("X_train", "X_valid"), {"train": "X_train", "validation": "X_valid"}),
        # A test split without a training split is ignored.
        (("x", "x_test"), {"train": "x"}),
    ],
)
def test_which_arrays_are_splits(tmp_path: Path, names: tuple[str, ...], keys: dict[str, str]) -> None:
    assert open_splits(save_arrays(tmp_path, **dict.fromkeys(names, X))).keys == keys


@pytest.mark.parametrize(
    ("name", "label"),
    [("x", "y"), ("x", "labels"), ("x_train", "y_train"), ("scans", "targets"), ("train_scans", "train_labels")],
)
def test_which_arrays_are_labels(tmp_path: Path, name: str, label: str) -> None:
    # A column, as in MedMNIST.
    labels = open_splits(save_arrays(tmp_path, **{name: X, label: np.arange(6)[:, None]})).labels("train", 6)
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert open_splits(save_arrays(tmp_path, **{name: X, "weights": X})).labels("train", 6) is None


def test_one_array_of_labels_is_ignored_if_there_are_splits(tmp_path: Path) -> None:
    assert open_splits(save_arrays(tmp_path, x_train=X, x_test=X, y=np.arange(6))).labels("train", 6) is None


def test_labels_match_the_requested_array(tmp_path: Path) -> None:
    path = save_arrays(tmp_path, x_one=X, x_two=X, y=np.zeros(6, int), y_two=np.ones(6, int))
    one, two = (open_splits(path, key).labels("train", 6) for key in ("x_one", "x_two"))
    assert one is not None
    assert two is not None
    assert (int(one[0]), int(two[0])) == (0, 1)


@pytest.mark.parametrize("labels", [np.arange(5), np.arange(6) / 2, np.zeros((6, 2), int)])
def test_errors_of_labels(tmp_path: Path, labels: Any) -> None:
    assert error_of(open_splits(save_arrays(tmp_path, x=X, y=labels)).labels, "train", 6) == (
        f"w: array 'y' is {labels.dtype} {labels.shape}, expected whole numbers (6,), one label for each scan of 'x'; "
        "correct or remove it"
    )


def test_errors_of_files_without_samples(tmp_path: Path) -> None:
    assert error_of(open_splits, tmp_path / "no.npz") == (
        f"w: there is no file '{tmp_path}/no.npz'; set the path of an NPZ or NPY file"
    )
    (tmp_path / "a.csv").touch()
    assert error_of(open_splits, tmp_path / "a.csv") == (
        f"w reads NPZ and NPY files, found '{tmp_path}/a.csv'; save the scans with numpy.savez"
    )
    path = save_arrays(tmp_path, one=X, two=X)
    assert error_of(open_splits, path) == (
        f"w: '{path}' has arrays one, two, expected 'x_train' (with 'x_val', 'x_test') or 'x'; name the scans with "
        "data.key=..."
    )
    assert error_of(open_splits, path, "tow") == f"w: '{path}' has no array 'tow', did you mean 'two'?; it has one, two"
    assert open_splits(path, "two").keys == {"train": "two"}


def npy_with_header(path: Path, header: str, values: bytes = b"") -> Path:
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values)
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)} (",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ('a',)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000000000,)}",
        "{'descr': [('a', '<f4', (3,))], 'fortran_order': 0}",
        "{'descr': '<q9', 'fortran_order': False, 'shape': (3,)}",
        "(" * 5000,
        "3",
    ],
)
def test_headers_that_are_no_headers(tmp_path: Path, header: str) -> None:
    path = npy_with_header(tmp_path / "x.npy", header)
    for mapped in (True, False):
        message = error_of(lambda mapped=mapped: ArrayFile(path).load("arr_0", mapped=mapped))
        assert message.startswith((f"'{path}' cannot be read (", f"'{path}': array 'arr_0' of shape "))
        assert "\n" not in message


def test_an_array_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "use a smaller file, or set the environment variable AEFRAME_MAX_GB to more gigabytes"
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, x=np.zeros(1_000_000, np.float32))
    monkeypatch.setenv("AEFRAME_MAX_GB", "0.001")
    assert error_of(ArrayFile(bomb).load, "x") == (
        f"'{bomb}': array 'x' of shape (1000000,) would occupy 4 MB of memory, and the limit is 1 MB; {remedy}"
    )


def test_a_header_of_another_length(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}")
    assert error_of(ArrayFile(path).load, "arr_0").startswith(
        f"'{path}' cannot be read (its header states a length of 4294967295 bytes); "
    )
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.arange(3), version=(2, 0))
    assert ArrayFile(path).load("arr_0").tolist() == [0, 1, 2]
