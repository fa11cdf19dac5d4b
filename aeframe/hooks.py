"""The plugin contract: one hook for each kind of part, such as a loss. Imports nothing heavy.

A plugin is a module that implements some of the hooks. It is named in the entry-point group ``aeframe`` of its
distribution, or it is a plain file: one that ``--plugin FILE`` names, or a trusted ``aeplugin.py``. Each hook is called
with a function ``register(name, target, *, summary="")``. `name` is what configs contain (``snake_case``); `target` is
``"package.module:Object"``, imported only when the name is used; `summary` is one line for listings.

The signature of a target is the only description of its options. **Positional parameters without a default are
injected by the framework, by parameter name. All others are options**, which a config or the command line sets; the
ones after the ``*`` without a default are required. The docstring of each hook lists the parameters that the framework
can inject. Every part of a model can also take `spec`, the `DataSpec` of the data.

pluggy calls the hooks, so ``hookimpl(tryfirst=True)``, ``trylast`` and ``wrapper`` work. Each plugin's hook is a call
of its own: if one fails, none of that plugin's names is registered, and the other plugins are not affected.
"""

from collections.abc import Callable
from typing import Protocol

import pluggy

from aeframe.kinds import KINDS, Kind

PROJECT = "aeframe"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The type of a hook's argument."""

    def __call__(self, name: str, target: str, *, summary: str = "") -> None:
        """Register `target` (``"module:Object"``) under `name`."""


HookFunction = Callable[[Register], None]


def _make_hookspec(kind: Kind) -> HookFunction:
    """Return pluggy's specification of the hook of one kind: its name, its argument and its docstring."""

    def specification(register: Register) -> None: ...

    specification.__name__ = specification.__qualname__ = kind.hook
    specification.__doc__ = kind.doc
    return hookspec(specification)


HOOKS: dict[str, HookFunction] = {kind.hook: _make_hookspec(kind) for kind in KINDS.values()}
"""The specification of every hook by its name, one for each kind in `aeframe.kinds`."""
