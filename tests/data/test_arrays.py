"""Files of arrays: headers, names, splits and labels, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeframe.data.arrays import ArrayFile, SplitArrays
from aeframe.errors import AeframeError

X = np.arange(24, dtype=np.uint8).reshape(6, 4)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def opened(path: Path, key: str | None = None) -> SplitArrays:
    return SplitArrays(path, who="w", words=("scan", "scans", "slices"), key=key)


def refusal(act: Any, *args: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        act(*args)
    return str(caught.value)


def test_arrays_and_their_headers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.astype(np.float32))
    plain, zipped = ArrayFile(tmp_path / "a.npy", who="w"), ArrayFile(saved(tmp_path, x=X, other=X[0]), who="w")
    assert (plain.names, plain.where("arr_0")) == (["arr_0"], f"w: '{tmp_path}/a.npy'")
    assert (zipped.names, zipped.where("other")) == (["x", "other"], "w: array 'other'")
    assert plain.header("arr_0") == ((6, 4), np.float32)
    assert zipped.header("other") == ((4,), np.uint8)
    np.testing.assert_array_equal(plain.load("arr_0"), X)
    np.testing.assert_array_equal(zipped.load("other"), X[0])


@pytest.mark.parametrize("who", ["", "w"])
def test_what_cannot_be_read(tmp_path: Path, who: str) -> None:
    out = "save it again with numpy.savez, without objects"
    begin = f"{who}: " if who else ""
    path = tmp_path / "a.npz"
    path.write_text("a")
    assert refusal(lambda: ArrayFile(path, who=who)) == (
        f"{begin}'{path}' cannot be read (File is not a zip file); {out}"
    )
    saved(tmp_path, x=np.array([{}], dtype=object))
    assert refusal(ArrayFile(path, who=who).load, "x") == (
        f"{begin}'{path}' cannot be read (Object arrays cannot be loaded when allow_pickle=False); {out}"
    )
    (tmp_path / "b.npy").write_text("a")
    for act in (ArrayFile(tmp_path / "b.npy", who=who).header, ArrayFile(tmp_path / "b.npy", who=who).load):
        told = refusal(act, "arr_0")
        assert told.startswith(f"{begin}'{tmp_path}/b.npy' cannot be read (")
        assert told.endswith(f"); {out}")


def test_a_compressed_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 9, 4000))
    whole = bytearray(path.read_bytes())
    whole[200:210] = b"\xff" * 10
    path.write_bytes(bytes(whole))
    assert refusal(ArrayFile(path, who="w").load, "x").startswith(f"w: '{path}' cannot be read (")


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("x",), {"train": "x"}),
        (("slices", "weights"), {"train": "slices"}),
        (("anything",), {"train": "anything"}),
        (("x_train", "val_scans", "test"), {"train": "x_train", "validation": "val_scans", "test": "test"}),
        (("X_train", "X_valid"), {"train": "X_train", "validation": "X_valid"}),
        # Without a training split nothing is one.
        (("x", "x_test"), {"train": "x"}),
    ],
)
def test_which_arrays_are_splits(tmp_path: Path, names: tuple[str, ...], keys: dict[str, str]) -> None:
    assert opened(saved(tmp_path, **dict.fromkeys(names, X))).keys == keys


@pytest.mark.parametrize(
    ("name", "label"),
    [("x", "y"), ("x", "labels"), ("x_train", "y_train"), ("scans", "targets"), ("train_scans", "train_labels")],
)
def test_which_arrays_are_labels(tmp_path: Path, name: str, label: str) -> None:
    # A column, as MedMNIST has them.
    found = opened(saved(tmp_path, **{name: X, label: np.arange(6)[:, None]})).labels("train", 6)
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3, 4, 5]
    assert opened(saved(tmp_path, **{name: X, "weights": X})).labels("train", 6) is None


def test_of_several_splits_one_array_has_no_labels(tmp_path: Path) -> None:
    assert opened(saved(tmp_path, x_train=X, x_test=X, y=np.arange(6))).labels("train", 6) is None


def test_labels_are_those_of_the_array_that_was_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, x_one=X, x_two=X, y=np.zeros(6, int), y_two=np.ones(6, int))
    one, two = (opened(path, key).labels("train", 6) for key in ("x_one", "x_two"))
    assert one is not None
    assert two is not None
    assert (int(one[0]), int(two[0])) == (0, 1)


@pytest.mark.parametrize("labels", [np.arange(5), np.arange(6) / 2, np.zeros((6, 2), int)])
def test_labels_of_another_form(tmp_path: Path, labels: Any) -> None:
    assert refusal(opened(saved(tmp_path, x=X, y=labels)).labels, "train", 6) == (
        f"w: array 'y' is {labels.dtype} {labels.shape}, expected whole numbers (6,), one label for each scan of 'x'; "
        "correct or remove it"
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    assert refusal(opened, tmp_path / "no.npz") == (
        f"w: there is no file '{tmp_path}/no.npz'; give the path of a NPZ or NPY file"
    )
    (tmp_path / "a.csv").touch()
    assert refusal(opened, tmp_path / "a.csv") == (
        f"w reads NPZ and NPY files, found '{tmp_path}/a.csv'; save the scans with numpy.savez"
    )
    path = saved(tmp_path, one=X, two=X)
    assert refusal(opened, path) == (
        f"w: '{path}' has arrays one, two, expected 'x_train' (with 'x_val', 'x_test') or 'x'; name the scans with "
        "data.key=..."
    )
    assert refusal(opened, path, "tow") == f"w: '{path}' has no array 'tow', did you mean 'two'?; it has one, two"
    assert opened(path, "two").keys == {"train": "two"}
