"""``dry_run=true`` states what a run costs, and trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main
from aeframe.experiment.run_cost import Cost, measure_cost

SMALL = ["data=breast_cancer", "model=ae", "encoder=mlp", "encoder.hidden=[8]", "latent.dim=3", "trainer.threads=1"]
NUM_PARAMETERS = (30 * 8 + 8) + (8 * 3 + 3) + (3 * 8 + 8) + (8 * 30 + 30)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aeframe.experiment.run_cost._SECONDS", 0.0)


def test_counts_are_those_of_the_layers() -> None:
    cost = measure_cost(compose([*SMALL, "batch_size=50"]))
    assert cost.num_parameters == NUM_PARAMETERS
    assert cost.parameter_bytes == 4 * NUM_PARAMETERS
    # Two moments of Adam for each parameter, and the number of steps of each of the eight tensors.
    assert cost.optimizer_bytes == 4 * (2 * NUM_PARAMETERS + 8)
    # A product of forward takes two more in backward: one for the first layer, whose input has no gradient.
    products = [30 * 8, 8 * 3, 3 * 8, 8 * 30]
    assert cost.flops == 2 * (3 * sum(products) - products[0])
    # Batches of 50 of the 455 training rows, and one of the rest.
    assert (cost.batches, cost.batch_size) == (10, 50)
    assert cost.batch_seconds > 0
    assert cost.validation_seconds > 0
    # At least the input and the outputs of the two hidden layers.
    assert cost.activation_bytes >= 4 * 50 * (30 + 8 + 8)


def test_activations_grow_with_the_batch_and_other_sizes_do_not() -> None:
    small, large = (measure_cost(compose([*SMALL, f"batch_size={size}", "max_batches=90"])) for size in (20, 40))
    assert large.activation_bytes == pytest.approx(2 * small.activation_bytes, rel=0.1)
    assert (large.parameter_bytes, large.flops) == (small.parameter_bytes, small.flops)
    assert small.epochs == 90 / small.batches


def test_the_time_of_an_epoch_is_that_of_its_batches() -> None:
    cost = Cost(10, 40, 80, 100, 5, 64, batches=100, epochs=30, batch_seconds=0.5, validation_seconds=10)
    assert cost.epoch_seconds == 60
    cells = [list(column.cells) for column in cost.table().columns]
    rows = dict(zip(*cells, strict=True))
    assert rows["epoch"] == "60 s: 100 batches, with validation"
    assert rows["training"] == "30 min: 30 epochs"


def test_the_command_prints_the_cost_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "dry_run=true"]) == 0
    assert f"{NUM_PARAMETERS:,} (" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "dry_run=true", "seed=0,1"], "has dry_run=true, which measures one run; leave out -m"),
        (["dry_run=true", "trainer.devices=2"], "dry_run measures one device, found trainer.devices=2"),
    ],
)
def test_several_runs_and_devices_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *SMALL]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_fit_refuses_a_dry_run() -> None:
    settings: dict[str, Any] = {"data": "breast_cancer", "dry_run": True}
    with pytest.raises(AeframeError, match="is for the command aeframe-train"):
        aeframe.fit(**settings)
