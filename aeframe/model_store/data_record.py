"""The record of a run's data in its folder: ``data.json`` and ``splits.safetensors``.

``data.json`` has the fingerprint of the data, by which a later command notices that they have changed, the names of the
categories of a condition and of the integer labels, the range of the values, and the spec of the model's data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aeframe.data.conditions import ConditionCoding
from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError
from aeframe.model_store.schema import check_data_record
from aeframe.model_store.tensors import read_tensors, write_tensors
from aeframe.plain_files import read_mapping
from aeframe.types import DataSpec

_FINGERPRINT, _SPLIT = "data.json", "splits.safetensors"
_CONDITION, _RANGE, _LABEL_NAMES, _SPEC = "condition", "value_range", "label_names", "spec"
_NOTES, _SKIPPED = "notes", "skipped"
"""Keys in ``data.json`` next to those of the fingerprint, see `DataRecord`."""


def write_data_record(folder: Path, record: DataRecord) -> None:
    """Write fingerprint and label names as ``data.json``, and the split, if there is one, as ``splits.safetensors``.

    Each tensor of ``splits.safetensors`` has an int64 key ``(n,)`` for each sample of one split: its row number in the
    file, or a hash of its name.
    """
    fields: dict[str, Any] = dict(record.fingerprint)
    if record.condition is not None:
        fields[_CONDITION] = record.condition.state()
    if record.value_range is not None:
        fields[_RANGE] = list(record.value_range)
    if record.label_names is not None:
        fields[_LABEL_NAMES] = list(record.label_names)
    if record.spec is not None:
        fields[_SPEC] = record.spec.to_dict()
    if record.notes:
        fields[_NOTES] = list(record.notes)
    if record.num_skipped:
        fields[_SKIPPED] = record.num_skipped
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
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
    fingerprint = read_mapping(path)
    check_data_record(path, fingerprint)
    spec = fingerprint.pop(_SPEC, None)
    try:
        data_spec = None if spec is None else DataSpec.from_dict(spec)
    except AeframeError as error:
        raise AeframeError(f"'{path}': {error}") from error
    coding = fingerprint.pop(_CONDITION, None)
    condition = None if coding is None else ConditionCoding.from_state(coding)
    low_high = fingerprint.pop(_RANGE, None)
    names = fingerprint.pop(_LABEL_NAMES, None)
    notes, num_skipped = fingerprint.pop(_NOTES, ()), fingerprint.pop(_SKIPPED, 0)
    return DataRecord(
        fingerprint,
        read_tensors(split) if split.is_file() else {},
        condition,
        None if low_high is None else (low_high[0], low_high[1]),
        None if names is None else tuple(str(name) for name in names),
        data_spec,
        tuple(str(note) for note in notes),
        int(num_skipped),
    )
