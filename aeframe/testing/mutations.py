"""Mutations of files and of plain values: what damage and strangers do to them, as a function of a seed."""

from __future__ import annotations

import copy
import random
import re
import struct
from collections.abc import Callable
from typing import Any

_HEADER_BYTES = 512
"""Half of all mutations are in the first bytes, where sizes and types are."""
_NUMBERS = (0, 1, -1, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
_TEXTS = (b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"1000000000000", b"\0", b"\xff\xfe", b"\x1b[2J", b"")
_HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 3, 10**9, 10**30, -(10**30), 1e308, float("nan"), float("inf"), "", "mlp", "1e9", "\x1b[2J",
    "a" * 1000, [], [[]], {}, [0], [-1], [10**12], ["a", 1], {"name": "mlp"}, {"name": 3}, {"a": {"b": {"c": []}}},
)  # fmt: skip


def mutate(content: bytes, seed: int) -> tuple[bytes, str]:
    """Return changed bytes of a file, and a description of the change.

    Args:
        content: The bytes of a file, at least one.
        seed: The same seed changes the same content in the same way.
    """
    rng = random.Random(seed)
    changed = bytearray(content)
    kinds: list[Callable[[random.Random, bytearray], str]] = [
        _flip_bits, _flip_bits, _overwrite, _overwrite_number, _overwrite_number, _change_digits, _change_digits,
        _truncate, _delete, _duplicate, _insert, _zero, _swap,
    ]  # fmt: skip
    what = rng.choice(kinds)(rng, changed)
    return bytes(changed), what


def mutate_values(values: Any, seed: int) -> tuple[Any, str]:
    """Return plain values in which one is replaced, removed, renamed or nested, and a description of the change.

    Args:
        values: Lists and mappings of numbers and strings, as JSON and YAML files hold them.
        seed: The same seed changes the same values in the same way.
    """
    rng = random.Random(seed)
    changed = copy.deepcopy(values)
    places = list(_places(changed, ()))
    if not places:
        return rng.choice(_HOSTILE), "all values replaced"
    path, parent, key = rng.choice(places)
    name = ".".join(str(part) for part in path)
    kind = rng.randrange(10)
    if kind == 0:
        del parent[key]
        return changed, f"'{name}' removed"
    if kind == 1 and isinstance(parent, dict):
        parent[rng.choice(("", "name", "x" * 300, "__class__", key + "s"))] = parent.pop(key)
        return changed, f"'{name}' renamed"
    if kind == 2:
        parent[key] = [parent[key]] * 3
        return changed, f"'{name}' three times in a list"
    if kind == 3 and isinstance(parent[key], (int, float)):
        parent[key] = parent[key] * rng.choice((2, -1, 10**6, 10**12, 0.5))
        return changed, f"'{name}' set to {parent[key]!r}"
    parent[key] = copy.deepcopy(rng.choice(_HOSTILE))
    return changed, f"'{name}' set to {str(parent[key])[:60]!r}"


def _places(values: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any, Any]]:
    """Return path, parent and key of every value below `values`; of a long list, the first and the last ones."""
    if isinstance(values, dict):
        keys: list[Any] = list(values)
    elif isinstance(values, list):
        keys = sorted({*range(min(len(values), 4)), *range(max(0, len(values) - 2), len(values))})
    else:
        return []
    return [place for key in keys for place in [((*path, key), values, key), *_places(values[key], (*path, key))]]


def _at(rng: random.Random, changed: bytearray) -> int:
    """Return a position, in the header as often as anywhere."""
    return rng.randrange(min(len(changed), _HEADER_BYTES) if rng.random() < 0.5 else len(changed))


def _flip_bits(rng: random.Random, changed: bytearray) -> str:
    positions = [_at(rng, changed) for _ in range(rng.choice((1, 1, 2, 8)))]
    for position in positions:
        changed[position] ^= 1 << rng.randrange(8)
    return f"bits flipped at {positions}"


def _overwrite(rng: random.Random, changed: bytearray) -> str:
    at, length = _at(rng, changed), rng.choice((1, 4, 16, 64))
    changed[at : at + length] = rng.randbytes(length)
    return f"{length} random bytes at {at}"


def _overwrite_number(rng: random.Random, changed: bytearray) -> str:
    at, number, form = _at(rng, changed), rng.choice(_NUMBERS), rng.choice(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q"))
    size = struct.calcsize(form)
    changed[at : at + size] = struct.pack(form, number % (1 << (8 * size)))
    return f"number {number} as '{form}' at {at}"


def _change_digits(rng: random.Random, changed: bytearray) -> str:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", changed[: 1 << 16]))
    if not found:
        return _overwrite_number(rng, changed)
    match, text = rng.choice(found), rng.choice(_TEXTS)
    changed[match.start() : match.end()] = text
    return f"digits {match.group()[:20]!r} at {match.start()} became {text!r}"


def _truncate(rng: random.Random, changed: bytearray) -> str:
    length = rng.choice((0, 1, _at(rng, changed), rng.randrange(len(changed)), len(changed) - 1))
    del changed[length:]
    return f"cut off after {length} bytes"


def _delete(rng: random.Random, changed: bytearray) -> str:
    at, length = _at(rng, changed), rng.choice((1, 2, 8, 64, 512))
    del changed[at : at + length]
    return f"{length} bytes deleted at {at}"


def _duplicate(rng: random.Random, changed: bytearray) -> str:
    at, length = _at(rng, changed), rng.choice((1, 4, 64, 512))
    changed[at:at] = changed[at : at + length] * rng.choice((1, 1, 20))
    return f"{length} bytes duplicated at {at}"


def _insert(rng: random.Random, changed: bytearray) -> str:
    at, text = _at(rng, changed), rng.choice((*_TEXTS, rng.randbytes(16), b'"', b"\n", b",,,", b"(" * 300))
    changed[at:at] = text
    return f"{text[:20]!r} inserted at {at}"


def _zero(rng: random.Random, changed: bytearray) -> str:
    at, length = _at(rng, changed), rng.choice((4, 64, 1024))
    changed[at : at + length] = bytes(len(changed[at : at + length]))
    return f"{length} bytes set to 0 at {at}"


def _swap(rng: random.Random, changed: bytearray) -> str:
    one, other, length = _at(rng, changed), _at(rng, changed), rng.choice((2, 16, 128))
    one, other = min(one, other), max(one, other)
    first, second = changed[one : one + length], changed[other : other + length]
    if len(first) == len(second) == length and one + length <= other:
        changed[one : one + length], changed[other : other + length] = second, first
    return f"{length} bytes swapped at {one} and {other}"
