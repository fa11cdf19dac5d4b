"""How the kind of a column is set on a command line, in the grammar of Hydra's overrides: `kind_override`."""

from __future__ import annotations

import re
import shlex

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*|\d+")
"""Names that can be part of a dotted key."""
_WORDS = frozenset({"null", "true", "false", "nan", "inf"})
"""Names that Hydra parses as other values than text."""
_PLAIN = re.compile(r"[A-Za-z0-9_\-/\\+.$%*@?|(){}\[\]:=, \t]+")
"""Characters that a name in a mapping may have, some of them after a backslash."""
_ESCAPED = re.compile(r"([\\(){}\[\]:=, \t])")


def kind_override(name: str, kind: str, option: str = "data.kinds") -> str:
    r"""Return the override that sets the kind of a column, quoted for a shell.

    That is ``data.kinds.zip=category``, and for names with blanks or dots a mapping, whose special characters have a
    backslash: ``'data.kinds={sepal\ length:number}'``. Names with other characters cannot be written on a command line,
    only in a config file: ``data: {kinds: {"größe": number}}``.
    """
    if _KEY.fullmatch(name):
        return f"{option}.{name}={kind}"
    if not can_be_override(name):
        group, _, key = option.partition(".")
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{group}: {{{key}: {{"{quoted}": {kind}}}}} in a config file'
    return shlex.quote(f"{option}={{{_ESCAPED.sub(_escape, name)}:{kind}}}")


def can_be_override(name: str) -> bool:
    """Return whether the kind of a column can be set on a command line."""
    if _KEY.fullmatch(name):
        return True
    return _PLAIN.fullmatch(name) is not None and name.lower() not in _WORDS and not _is_number(name)


def _escape(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
