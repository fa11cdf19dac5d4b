"""Checks of a part's constructor, whose signature is the schema of the part's options.

A config sets the options. Other arguments are injected: the code that builds a part passes them, such as the shape.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from aeframe.errors import AeframeError
from aeframe.factory import REQUIRED, build, defaults, part_kind, signature
from aeframe.kinds import KINDS
from aeframe.testing.check import check
from aeframe.testing.expectations import expect
from aeframe.testing.part_under_test import PartUnderTest

_WITH_OPTIONS = frozenset(kind.name for kind in KINDS.values() if kind.configured)
_LIBRARIES = ("torch", "torchmetrics", "lightning")
_WRONG_VALUE = {"no such": ["value"]}
"""A value that no option accepts, except one that is a mapping."""


@check("imports", "registered names are imported only at their first use", kinds=KINDS)
def imports(part: PartUnderTest) -> None:
    """Import the class or function that is registered under the name."""
    expect(part.target is not None, f"{part.id} is None")


@check("complete", "a missing method or attribute fails only at its first use", kinds=KINDS, depends_on=("imports",))
def complete(part: PartUnderTest) -> None:
    """Expect that all abstract methods are defined, and that a loss declares its domains."""
    missing = sorted(getattr(part.target, "__abstractmethods__", ()))
    expect(not missing, f"{part.id} does not define {', '.join(missing)}, abstract in its base class")
    expect(
        part.kind != "loss" or hasattr(part.target, "domains"),
        f"{part.id} does not declare its domains of data; set the class attribute domains, such as "
        'frozenset({"real", "unit"})',
    )


@check("documented", "help and reference pages print the docstring", kinds=_WITH_OPTIONS, depends_on=("imports",))
def documented(part: PartUnderTest) -> None:
    """Expect a docstring of the part itself; that of a base class does not count."""
    text = vars(part.target).get("__doc__") if inspect.isclass(part.target) else part.target.__doc__
    expect(bool(text and text.strip()), f"{part.id} has no docstring; describe the part in one complete line")


@check("typed options", "values are validated by annotations", kinds=_WITH_OPTIONS, depends_on=("imports",))
def typed_options(part: PartUnderTest) -> None:
    """Expect an annotation of each option (a keyword-only parameter) that can be evaluated at run time.

    Imports below ``if TYPE_CHECKING`` cannot. Parts of torch, torchmetrics and Lightning are left out.
    """
    call = part.target.__init__ if inspect.isclass(part.target) else part.target
    # A class without a constructor has that of `object`, which has no `__module__`.
    module = getattr(call, "__module__", "")
    if module.partition(".")[0] in _LIBRARIES:
        # Libraries leave some options without annotation, which pydantic does not validate.
        return
    annotations = getattr(call, "__annotations__", {})
    for option in signature(part.target).options.values():
        expect(option.name in annotations, f"{part.id}: option '{option.name}' has no annotation; add its type")
        expect(
            option.annotation is not Any or annotations[option.name] in (Any, "Any", "typing.Any"),
            f"{part.id}: the annotation of option '{option.name}', {annotations[option.name]!r}, cannot be evaluated "
            "at run time; import its names outside TYPE_CHECKING",
        )


@check("plain defaults", "configs contain every option as a plain value", kinds=_WITH_OPTIONS, depends_on=("imports",))
def plain_defaults(part: PartUnderTest) -> None:
    """Write the default of each option as JSON; a default object needs a form that a config can hold."""
    plain = defaults(part.kind, part.entry.name)
    # Raises an error for a value that cannot be written in a config.
    json.dumps(plain)
    for option in signature(part.target).options.values():
        lost = plain[option.name] is None and option.default not in (None, REQUIRED)
        expect(
            not lost,
            f"{part.id}: the default of option '{option.name}', {option.default!r}, cannot be written in a config",
        )


@check(
    "option errors",
    "an unknown option or a value of the wrong type is reported in one sentence",
    kinds=_WITH_OPTIONS,
    depends_on=("imports",),
)
def option_errors(part: PartUnderTest) -> None:
    """Set an unknown option, and a mapping for each option, and expect an `AeframeError` of one sentence."""
    accepted = signature(part.target)
    # Options are validated first, so that the injected arguments may be None.
    injected: dict[str, Any] = dict.fromkeys(accepted.injected)
    _expect_error(part, {"no_such_option": 1}, injected)
    for option in accepted.options.values():
        if not _accepts_mappings(option.annotation):
            _expect_error(part, {option.name: _WRONG_VALUE}, injected)


def _expect_error(part: PartUnderTest, options: dict[str, Any], injected: dict[str, Any]) -> None:
    has_required = any(option.default is REQUIRED for option in signature(part.target).options.values())
    try:
        build(part.kind, {"name": part.entry.name, **options}, **injected)
    except AeframeError as error:
        expect("\n" not in str(error), f"{part.id} reports {options} in several lines, expected one sentence")
    except Exception as error:  # noqa: BLE001 -- the plugin boundary: the error that this check looks for
        expect(False, f"{part.id} reports {options} with {type(error).__name__}, expected an AeframeError: {error}")
    else:
        expect(has_required, f"{part.id} accepts {options} without an error")


def _accepts_mappings(annotation: Any) -> bool:
    """Return whether `_WRONG_VALUE` may be valid: the annotation is open, or is a type of mappings."""
    if part_kind(annotation) is not None:
        return False
    text = str(annotation)
    return annotation in (Any, object, dict) or any(name in text for name in ("Any", "dict", "Mapping", "object"))


CHECKS = (imports, complete, documented, typed_options, plain_defaults, option_errors)
