"""Checks of names as words of a command line, and of the recipes that a plugin brings."""

from __future__ import annotations

import importlib.resources
from typing import Any

from aeframe.experiment.compose import compose
from aeframe.factory import defaults
from aeframe.testing.check import MODEL_KINDS, NotApplicableError, check, expect
from aeframe.testing.part_under_test import PartUnderTest

_GROUPS = {"dataset": "data"}
_LABELLED = {"penalty": "penalties", "critic": "critics"}
"""Kinds with several parts in a run, under labels."""
"""Kinds that stand on a command line under another name."""


@check(
    "composes",
    "a name alone is all that a user must write",
    kinds=MODEL_KINDS | {"dataset", "sampler"},
    after=("plain defaults", "known defaults"),
)
def composes(tested: PartUnderTest) -> None:
    name = tested.entry.name
    if "???" in defaults(tested.kind, name).values():
        raise NotApplicableError("it has options that its user must give")
    if tested.kind in _LABELLED:
        setting = _LABELLED[tested.kind]
        found = _composed(tested, f"{setting}={{{name}: {{}}}}")[setting][name]["name"]
    else:
        group = _GROUPS.get(tested.kind, tested.kind)
        found = _composed(tested, f"{group}={name}")[group]["name"]
    expect(found == name, f"{tested.id} composes as '{found}'; an option file of that name stands before it")


@check("recipes compose", "a recipe names parts that are there", kinds=["config"], after=("imports",))
def recipes_compose(tested: PartUnderTest) -> None:
    models = importlib.resources.files(tested.entry.target) / "model"
    if not models.is_dir():
        raise NotApplicableError("it holds no recipes of models")
    for file in models.iterdir():
        name, _, suffix = file.name.rpartition(".")
        if suffix == "yaml":
            _composed(tested, f"model={name}")


def _composed(tested: PartUnderTest, word: str) -> dict[str, Any]:
    """Compose a run of one word, whatever stands in the working folder."""
    configs = tested.runner.folder / "no-configs"
    configs.mkdir(exist_ok=True)
    return compose([word], config_dir=configs)


CHECKS = (composes, recipes_compose)
