"""Write models.md from the recipes and the signatures of their parts: ``python docs/reference/generate_models.py``."""

from __future__ import annotations

from pathlib import Path

from aeframe.cli.annotations import option_type, shown, written
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.option_files import OptionFile, core_recipes, option_file
from aeframe.factory import REQUIRED, defaults, signature
from aeframe.registry import registry

PAGE = Path(__file__).with_name("models.md")
_HEAD = """\
# Models

<!-- Written by docs/reference/generate_models.py from aeframe/conf/model and the parts' signatures; run it anew. -->

Every model is a recipe: `model=NAME` fills the rooms of one picture. Parts that a recipe leaves open (in *italics*) are
those of the modality, here of rows of numbers; any of them can be swapped by name. The options of every part stand at
the end; set one with `latent.dim=8`, on the command line or in a file.
"""
_ROOMS = ("corruption", "encoder", "latent", "prior", "decoder", "loss", "objective", "sampler")


def page() -> str:
    """Return the page."""
    loader = Loader(names_only=True)
    recipes = [option_file(loader, "model", name) for name in core_recipes()]
    contents = " · ".join(f"[`{recipe.name}`](#{recipe.name})" for recipe in recipes)
    used: dict[str, set[str]] = {}
    sections = [_model(recipe, used) for recipe in recipes]
    options = [_options(kind, name) for kind in (*_ROOMS, "penalty", "critic") for name in sorted(used.get(kind, ()))]
    return "\n".join([_HEAD, contents, "", *sections, "# Options of the parts", "", *options])


def _model(recipe: OptionFile, used: dict[str, set[str]]) -> str:
    config = compose([f"model={recipe.name}", "data=breast_cancer"])
    rooms = []
    for kind in _ROOMS:
        name = config[kind]["name"]
        used.setdefault(kind, set()).add(name)
        link = f"[{name}](#{kind}-{name})"
        rooms.append(f"| {kind} | {link if recipe.choices.get(kind) else f'*{link}*'} |")
    for kind, setting in (("penalty", "penalties"), ("critic", "critics")):
        for label, options in (config.get(setting) or {}).items():
            name = (options or {}).get("name", label)
            used.setdefault(kind, set()).add(name)
            rooms.append(f"| {kind} | [{name}](#{kind}-{name}) |")
    values = [f"`{key}={shown(value)}`" for key, value in recipe.settings.items()]
    sets = f"\nSets {', '.join(values)}.\n" if values else ""
    return f"## {recipe.name}\n\n{recipe.comment}\n\n| room | part |\n|---|---|\n" + "\n".join(rooms) + f"\n{sets}"


def _options(kind: str, name: str) -> str:
    entry = registry().entry(kind, name)
    wants = signature(entry.load()).options.values()
    head = f"## {kind} {name}\n\n{entry.summary[:1].upper()}{entry.summary[1:]}."
    if not wants:
        return f"{head} It has no options.\n"
    known, rows = defaults(kind, name), []
    for option in wants:
        default = "required" if option.default is REQUIRED else f"`{shown(known[option.name])}`"
        type_ = written(option_type(kind, option)).replace("|", "\\|")
        rows.append(f"| `{option.name}` | {type_} | {default} |")
    return f"{head}\n\n| option | type | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
