"""Real short runs: thirteen illnesses made on purpose get their advice, and six healthy runs get none.

Each was also run with two more seeds when the thresholds were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aeframe.cli.main import main
from aeframe.evaluation.advice import MOST, advise
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main as aeframe_train
from aeframe.factory import signature
from aeframe.registry import registry
from aeframe.runs.evidence import read_evidence
from aeframe.runs.folder import RunFolder

pytestmark = pytest.mark.slow

QUIET = ["pictures=false", "progress=false", "trainer=cpu"]
SMALL = ["encoder=mlp", "encoder.hidden=[32]", "optimizer.lr=3e-3"]
CELLS = ["data=breast_cancer", *SMALL]
DIGITS = ["data=digits", *SMALL]
LIGHT_KL = ["objective.beta=0.001", "latent.dim=4", "max_epochs=20"]
SPARSE = ["data=sparse_features", "data.samples=4000", "latent.dim=64"]

ILL: dict[str, tuple[str, list[str]]] = {
    # name: the illness, and the run that has it.
    "diverges": ("rate_too_high", ["model=ae", *CELLS, "latent.dim=4", "optimizer.lr=0.5", "max_epochs=10"]),
    "not a number": ("rate_too_high", ["model=ae", *CELLS, "optimizer=sgd", "optimizer.lr=1", "max_epochs=5"]),
    "slow": ("rate_too_low", ["model=ae", *CELLS, "latent.dim=4", "optimizer.lr=1e-5", "max_epochs=10"]),
    "collapse": ("posterior_collapse", ["model=vae", *CELLS, "latent.dim=4", "objective.beta=40", "max_epochs=26"]),
    "dead codes": (
        "dead_codes",
        [
            "model=vqvae", *CELLS, "latent.codebook_size=1024", "latent.dim=8", "latent.revive=0",
            "latent.kmeans_init=false", "max_epochs=8",
        ],
    ),
    "saturated": ("saturated_output", ["model=ae", *DIGITS, "loss=mse", "loss.activation=relu", "max_epochs=8"]),
    "overfit": (
        "overfit",
        [
            "model=ae", "data=numbers", "data.path=noise.csv", *SMALL, "encoder.hidden=[64]", "optimizer.lr=5e-3",
            "latent.dim=10", "max_epochs=60",
        ],
    ),
    "underfit": (
        "underfit",
        ["model=ae", *CELLS, "encoder.hidden=[1]", "latent.dim=8", "batch_size=32", "max_epochs=36"],
    ),
    "far from the prior": ("prior_mismatch", ["model=vae", *CELLS, *LIGHT_KL, "monitor=loss"]),
    "early weights": ("wrong_monitor", ["model=vae", *CELLS, *LIGHT_KL]),
    "scale": (
        "wrong_scale",
        ["model=ae", "data=numbers", "data.path=scale.csv", *SMALL, "modality.scale=none", "max_epochs=8"],
    ),
    "large code": (
        "unused_units",
        [
            "model=vae", "data=numbers", "data.path=label.csv", "data.label=y", *SMALL, "latent.dim=32",
            "optimizer.lr=1e-2", "max_epochs=60",
        ],
    ),
    "copy": ("identity", ["model=ae", *CELLS, "encoder.hidden=[64]", "latent.dim=64", "max_epochs=30"]),
    "critic": (
        "critic_wins",
        [
            "model=vae_gan", *CELLS, "latent.dim=4", "optimizers.discriminator_x.optimizer.lr=0.01", "max_epochs=12",
        ],
    ),
    "condition": (
        "unused_condition",
        [
            "model=cvae", "data=numbers", "data.path=label.csv", "data.label=y", "label_classes=4", *SMALL,
            "latent.dim=8", "objective.beta=0.1", "monitor=loss", "max_epochs=40",
        ],
    ),
    "dense": ("dense_code", ["model=gated_sae", *SPARSE, "latent.sparsity=1e-4", "max_epochs=6"]),
}  # fmt: skip
HEALTHY = {
    "ae": ["model=ae", *CELLS, "latent.dim=4", "max_epochs=40"],
    "vae": ["model=vae", *CELLS, "latent.dim=4", "max_epochs=40"],
    "vqvae": ["model=vqvae", *CELLS, "latent.codebook_size=32", "latent.dim=8", "max_epochs=40"],
    "sae": ["model=topk_sae", *SPARSE, "latent.k=4", "optimizer.lr=1e-2", "max_epochs=15"],
    "series": ["model=ae", "data=series_simulated", *SMALL, "max_epochs=20"],
    "images": [
        "model=ae", "data=digits", "encoder=conv", "encoder.channels=[8,16]", "latent.dim=8", "optimizer.lr=5e-3",
        "max_epochs=25",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tables: noise, a column of another scale, and a label that is independent of the columns."""
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    rank_3 = random.normal(size=(300, 3)) @ random.normal(size=(3, 8)) + 0.1 * random.normal(size=(300, 8))
    scale = rank_3 * np.where(np.arange(8) == 2, 1e4, 1.0)
    label = np.column_stack([rank_3, random.integers(0, 4, size=300)])
    for name, table in (("noise", random.normal(size=(80, 20))), ("scale", scale), ("label", label)):
        names = [f"c{number}" for number in range(table.shape[1])]
        names[-1] = "y" if name == "label" else names[-1]
        np.savetxt(folder / f"{name}.csv", table, delimiter=",", header=",".join(names), comments="")
    return folder


@pytest.fixture
def train(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], RunFolder]:
    """Return a function that trains a run, which may fail, and returns its folder."""
    monkeypatch.chdir(tables)

    def run(overrides: list[str]) -> RunFolder:
        aeframe_train([*overrides, *QUIET, f"folder={tmp_path / 'run'}"])
        return RunFolder.open(tmp_path / "run")

    return run


@pytest.mark.parametrize("name", ILL)
def test_an_illness_is_found(
    name: str, train: Callable[[list[str]], RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    illness, overrides = ILL[name]
    if illness == "dense_code" and "target_l0" in signature(registry().load("latent", "gated")).options:
        overrides = [*overrides, "latent.target_l0=null"]
    folder = train(overrides)
    printed = "".join(capsys.readouterr())
    findings = advise(read_evidence(folder))
    assert [each.illness for each in findings][:1] == [illness], [str(each) for each in findings]
    assert len(findings) <= MOST
    # A run that ends prints the same sentences.
    sentences = [line.removeprefix("advice: ") for line in printed.splitlines() if line.startswith("advice: ")]
    if folder.metrics_json.is_file():
        assert sentences == [str(each) for each in findings]
    assert main(["advise", str(folder.path)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(each) for each in findings]
    for each in findings:
        for remedy in each.remedies:
            config = compose(list(remedy), pinned=folder.read_config())
            assert config != compose([], pinned=folder.read_config()), remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_has_no_advice(
    name: str, train: Callable[[list[str]], RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(HEALTHY[name])
    printed = "".join(capsys.readouterr())
    assert "r2" in printed
    assert "advice:" not in printed
    assert main(["advise", str(folder.path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("nothing to advise: looked at jumps of the training loss, the slope of the validation ")
