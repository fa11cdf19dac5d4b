"""The record of a run's data in its folder: ``data.json`` and ``splits.safetensors``.

``data.json`` has the fingerprint of the data, by which a later command notices that they have changed, and as
``label_names`` the names of the integer labels.
"""

from __future__ import annotations

import json
from pathlib import Path

from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError
from aeframe.model_store.tensors import read_tensors, write_tensors

_FINGERPRINT, _SPLIT, _LABEL_NAMES = "data.json", "splits.safetensors", "label_names"


def write_data_record(folder: Path, record: DataRecord) -> None:
    """Write fingerprint and label names as ``data.json``, and the split, if there is one, as ``splits.safetensors``.

    Each tensor of ``splits.safetensors`` has an int64 key ``(n,)`` for each sample of one split: its row number in the
    file, or a hash of its name.
    """
    names = {} if record.label_names is None else {_LABEL_NAMES: list(record.label_names)}
    text = json.dumps({**record.fingerprint, **names}, indent=2, ensure_ascii=False) + "\n"
    (folder / _FINGERPRINT).write_text(text, encoding="utf-8")
    (folder / _SPLIT).unlink(missing_ok=True)
    if record.split:
        write_tensors(folder / _SPLIT, record.split)


def read_data_record(folder: Path) -> DataRecord:
    """Return the record in a folder of a run or of a saved model; an empty one if there is no ``data.json``.

    Raises:
        AeframeError: A file is damaged.
    """
    path, split = folder / _FINGERPRINT, folder / _SPLIT
    if not path.is_file():
        return DataRecord()
    try:
        fingerprint = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AeframeError(f"'{path}' cannot be read as JSON ({error}); copy the file again") from error
    names = fingerprint.pop(_LABEL_NAMES, None)
    label_names = None if names is None else tuple(str(name) for name in names)
    return DataRecord(fingerprint, read_tensors(split) if split.is_file() else {}, label_names)
