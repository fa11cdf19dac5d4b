"""Checks of names as words of a command line, and of the recipes that a plugin brings."""

from __future__ import annotations

import importlib.resources
from typing import Any

from aeframe.experiment.compose import compose
from aeframe.factory import defaults
from aeframe.kinds import KINDS
from aeframe.testing.check import MODEL_KINDS, NotApplicableError, check, expect
from aeframe.testing.part_under_test import PartUnderTest


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
    kind = KINDS[tested.kind]
    if kind.labelled:
        found = _composed(tested, f"{kind.key}={{{name}: {{}}}}")[kind.key][name]["name"]
    else:
        found = _composed(tested, f"{kind.key}={name}")[kind.key]["name"]
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
