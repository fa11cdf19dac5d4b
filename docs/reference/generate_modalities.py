"""Write modalities.md by training every recipe on every modality: ``python docs/reference/generate_modalities.py``."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path

import torch

from aeframe.data.modality import Modality, Splits
from aeframe.errors import AeframeError
from aeframe.experiment.checks import SuspiciousConfigWarning, check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.factory import build
from aeframe.registry import registry
from aeframe.testing.reference import NUM_ROWS, Reference
from aeframe.testing.short_run import train_shortly

PAGE = Path(__file__).with_name("modalities.md")
WORKS = "works"
RECIPES = core_recipes()
MODALITIES = ("vector", "image", "text", "audio", "video", "omics", "series")
_HEAD = """\
# Models and modalities

<!-- Written by docs/reference/generate_modalities.py, which trains each pair; run it anew. -->

Every recipe with every modality: `model=NAME modality=NAME`, nothing else said. Each was trained for three batches of
the modality's embedded data; where there is a number, a sentence below says why it is refused and what would do.
"""


def outcome(recipe: str, modality: str) -> str:
    """Return `WORKS`, or the sentence that refuses the pair."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SuspiciousConfigWarning)
            config = compose([f"modality={modality}", f"model={recipe}"])
            spec = check(config)[2]
    except AeframeError as error:
        return str(error)
    made, splits = _data(modality)
    rows = splits.train.batch(torch.arange(NUM_ROWS))
    if config["pairs"]:
        rows = rows.paired(splits.train.batch(torch.arange(NUM_ROWS).roll(1)))
    with tempfile.TemporaryDirectory() as folder:
        run = train_shortly(Reference(config, spec, rows, made), Path(folder), epochs=1)
    assert all(bool(value.isfinite().all()) for value in run.state.values()), (recipe, modality)
    return WORKS


@functools.cache
def _data(modality: str) -> tuple[Modality, Splits]:
    made: Modality = build("modality", {"name": modality})
    return made, made.prepare(build("dataset", {"name": made.dataset}))


def page(found: dict[tuple[str, str], str]) -> str:
    """Return the page of some outcomes, by recipe and modality."""
    reasons = sorted({sentence for sentence in found.values() if sentence != WORKS})
    lines = [_HEAD, f"| model | {' | '.join(MODALITIES)} |", f"|---|{'---|' * len(MODALITIES)}"]
    for recipe in RECIPES:
        cells = [found[recipe, modality] for modality in MODALITIES]
        marks = ["works" if cell == WORKS else f"[{reasons.index(cell) + 1}]" for cell in cells]
        lines.append(f"| `{recipe}` | {' | '.join(marks)} |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)), ""])


if __name__ == "__main__":
    torch.set_num_threads(1)
    missing = [name for name in MODALITIES if not registry().has("modality", name)]
    if missing:
        raise SystemExit(f"modality {missing[0]} is not installed; install the plugins first")
    PAGE.write_text(page({(r, m): outcome(r, m) for m in MODALITIES for r in RECIPES}), encoding="utf-8")
    print(PAGE)
