"""Recipes of the core that are refused for tables: with the overrides in the message they train.

tests/test_modalities.py of the core trains the others.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path

import pytest
import torch

import aeframe
from aeframe.data.modality import Modality, Splits
from aeframe.errors import AeframeError
from aeframe.experiment.checks import SuspiciousConfigWarning, check
from aeframe.experiment.compose import compose
from aeframe.experiment.provenance import why
from aeframe.factory import build
from aeframe.testing.reference import NUM_ROWS, ReferenceSetup
from aeframe.testing.short_run import train_shortly
from aeframe_tabular.simulated import TableSimulated

torch.set_num_threads(1)

REFUSED = {
    "batch_topk_sae": ["loss=mixed"],
    "contractive_ae": ["~penalties.contractive"],
    "gated_sae": ["loss=mixed"],
    "jumprelu_sae": ["loss=mixed"],
    "linear_ae": ["loss=mixed"],
    "mae": ["model=dae", "corruption=elements"],
    "matryoshka_sae": ["loss=mixed"],
    "sigma_vae": ["loss=mixed", "~loss.variance"],
    "topk_sae": ["loss=mixed"],
    "two_stage_vae": ["loss=mixed", "~loss.variance"],
    "vae_gan": [
        "~penalties.adversarial",
        "~penalties.feature_matching",
        "~critics.discriminator_x",
        "~optimizers.discriminator_x",
    ],
    "vamp": ["prior=mixture"],
    "vqgan": [
        "~penalties.perceptual",
        "~penalties.adversarial",
        "~critics.discriminator_x",
        "~optimizers.discriminator_x",
    ],
    "wae_gan": ["loss=mixed"],
    "wae_mmd": ["loss=mixed"],
}
"""The overrides in the message of each recipe that is refused, those of the first alternative."""


@pytest.fixture(scope="module")
def data() -> tuple[Modality, Splits]:
    modality: Modality = build("modality", {"name": "table"})
    return modality, modality.prepare(build("dataset", {"name": "table_simulated", "rows": 300}))


def train(overrides: list[str], data: tuple[Modality, Splits]) -> None:
    """Train three batches of a recipe with overrides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousConfigWarning)
        config = compose(["modality=table", *overrides])
        spec = check(config)[2]
    modality, splits = data
    rows = splits.train.batch(torch.arange(NUM_ROWS))
    if config["pairs"]:
        rows = rows.paired(splits.train.batch(torch.arange(NUM_ROWS).roll(1)))
    with tempfile.TemporaryDirectory() as folder:
        run = train_shortly(ReferenceSetup(config, spec, rows, modality), Path(folder), epochs=1)
    assert all(bool(value.isfinite().all()) for value in run.state.values())


def overrides_in(message: str) -> list[str]:
    """Return the overrides that the last clause of a message recommends, those of its first alternative."""
    advice = message.rpartition("; ")[2]
    alternative = re.split(r" or |, ", advice)[0]
    return re.findall(r"(?<=')~[\w.]+|\b[\w.]+=\w+", alternative)


@pytest.mark.parametrize("recipe", REFUSED)
def test_a_refused_recipe_trains_with_the_overrides_in_the_message(recipe: str, data: tuple[Modality, Splits]) -> None:
    with pytest.raises(AeframeError) as error:
        train([f"model={recipe}"], data)
    found = overrides_in(str(error.value))
    assert found == REFUSED[recipe]
    train([*([] if found[0].startswith("model=") else [f"model={recipe}"]), *found], data)


def test_no_other_recipe_is_refused() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "modalities.md").read_text(encoding="utf-8")
    assert re.search(r"^\| model \|.*\| table \|$", page, re.MULTILINE)
    refused = re.findall(r"^\| `(\w+)` \|.*\| \[\d+\] \|$", page, re.MULTILINE)
    assert sorted(refused) == sorted(REFUSED)


def test_a_denoising_autoencoder_of_tables_has_swap_noise_unless_another_corruption_is_chosen(tmp_path: Path) -> None:
    table = ["model=dae", "data=table_simulated"]
    assert why("corruption", table).value == "swap_noise"
    assert why("corruption", table).sources[-1].place == "the substitute of modality 'table'"
    assert why("corruption", ["model=dae"]).value == "gaussian"
    assert why("corruption", [*table, "corruption=elements"]).value == "elements"
    assert why("corruption", ["model=vae", "data=table_simulated"]).value == "none"
    # A choice of an experiment stays, and is refused.
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /corruption: gaussian\n"
    (tmp_path / "experiment" / "noisy.yaml").write_text(text, encoding="utf-8")
    assert why("corruption", [*table, "experiment=noisy"], config_dir=tmp_path).value == "gaussian"


def test_a_masked_autoencoder_of_tables_compares_hidden_cells_only(data: tuple[Modality, Splits]) -> None:
    train(["model=dae", "corruption=elements", "objective.counts=hidden"], data)


def test_tvae_trains_on_a_small_table_in_one_batch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frame = TableSimulated(rows=20).frame().iloc[:12]
    settings = {"model": "tvae", "max_epochs": 2, "pictures": False, "trainer": {"threads": 1}}
    run = aeframe.fit(frame, **settings, folder=tmp_path / "run")
    assert "batch_size=10, because there are 10 training samples" in capfd.readouterr().err
    assert run.model.config["batch_size"] == 10
    assert bool(torch.isfinite(torch.tensor(run.metrics["reconstruction"])))
    with pytest.raises(AeframeError, match="batch_size=500 is larger than the 10 training samples"):
        aeframe.fit(frame, **settings, batch_size=500, folder=tmp_path / "refused")
