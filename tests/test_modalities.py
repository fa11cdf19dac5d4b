"""Every recipe with every modality: it trains, or one sentence refuses it, as the reference says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from aeframe.registry import registry

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
sys.path.insert(0, str(REFERENCE))
from generate_modalities import MODALITIES, RECIPES, WORKS, outcome  # noqa: E402 -- a script, not a package

torch.set_num_threads(1)
PAGE = (REFERENCE / "modalities.md").read_text(encoding="utf-8")
REASONS = dict(re.findall(r"^(\d+)\. (.*)$", PAGE, re.MULTILINE))


def listed(recipe: str, modality: str) -> str:
    (row,) = re.findall(rf"^\| `{recipe}` \| (.*) \|$", PAGE, re.MULTILINE)
    cell = row.split(" | ")[MODALITIES.index(modality)]
    return WORKS if cell == WORKS else REASONS[cell.strip("[]")]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("modality", MODALITIES)
def test_it_trains_or_says_why_not(modality: str, recipe: str) -> None:
    if not registry().has("modality", modality):
        pytest.skip(f"modality '{modality}' comes with a plugin that is not installed")
    assert outcome(recipe, modality) == listed(recipe, modality), (
        "modalities.md is stale; run python docs/reference/generate_modalities.py"
    )


def test_the_page_has_no_other_rows() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == RECIPES
    assert not any(
        reason.startswith(("a penalty does not fit", "the model does not fit")) for reason in REASONS.values()
    )
