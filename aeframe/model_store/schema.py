"""Check the structure of the files of saved models and runs, which may be damaged or come from strangers."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from aeframe.errors import AeframeError
from aeframe.kinds import SAVED

_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_Size = Annotated[int, Field(ge=1, lt=1 << 40)]
_Name = Annotated[str, Field(min_length=1)]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    """Values of exactly these types; other keys are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=True, protected_namespaces=())


class _Named(_Strict):
    name: _Name


class _Plugin(_Strict):
    distribution: str
    version: str


class _Progress(_Strict):
    model_config = ConfigDict(extra="forbid")
    batch: _Count = 0
    epoch: _Count = 0
    batch_in_epoch: _Count = 0
    planned: _Count = 0
    rows: _Count = 0


class _Spec(_Strict):
    model_config = ConfigDict(extra="forbid")
    shape: Annotated[list[_Size], Field(max_length=16)]
    domain: str
    condition: NonNegativeInt
    extras: dict[str, list[_Count]] = {}
    views: dict[str, Annotated[tuple[_Size, str], Field(strict=False)]] = {}
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    unordered: bool = False
    condition_axis: int | None = None


class _SavedConfig(_Strict):
    format: PositiveInt
    aeframe: str
    model: _Named
    spec: _Spec
    sha256: dict[str, _Hash]
    plugins: dict[str, _Plugin]
    progress: _Progress | None = None
    condition_encoder: bool = True
    label_classes: _Count = 0
    data: _Named | None = None
    metrics: dict[str, Any] | None = None
    seed: int = 0
    batch_size: PositiveInt = 1
    hidden_options: list[str] = []


class _Files(_Strict):
    path: str
    sha256: str
    bytes: int = 0
    count: int | None = None


class _Condition(_Strict):
    categories: list[list[str] | None]
    columns: list[str]


class _DataRecord(_Strict):
    name: _Name
    shape: list[int] = []
    rows: dict[str, int] = {}
    samples: int = 0
    files: dict[str, _Files] = {}
    condition: _Condition | None = None
    value_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    label_names: list[str] | None = None
    spec: _Spec | None = None
    notes: list[str] = []
    skipped: _Count = 0


def check_saved_config(path: Path, config: Mapping[str, Any]) -> None:
    """Check that a config has the keys of a saved model, with values of the right types.

    Raises:
        AeframeError: A key is missing, or its value is of another type or out of range.
    """
    _check(_SavedConfig, path, "that of a saved model", config)
    for kind in SAVED:
        part = config.get(kind.key)
        if part is None:
            if not (kind.labelled or kind.default):
                raise _missing(path, "that of a saved model", kind.key)
            continue
        parts = {"": part}
        if kind.labelled:
            if not isinstance(part, Mapping):
                raise _wrong(path, "that of a saved model", kind.key, "expected parts by label", part)
            parts = {f".{label}": {"name": label, **_mapping(path, f"{kind.key}.{label}", options)}
                     for label, options in part.items()}  # fmt: skip
        for label, options in parts.items():
            name = options if isinstance(options, str) else _mapping(path, kind.key + label, options).get("name")
            if not isinstance(name, str) or not all(isinstance(key, str) for key in options):
                raise _wrong(path, "that of a saved model", f"{kind.key}{label}.name", "expected a name", name)


def check_data_record(path: Path, record: Mapping[str, Any]) -> None:
    """Check that ``data.json`` has the structure of a record of data, see `aeframe.data.fingerprint.DataRecord`.

    Raises:
        AeframeError: A key is missing, or its value is of another type.
    """
    if record:
        _check(_DataRecord, path, "a record of data", record)


def check_spec(path: Path, spec: Mapping[str, Any]) -> None:
    """Check the structure of a `DataSpec` in a file."""
    _check(_Spec, path, "a spec of data", spec)


def _mapping(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, "that of a saved model", key, "expected a mapping of options", value)
    return value


def _check(schema: type[BaseModel], path: Path, what: str, values: Mapping[str, Any]) -> None:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        # A missing key is reported before a wrong value.
        errors = sorted(error.errors(), key=lambda details: details["type"] != "missing")
        key = ".".join(str(name) for name in errors[0]["loc"])
        if errors[0]["type"] == "missing":
            raise _missing(path, what, key) from None
        raise _wrong(path, what, key, errors[0]["msg"], errors[0]["input"]) from None


def _missing(path: Path, what: str, key: str) -> AeframeError:
    return AeframeError(f"'{path}' is not {what}: it has no '{key}'; copy the folder again")


def _wrong(path: Path, what: str, key: str, expected: str, found: Any) -> AeframeError:
    # reprlib shortens long values, and those with many aliases.
    text = reprlib.repr(found)
    # Pydantic's message names the classes of this module.
    reason = re.sub("a valid dictionary.*", "a mapping", expected[0].lower() + expected[1:])
    return AeframeError(f"'{path}' is not {what}: '{key}' is {text} ({reason}); copy the folder again")
