"""Write contracts.md from the classes a plugin subclasses: ``python docs/reference/generate_contracts.py``."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("contracts.md")
_HEAD = """\
# Contracts

<!-- Written by docs/reference/generate_contracts.py from the classes themselves; edit those, and run this. -->

What each class that a plugin subclasses asks for and gives, attribute by attribute and method by method, and what is
passed between them. Beside B samples, `shape` is that of one sample, `z_shape` that of one code, K counts importance
samples. A method with *no default* is a subclass's to define where it applies; all others are there, and may be
replaced. What the house can give to a constructor stands with [its hook](hooks.md).

{contents}
"""
_CLASSES = {
    "aeframe.data": ("Modality", "Dataset", "Source", "Splits"),
    "aeframe.parts": (
        "Corruption",
        "Encoder",
        "Decoder",
        "LatentSpace",
        "Prior",
        "Loss",
        "Likelihood",
        "Objective",
        "Critic",
        "Penalty",
        "Sampler",
        "Schedule",
        "ActivationTraits",
    ),
    "aeframe.evaluation.metrics.base": ("ModelMetric",),
    "aeframe.cli": ("Command",),
    "aeframe.types": ("DataSpec", "Domain", "Batch", "Latent", "ForwardOutput", "LossTerms", "TrainingProgress"),
}
_SPECIAL = ("__len__", "__call__")
_PROPERTIES = {"property", "functools.cached_property"}


def page() -> str:
    """Return the page."""
    named = [(module, name) for module, names in _CLASSES.items() for name in names]
    contents = " · ".join(f"[`{name}`](#{name.lower()})" for _, name in named)
    sections = [_section(module, name) for module, name in named]
    return "\n".join([_HEAD.format(contents=contents), *sections])


def _section(module: str, name: str) -> str:
    made: Any = getattr(importlib.import_module(module), name)
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(made))).body
    assert isinstance(body, ast.ClassDef)
    lines = [f"## {name}", "", f"`from {module} import {name}`", "", *_markdown(ast.get_docstring(body) or ""), ""]
    return "\n".join([*lines, *_attributes(body), *_methods(body)]).rstrip() + "\n"


def _attributes(body: ast.ClassDef) -> Iterator[str]:
    """Return a line for each attribute, with what stands below it."""
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            kind = re.sub(r"^ClassVar\[(.*)\]$", r"\1", ast.unparse(node.annotation))
            # What a dataclass makes anew for each object.
            made = re.search(r"default_factory=(\w+)", ast.unparse(node.value)) if node.value else None
            value = f"{made[1]}()" if made else ast.unparse(node.value) if node.value else ""
            yield _item(f"{ast.unparse(node.target)}: {kind}{f' = {value}' if value else ''}", "", _text(after))


def _methods(body: ast.ClassDef) -> Iterator[str]:
    """Return the lines on each public method that the class itself has."""
    for node in body.body:
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name in _SPECIAL):
            marks = {ast.unparse(each) for each in node.decorator_list}
            given, returned = (
                re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args)),
                ast.unparse(node.returns) if node.returns else "None",
            )
            head = f"{node.name}: {returned}" if marks & _PROPERTIES else f"{node.name}({given}) -> {returned}"
            # A protocol's methods end in an ellipsis.
            bare = ast.unparse(node.body[-1]) in ("...", "raise NotImplementedError")
            yield _item(head, " *no default*" if bare or "abstractmethod" in marks else "", ast.get_docstring(node))


def _text(node: ast.stmt | None) -> str | None:
    """Return the words of a statement that is nothing but a string."""
    text = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None
    return text if isinstance(text, str) else None


def _item(head: str, note: str, text: str | None) -> str:
    lines = [f"- `{head}`{note}"]
    if text:
        lines += ["", *(f"  {line}".rstrip() for line in _markdown(text)), ""]
    return "\n".join(lines)


def _markdown(text: str) -> list[str]:
    """Return a docstring's lines, with its sections (``Args:``, ``Raises:``) as lists."""
    lines: list[str] = []
    inside = False
    for line in inspect.cleandoc(text).replace("``", "`").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Warns):", line):
            lines += [line, ""]
            inside = True
        elif inside and (item := re.fullmatch(r"    (\w+): (.*)", line)):
            lines.append(f"- `{item[1]}`: {item[2]}")
        else:
            lines.append(f"  {line.strip()}".rstrip() if inside and line.startswith("    ") else line)
            inside = inside and line.startswith("    ")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
