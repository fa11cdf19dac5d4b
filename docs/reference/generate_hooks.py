"""Write hooks.md from the docstrings of aeframe/hooks.py: ``python docs/reference/generate_hooks.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from aeframe import hooks
from aeframe.registry import HOOKS

PAGE = Path(__file__).with_name("hooks.md")
_HEAD = """\
# Hooks

<!-- Written by docs/reference/generate_hooks.py from aeframe/hooks.py; edit that, and run this. -->

{contract}

| hook | kind | in a config |
|---|---|---|
{table}
"""
# Where a kind is chosen under another key than its own.
_KEYS = {
    "dataset": "`data=NAME`",
    "penalty": "`penalties.NAME.weight=...`",
    "critic": "`critics.NAME={}`",
    "metric": "`metrics.NAME={}`",
    "callback": "`callbacks.NAME={}`",
    "schedule": "in place of a number: `{name: NAME, ...}`",
    "config": "its options join those of core",
    "command": "`aeframe NAME`",
}


def page() -> str:
    """Return the page."""
    rows = [f"| [`{hook}`](#{hook}) | {kind} | {_KEYS.get(kind, f'`{kind}=NAME`')} |" for kind, hook in HOOKS.items()]
    sections = [f"## {hook}\n\n{_markdown(inspect.getdoc(getattr(hooks, hook)) or '')}\n" for hook in HOOKS.values()]
    head = _HEAD.format(contract=_markdown(inspect.getdoc(hooks) or ""), table="\n".join(rows))
    return "\n".join([head, *sections])


def _markdown(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
