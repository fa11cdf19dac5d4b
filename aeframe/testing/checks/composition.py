"""Checks that a part can be selected by its name in a config, and that the recipes of a plugin compose.

A recipe is a config file ``model/NAME.yaml`` that chooses the parts of a whole model. A config composes if Hydra can
merge its files and overrides.
"""

from __future__ import annotations

import importlib.resources
from typing import Any

from aeframe.experiment.compose import compose
from aeframe.factory import defaults
from aeframe.kinds import KINDS
from aeframe.testing.check import MODEL_KINDS, check
from aeframe.testing.expectations import NotApplicableError, expect
from aeframe.testing.part_under_test import PartUnderTest


@check(
    "composes",
    "a user selects a part by its name alone",
    kinds=MODEL_KINDS | {"dataset", "sampler"},
    depends_on=("plain defaults", "registered defaults"),
)
def composes(part: PartUnderTest) -> None:
    """Compose a config with the part chosen by its name alone, such as ``loss=NAME``."""
    name = part.entry.name
    if "???" in defaults(part.kind, name).values():
        raise NotApplicableError("it has required options")
    kind = KINDS[part.kind]
    # The key of a labelled kind, such as penalties, holds several parts by label.
    if kind.labelled:
        composed = _compose(part, f"{kind.key}={{{name}: {{}}}}")[kind.key][name]["name"]
    else:
        composed = _compose(part, f"{kind.key}={name}")[kind.key]["name"]
    expect(composed == name, f"{part.id} composes as '{composed}'; an option file of the same name overrides it")


@check("recipes compose", "a recipe may name only registered parts", kinds=["config"], depends_on=("imports",))
def recipes_compose(part: PartUnderTest) -> None:
    """Compose a config with each recipe of the package that `register_configs` registers."""
    recipes = importlib.resources.files(part.entry.target) / "model"
    if not recipes.is_dir():
        raise NotApplicableError("it has no folder of recipes, model/")
    for file in recipes.iterdir():
        name, _, suffix = file.name.rpartition(".")
        if suffix == "yaml":
            _compose(part, f"model={name}")


def _compose(part: PartUnderTest, override: str) -> dict[str, Any]:
    """Return the config of a run with one override, without the user's own config files in ``./configs``."""
    configs = part.folder / "no-configs"
    configs.mkdir(exist_ok=True)
    return compose([override], config_dir=configs)


CHECKS = (composes, recipes_compose)
