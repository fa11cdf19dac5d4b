"""A page for each recipe: what it is, how to train it, its parts and options, and the modalities it works with."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from types import ModuleType

from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.option_files import OptionFile, core_recipes, option_file

DOCS = Path(__file__).parents[1]
_ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)
_REASON = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


def names() -> list[str]:
    """Return the names of the recipes."""
    return core_recipes()


def pages() -> dict[str, str]:
    """Return the pages by file name, with ``README.md``, which lists all recipes."""
    loader = Loader(names_only=True)
    found = [option_file(loader, "model", name) for name in names()]
    experiments = [option_file(loader, "experiment", name) for name in loader.get_group_options("experiment")]
    rows = [f"| [`{each.name}`]({each.name}.md) | {_first_sentence(each.comment)} |" for each in found]
    listing = "\n".join(["# Recipes", "", _HEAD, "", "| recipe | |", "|---|---|", *rows, ""])
    return {"README.md": listing, **{f"{each.name}.md": _page(each, experiments) for each in found}}


_HEAD = """\
A recipe is a model of the literature in a few lines of YAML, chosen with `model=NAME`. Each page names its source, its
parts with their options, and the kinds of data that it works with. [Add a recipe](../how-to/add-a-recipe.md) describes
how to write one."""

_PYTHON = """\
```python
import aeframe

run = aeframe.fit(x, model="{name}")
model = aeframe.load(run.folder)
```"""


def _page(recipe: OptionFile, experiments: list[OptionFile]) -> str:
    models = _generator()
    parts: dict[str, set[str]] = {}
    section = models.model_section(recipe, parts).partition("\n\n")[2]
    kinds = [kind for kind in models.kinds() if parts.get(kind)]
    options = [models.options_section(kind, name) for kind in kinds for name in sorted(parts[kind])]
    source = (Path(models.__file__).parents[2] / "aeframe" / "conf" / "model" / f"{recipe.name}.yaml").read_text(
        "utf-8"
    )
    comment, _, rest = section.partition("\n\n| slot")
    yaml = "\n".join(line for line in source.splitlines() if not line.startswith("#"))
    used = [
        f"- `experiment={each.name}`: {_first_sentence(each.comment)}" for each in experiments if _uses(each, recipe)
    ]
    return "\n".join(
        [
            f"# {recipe.name}",
            "",
            comment,
            "",
            "## Train it",
            "",
            f"```sh\naeframe-train model={recipe.name} data=digits\n```",
            "",
            _PYTHON.format(name=recipe.name),
            "",
            *(["Experiments with this recipe:", "", *used, ""] if used else []),
            "## Parts",
            "",
            "Parts in *italics* are not chosen by the recipe; they are the defaults of the modality, here of `vector`.",
            "",
            f"| slot{rest}",
            "## Recipe",
            "",
            f'```yaml title="aeframe/conf/model/{recipe.name}.yaml"\n{yaml.strip()}\n```',
            "",
            "## Modalities",
            "",
            *_modalities(recipe.name),
            "",
            "## Options of the parts",
            "",
            "Set one with `latent.dim=8`, on the command line or in a file.",
            "",
            *(text.replace("## ", "### ", 1) for text in options),
        ]
    )


def _uses(experiment: OptionFile, recipe: OptionFile) -> bool:
    return experiment.choices.get("model") == recipe.name


def _modalities(recipe: str) -> list[str]:
    """Return the list of modalities with which a recipe works, and why it does not with others."""
    header, rows, reasons = _table()
    if recipe not in rows:
        return ["Not tried with each modality yet."]
    lines = []
    for modality, cell in zip(header, rows[recipe], strict=True):
        number = cell.strip("[]")
        lines.append(f"- `{modality}`: {'works' if cell == 'works' else f'{reasons[number]}'}")
    return lines


@functools.cache
def _table() -> tuple[list[str], dict[str, list[str]], dict[str, str]]:
    """Return the modalities, the cells by recipe, and the numbered reasons of the page on modalities."""
    text = (DOCS / "reference" / "modalities.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| model |"))
    rows = {name: cells.split(" | ") for name, cells in _ROW.findall(text)}
    return header.strip("| ").split(" | ")[1:], rows, dict(_REASON.findall(text))


def _first_sentence(comment: str) -> str:
    # Below the first blank line an experiment has its command.
    text = " ".join(comment.partition("\n\n")[0].split())
    return re.split(r"(?<=[^A-Z]\.)\s+(?=[A-Z])", text, maxsplit=1)[0].replace("|", "\\|")


@functools.cache
def _generator() -> ModuleType:
    """Return docs/reference/generate_models.py as a module."""
    path = DOCS / "reference" / "generate_models.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
