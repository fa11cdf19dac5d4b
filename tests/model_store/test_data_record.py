"""The record of the data in the folder of a saved model."""

from pathlib import Path

import pytest
import torch

from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError
from aeframe.model_store.data_record import read_data_record, write_data_record
from aeframe.types import DataSpec, Domain


def test_a_record_is_written_and_read(tmp_path: Path) -> None:
    record = DataRecord({"name": "x", "samples": 3}, {"train": torch.tensor([2, 0]), "test": torch.tensor([1])})
    write_data_record(tmp_path, record)
    found = read_data_record(tmp_path)
    assert found.fingerprint == record.fingerprint
    assert {name: keys.tolist() for name, keys in found.split.items()} == {"train": [2, 0], "test": [1]}
    spec = DataSpec((3, 4), Domain("category", 5), condition=2, extras={"label": ()})
    write_data_record(tmp_path, DataRecord({"name": "x"}, spec=spec))
    assert read_data_record(tmp_path) == DataRecord({"name": "x"}, spec=spec)
    write_data_record(tmp_path, DataRecord({"name": "x"}))
    assert read_data_record(tmp_path).split == {}


def test_an_older_folder_has_an_empty_record(tmp_path: Path) -> None:
    assert read_data_record(tmp_path) == DataRecord()
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(AeframeError, match=r"data.json' cannot be read as JSON .*; copy the file again"):
        read_data_record(tmp_path)
