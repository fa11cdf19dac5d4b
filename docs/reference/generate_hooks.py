"""Write hooks.md from aeframe/hooks.py and aeframe/kinds.py: ``python docs/reference/generate_hooks.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from aeframe import hooks
from aeframe.kinds import KINDS

PAGE = Path(__file__).with_name("hooks.md")
_HEAD = """\
# Hooks

<!-- Written by docs/reference/generate_hooks.py from aeframe/{hooks,kinds}.py; edit those, and run this. -->

{contract}

| hook | kind | in a config |
|---|---|---|
{table}
"""


def page() -> str:
    """Return the page."""
    rows = [
        f"| [`{kind.hook}`](#{kind.hook}) | {kind.name} | {kind.usage or f'`{kind.key or kind.name}=NAME`'} |"
        for kind in KINDS.values()
    ]
    sections = [f"## {kind.hook}\n\n{_markdown(inspect.cleandoc(kind.doc))}\n" for kind in KINDS.values()]
    head = _HEAD.format(contract=_markdown(inspect.getdoc(hooks) or ""), table="\n".join(rows))
    return "\n".join([head, *sections])


def _markdown(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
