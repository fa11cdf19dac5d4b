"""Make texts of records: JSON objects, and rows of CSV, TSV and Parquet files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from aeframe.errors import did_you_mean
from aeframe_text.reading import ReadOptions
from aeframe_text.texts import Line, Origin, problem_of

_ABSENT = object()
_KINDS: dict[type, str] = {
    dict: "an object", list: "a list", str: "a string", bool: "a truth value", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip
_ROLES, _CONTENTS = ("role", "from"), ("content", "value", "text")


def parse_json(text: str, origin: Origin, number: int, reading: ReadOptions) -> Line:
    """Return the text of a line of JSONL."""
    try:
        value = json.loads(text.rstrip("\r\n"))
    except (ValueError, RecursionError) as error:
        return Line("", origin, number, json_problem(error))
    return line_of(value, origin, number, reading)


def json_problem(error: ValueError | RecursionError) -> str:
    """Return why a text is not JSON, for messages."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON (character {error.pos + 1}: {error.msg.removesuffix(' at')})"
    reason = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
    return f"is not JSON that can be read ({reason})"


def line_of(value: Any, origin: Origin, number: int, reading: ReadOptions) -> Line:
    """Return the text of a record: an object, or a string that is the text itself."""
    if isinstance(value, str):
        value = {reading.column: value}
    if not isinstance(value, dict):
        return Line("", origin, number, f"is {kind_of(value)}, expected an object")
    text, problem = _text_of(value, reading)
    label, label_problem = (None, None) if reading.label is None else label_of(value_at(value, reading.label))
    if label_problem is not None and not reading.is_trained:
        problem = problem or f"has under the label '{reading.label}' {label_problem}, expected the name of a class"
    name = None if reading.names is None else value_at(value, reading.names)
    own_name = None if _is_missing(name) else str(name)
    return Line("" if problem else text, origin, number, problem, label, own_name)


def value_at(record: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key, or of a path of keys (``a.b``); `is_absent` tells whether there is none."""
    if key in record:
        return record[key]
    value: Any = record
    for part in key.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def is_absent(value: Any) -> bool:
    """Return whether `value_at` found no value."""
    return value is _ABSENT


def label_of(value: Any) -> tuple[str | None, str | None]:
    """Return the name of a class, None for a missing one, and what is wrong with it; None for a right one.

    Names are strings, whole numbers and truth values.
    """
    if _is_missing(value):
        return None, None
    if isinstance(value, str):
        return value, None
    if isinstance(value, bool):
        return str(value).lower(), None
    if isinstance(value, int):
        return str(value), None
    if isinstance(value, float) and value.is_integer():
        return str(int(value)), None
    return None, f"{value:g}" if isinstance(value, float) else kind_of(value)


def kind_of(value: Any) -> str:
    """Return how messages name the type of a value of JSON: ``a list``."""
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or value is _ABSENT or is_nan or value == ""


def _text_of(record: Mapping[str, Any], reading: ReadOptions) -> tuple[str, str | None]:
    """Return the text of an object, and why it cannot be used or None."""
    key, value = reading.column, value_at(record, reading.column)
    if isinstance(value, str):
        return value, problem_of(value)
    if is_absent(value):
        keys = _keys(record)
        remedy = "" if reading.is_trained else "; set data.column"
        return (
            "",
            f"has no key '{key}'{did_you_mean(key, keys)} (its keys are {', '.join(keys[:12]) or 'none'}{remedy})",
        )
    if _is_missing(value):
        return "", f"has no text under the key '{key}'"
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _joined_messages(value, reading)
    return "", f"has {kind_of(value)} under the key '{key}', expected a string"


def _joined_messages(messages: Sequence[Mapping[str, Any]], reading: ReadOptions) -> tuple[str, str | None]:
    """Return the text of chat messages, and why it cannot be used or None."""
    key = reading.column
    if reading.messages is None:
        remedy = "" if reading.is_trained else " (data.messages=contents or roles joins them)"
        return "", f"has a list of {len(messages)} objects under the key '{key}', expected a string{remedy}"
    parts = []
    for number, message in enumerate(messages, start=1):
        role = next((message[name] for name in _ROLES if name in message), None)
        content = _content(next((message[name] for name in _CONTENTS if name in message), None))
        if content is None or (reading.messages == "roles" and not isinstance(role, str)):
            lacking = "text" if content is None else "role"
            return "", f"has a message without {lacking} under the key '{key}', number {number} of {len(messages)}"
        parts.append(content if reading.messages == "contents" else f"{role}: {content}")
    text = "\n".join(parts)
    return text, problem_of(text)


def _content(value: Any) -> str | None:
    """Return the text of a message: a string, or a list of parts that are text; None for any other."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts) if len(texts) == len(parts) > 0 else None
    return None


def _keys(record: Mapping[str, Any], prefix: str = "", depth: int = 2) -> list[str]:
    """Return the keys of an object, and of the objects in it: ``a``, ``b.c``."""
    keys = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        nested = _keys(value, f"{name}.", depth - 1) if isinstance(value, dict) and depth else []
        keys += nested or [name]
    return keys
