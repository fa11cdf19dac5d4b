"""Read YAML and JSON files of other people: plain values only, with limits on size, depth and aliases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from aeframe.errors import AeframeError

MAX_BYTES = 64_000_000
"""Bytes of a file. A record of a million file names or categories is smaller."""
MAX_VALUES = 2_000_000
"""Values in a YAML file, where each alias counts as many as the values it stands for."""
MAX_DEPTH = 64
"""Levels of lists and mappings inside each other."""
_PLAIN = (str, int, float, bool, type(None))
# libyaml's parser, where PyYAML was built with it, is ten times as fast. Neither parser is recursive.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return the plain values of a YAML file.

    Raises:
        AeframeError: The file is missing, cannot be read, is no YAML of plain values, or exceeds a limit.
    """
    text = _text(path)
    try:
        _check_events(path, text)
        values = yaml.load(text, Loader=_Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A ValueError comes from a date or a number that does not exist.
        raise _damaged(path, "YAML of plain values", error) from error
    _check_values(path, values)
    return values


def read_json(path: Path) -> Any:
    """Return the values of a JSON file.

    Raises:
        AeframeError: The file is missing, cannot be read, is no JSON, or exceeds a limit.
    """
    text = _text(path)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "JSON", error) from error
    _check_values(path, values)
    return values


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping of names to values in a file that ends in ``.yaml`` or ``.json``.

    Raises:
        AeframeError: As `read_yaml` and `read_json`, or the file holds anything else than such a mapping.
    """
    values = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise AeframeError(f"'{path}' holds no mapping of names to values; copy the file again")
    return values


def read_strings(path: Path) -> list[str]:
    """Return the list of strings in a YAML file.

    Raises:
        AeframeError: As `read_yaml`, or the file holds anything else than such a list.
    """
    values = read_yaml(path)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise AeframeError(f"'{path}' holds no list of strings; copy the file again")
    return values


def _text(path: Path) -> str:
    """Return the text of a regular file that is not too large."""
    if not path.is_file():
        if path.exists():
            raise AeframeError(f"'{path}' is no regular file, expected a text file; copy the folder again")
        raise AeframeError(f"there is no file '{path}', which a run and a saved model have; copy the folder again")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise AeframeError(f"'{path}' has {size:,} bytes, and the limit is {MAX_BYTES:,}; copy the file again")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise AeframeError(f"'{path}' cannot be read: {error.strerror or error}; restore its permissions") from error
    except UnicodeDecodeError as error:
        raise _damaged(path, "text in UTF-8", error) from error


def _check_events(path: Path, text: str) -> None:
    """Check depth and number of values, with aliases written out, before any value is made."""
    num, depth = 0, 0
    # For each anchor, the number of values it stands for; None until the list or mapping ends.
    sizes: dict[str, int | None] = {}
    open_anchors: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)
            if size is None:
                raise AeframeError(f"'{path}' has the alias '*{event.anchor}' inside its own value; remove it")
            num += size
        elif isinstance(event, yaml.ScalarEvent):
            num += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if event.anchor is not None:
                sizes[event.anchor] = None
            open_anchors.append((event.anchor, num))
            num += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = open_anchors.pop()
            if anchor is not None:
                sizes[anchor] = num - before
        if depth > MAX_DEPTH:
            raise _too_deep(path)
        if num > MAX_VALUES:
            raise AeframeError(
                f"'{path}' has more than {MAX_VALUES:,} values with its aliases written out; copy the file again"
            )


def _check_values(path: Path, values: Any) -> None:
    """Check the depth of values, and that all of them are plain: numbers, strings, lists and mappings."""
    level = [values]
    for _ in range(MAX_DEPTH + 1):
        # An alias is visited once.
        level = list({id(inner): inner for value in level for inner in _inner(path, value)}.values())
        if not level:
            return
    raise _too_deep(path)


def _inner(path: Path, value: Any) -> Iterator[Any]:
    """Yield the lists and mappings directly inside a value."""
    if isinstance(value, dict):
        bad: Any = next((name for name in value if not isinstance(name, _PLAIN)), None)
        inside: Any = value.values()
    elif isinstance(value, list):
        bad, inside = None, value
    else:
        bad, inside = None if isinstance(value, _PLAIN) else value, ()
    for item in inside:
        if isinstance(item, (dict, list)):
            yield item
        elif not isinstance(item, _PLAIN):
            bad = item
    if bad is not None:
        raise AeframeError(
            f"'{path}' has a value of type {type(bad).__name__}, expected numbers, strings, lists and mappings; copy "
            "the file again"
        )


def _too_deep(path: Path) -> AeframeError:
    return AeframeError(
        f"'{path}' has more than {MAX_DEPTH} levels of lists and mappings inside each other; copy the file again"
    )


def _damaged(path: Path, form: str, error: Exception) -> AeframeError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return AeframeError(f"'{path}' cannot be read as {form} ({reason[:200]}); copy the file again")
