"""Checks of a part's constructor, which is the schema of its options."""

from __future__ import annotations

import inspect
import json
from typing import Any

from aeframe.errors import AeframeError
from aeframe.factory import REQUIRED, build, defaults, part_kind, signature
from aeframe.kinds import KINDS
from aeframe.testing.check import check, expect
from aeframe.testing.part_under_test import PartUnderTest

_WITH_OPTIONS = frozenset(kind.name for kind in KINDS.values() if kind.configured)
_LIBRARIES = ("torch", "torchmetrics", "lightning")
_NONSENSE = {"no such": ["value"]}


@check("imports", "a name that cannot be imported fails in the user's hands", kinds=KINDS)
def imports(tested: PartUnderTest) -> None:
    expect(tested.target is not None, f"{tested.id} is None")


@check("complete", "what is missing would fail in the user's hands", kinds=KINDS, after=("imports",))
def complete(tested: PartUnderTest) -> None:
    missing = sorted(getattr(tested.target, "__abstractmethods__", ()))
    expect(not missing, f"{tested.id} does not define {', '.join(missing)}, which its base class leaves open")
    expect(
        tested.kind != "loss" or hasattr(tested.target, "domains"),
        f"{tested.id} does not say which data it is for; give it the class attribute domains, such as "
        'frozenset({"real", "unit"})',
    )


@check("documented", "the docstring is what help and reference pages print", kinds=_WITH_OPTIONS, after=("imports",))
def documented(tested: PartUnderTest) -> None:
    text = vars(tested.target).get("__doc__") if inspect.isclass(tested.target) else tested.target.__doc__
    expect(bool(text and text.strip()), f"{tested.id} has no docstring; say what it is in one complete line")


@check("typed options", "a value is validated by its annotation", kinds=_WITH_OPTIONS, after=("imports",))
def typed_options(tested: PartUnderTest) -> None:
    call = tested.target.__init__ if inspect.isclass(tested.target) else tested.target
    # Without one of its own, it is that of `object`, which stands in no module.
    module = getattr(call, "__module__", "")
    if module.partition(".")[0] in _LIBRARIES:
        # Written by others, and pydantic takes what they left open as it comes.
        return
    written = getattr(call, "__annotations__", {})
    for option in signature(tested.target).options.values():
        expect(option.name in written, f"{tested.id}: option '{option.name}' has no annotation; write its type")
        expect(
            option.annotation is not Any or written[option.name] in (Any, "Any", "typing.Any"),
            f"{tested.id}: the annotation of option '{option.name}', {written[option.name]!r}, cannot be read at run "
            "time; import its names outside TYPE_CHECKING",
        )


@check("plain defaults", "a config shows every option as a plain value", kinds=_WITH_OPTIONS, after=("imports",))
def plain_defaults(tested: PartUnderTest) -> None:
    shown = defaults(tested.kind, tested.entry.name)
    json.dumps(shown)
    for option in signature(tested.target).options.values():
        lost = shown[option.name] is None and option.default not in (None, REQUIRED)
        expect(
            not lost,
            f"{tested.id}: the default of option '{option.name}', {option.default!r}, cannot be written in a config",
        )


@check(
    "bad input",
    "an option that is unknown or of the wrong type is answered in one sentence",
    kinds=_WITH_OPTIONS,
    after=("imports",),
)
def bad_input(tested: PartUnderTest) -> None:
    wants = signature(tested.target)
    # What the house gives is not looked at before the options are.
    given: dict[str, Any] = dict.fromkeys(wants.injected)
    _refused(tested, {"no_such_option": 1}, given)
    for option in wants.options.values():
        if not _takes_anything(option.annotation):
            _refused(tested, {option.name: _NONSENSE}, given)


def _refused(tested: PartUnderTest, options: dict[str, Any], given: dict[str, Any]) -> None:
    required = {o.name: REQUIRED for o in signature(tested.target).options.values() if o.default is REQUIRED}
    try:
        build(tested.kind, {"name": tested.entry.name, **options}, **given)
    except AeframeError as error:
        expect("\n" not in str(error), f"{tested.id} answers {options} in several lines; one sentence is read")
    except Exception as error:  # noqa: BLE001 -- the plugin boundary: this is what is looked for
        expect(False, f"{tested.id} answers {options} with {type(error).__name__}: {error}")
    else:
        expect(bool(required), f"{tested.id} takes {options} without a word")


def _takes_anything(annotation: Any) -> bool:
    """Say whether a mapping of lists is a right value: the type is open, or is one of mappings."""
    if part_kind(annotation) is not None:
        return False
    shown = str(annotation)
    return annotation in (Any, object, dict) or any(word in shown for word in ("Any", "dict", "Mapping", "object"))


CHECKS = (imports, complete, documented, typed_options, plain_defaults, bad_input)
