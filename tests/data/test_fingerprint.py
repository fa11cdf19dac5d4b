"""Fingerprints of data, and which options of a dataset are paths."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeframe.data import fingerprint as fingerprints
from aeframe.data.fingerprint import (
    DataRecord,
    compare,
    describe_fingerprint,
    fingerprint,
    paths_of,
    replace_paths,
    resolved_paths,
)
from aeframe.data.tabular import Numbers
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.factory import build, defaults, path_options, signature
from aeframe.registry import registry


def save_rows(path: Path, num: int = 40, seed: int = 0) -> Path:
    np.save(path, np.random.default_rng(seed).normal(size=(num, 3)))
    return path


def fingerprint_of(config: dict[str, Any]) -> dict[str, Any]:
    modality, dataset = Vector(), build("dataset", config)
    splits = modality.prepare(dataset)
    return fingerprint(config, dataset, splits, modality.spec(dataset))


def test_a_file_is_hashed_and_counted(tmp_path: Path) -> None:
    path = save_rows(tmp_path / "d.npy")
    current = fingerprint_of({"name": "numbers", "path": str(path)})
    assert current["name"] == "numbers"
    assert current["shape"] == [3]
    assert current["samples"] == 40
    assert current["rows"] == {"train": 32, "validation": 4, "test": 4}
    assert current["files"]["path"]["path"] == str(path)
    assert current["files"]["path"]["bytes"] == path.stat().st_size
    assert len(current["files"]["path"]["sha256"]) == 64
    assert describe_fingerprint(current) == f"data 'numbers' at '{path}'"
    assert compare(current, current) == []


def test_data_without_a_path_are_identified_by_name() -> None:
    current = fingerprint_of({"name": "breast_cancer"})
    assert current["files"] == {}
    assert describe_fingerprint(current) == "data 'breast_cancer'"
    assert compare(current, {**current, "samples": 7}) == [
        "data 'breast_cancer' changed since training: 569 rows then, 7 now"
    ]
    assert compare(current, {**current, "name": "numbers"}) == [
        "data 'numbers' are not those of training, which were 'breast_cancer'"
    ]


def test_each_difference_is_one_sentence(tmp_path: Path) -> None:
    path = save_rows(tmp_path / "d.npy")
    config = {"name": "numbers", "path": str(path)}
    before = fingerprint_of(config)
    save_rows(path, 50)
    assert compare(before, fingerprint_of(config)) == [
        f"data 'numbers' at '{path}' changed since training: 40 rows then, 50 now"
    ]
    save_rows(path, seed=1)
    assert compare(before, fingerprint_of(config)) == [
        f"data 'numbers' at '{path}' changed since training: other bytes in as many rows (40)"
    ]
    moved = save_rows(tmp_path / "e.npy")
    assert compare(before, fingerprint_of({**config, "path": str(moved)})) == []
    assert compare({**before, "shape": [4]}, before) == [
        "data 'numbers' have samples of shape (3,), and (4,) in training"
    ]
    assert compare({}, before) == []


def test_each_path_of_a_dataset_is_compared(tmp_path: Path) -> None:
    path, test = save_rows(tmp_path / "d.npy"), save_rows(tmp_path / "t.npy", 10)
    config = {"name": "numbers", "path": str(path), "test_path": str(test)}
    before = fingerprint_of(config)
    assert before["samples"] == 50
    save_rows(test, 12)
    assert compare(before, fingerprint_of(config)) == [
        f"data 'numbers', data.test_path, at '{test}' changed since training: 50 rows then, 52 now"
    ]


def test_a_folder_is_identified_by_names_and_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "a.png").write_bytes(b"12")
    (folder / "b.png").write_bytes(b"1")
    (folder / ".hidden").write_bytes(b"1")
    first = fingerprints._of_path(folder)
    assert (first["count"], first["bytes"]) == (2, 3)
    (folder / "b.png").touch()
    assert fingerprints._of_path(folder) == first
    folder.rename(tmp_path / "moved")
    assert fingerprints._of_path(tmp_path / "moved")["sha256"] == first["sha256"]
    (tmp_path / "moved" / "c.png").write_bytes(b"1")
    assert fingerprints._of_path(tmp_path / "moved")["sha256"] != first["sha256"]


def test_a_large_file_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_HASHED_BYTES", 999)
    monkeypatch.setattr(fingerprints, "BLOCK_BYTES", 10)
    path, content = tmp_path / "large.bin", bytearray(1000)
    path.write_bytes(content)
    first = fingerprints._of_path(path)
    content[3] = 1
    path.write_bytes(content)
    assert fingerprints._of_path(path)["sha256"] != first["sha256"]
    content[3] = 0
    content[-1] = 1
    path.write_bytes(content)
    assert fingerprints._of_path(path)["sha256"] != first["sha256"]
    path.write_bytes(bytearray(1001))
    assert fingerprints._of_path(path)["sha256"] != first["sha256"]


def test_paths_are_stored_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {"seed": 3, "data": {"name": "numbers", "path": "d.npy", "test_path": None, "key": "x.npy"}}
    assert resolved_paths(config) == {
        "seed": 3,
        "data": {"name": "numbers", "path": f"{tmp_path}/sub/d.npy", "test_path": None, "key": "x.npy"},
    }
    assert config["data"]["path"] == "d.npy"
    for option, expected in {"~/d.npy": "d.npy", "../d.npy": "d.npy", "./d.npy": "sub/d.npy"}.items():
        assert paths_of({"name": "numbers", "path": option}) == {"path": tmp_path / expected}
    assert paths_of({"name": "numbers", "path": "s3://bucket/d.npy"}) == {}
    assert paths_of({"name": "breast_cancer"}) == {}


def test_a_value_that_may_be_a_name_is_a_path_if_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not registry().has("dataset", "image_huggingface"):
        pytest.skip("aeframe-image is not installed")
    monkeypatch.chdir(tmp_path)
    config = {"name": "image_huggingface", "path": "ylecun/mnist"}
    assert path_options("dataset", "image_huggingface") == ["path"]
    assert paths_of(config) == {}
    (tmp_path / "ylecun" / "mnist").mkdir(parents=True)
    assert paths_of(config) == {"path": tmp_path / "ylecun" / "mnist"}


def test_replace_paths(tmp_path: Path) -> None:
    config = {"name": "numbers", "path": "/x/d.npy", "test_path": "/x/t.npy"}
    assert replace_paths(config, []) == config
    changed = replace_paths(config, [str(tmp_path / "e.npy"), f"test_path={tmp_path}/t.npy"])
    assert changed == {"name": "numbers", "path": f"{tmp_path}/e.npy", "test_path": f"{tmp_path}/t.npy"}
    assert replace_paths(config, ["/a=b/d.npy"])["path"] == "/a=b/d.npy"
    with pytest.raises(AeframeError) as raised:
        replace_paths({"name": "breast_cancer"}, ["d.npy"])
    assert str(raised.value) == "data 'breast_cancer' have no path, found --data d.npy; leave --data out"


def test_a_path_is_built_of_a_string_and_shown_as_one(tmp_path: Path) -> None:
    path = save_rows(tmp_path / "d.npy")
    dataset = build("dataset", {"name": "numbers", "path": str(path)})
    assert isinstance(dataset, Numbers)
    assert dataset.path == path
    assert defaults("dataset", "numbers")["test_path"] is None
    with pytest.raises(AeframeError, match="dataset 'numbers': option 'path' expects Path, found 3"):
        build("dataset", {"name": "numbers", "path": 3})


@pytest.mark.parametrize("name", registry().names("dataset"))
def test_every_path_of_a_dataset_is_declared(name: str) -> None:
    for option in signature(registry().load("dataset", name)).options.values():
        if option.name.endswith(("path", "folder", "file")):
            assert Path in (option.annotation, *typing.get_args(option.annotation)), option


def test_a_record_holds_the_split(tmp_path: Path) -> None:
    config = {"name": "numbers", "path": str(save_rows(tmp_path / "d.npy"))}
    modality, dataset = Vector(), build("dataset", config)
    splits = modality.prepare(dataset)
    record = DataRecord.of(config, dataset, splits, modality.spec(dataset))
    assert {split: len(keys) for split, keys in record.split.items()} == record.fingerprint["rows"]
    again = build("dataset", config)
    record.use_split(again)
    assert again.split_record.saved == record.split
    DataRecord().use_split(again)
    assert again.split_record.saved is None
