"""Which weights of a run are its best ones."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import aeframe
from aeframe import AeframeError
from aeframe.runs.folder import RunFolder


@pytest.mark.parametrize(("monitor", "best"), [("bound", "first"), ("loss", "last"), ("reconstruction", "last")])
def test_the_best_weights_are_those_of_the_lowest_number_asked_for(monitor: str, best: str, tmp_path: Path) -> None:
    # Under a weight of nearly nothing the KL grows while all that is trained falls: bound and loss disagree.
    run = aeframe.fit(
        model="vae", data="breast_cancer", objective={"beta": 1e-4}, optimizer={"lr": 3e-3}, monitor=monitor,
        max_epochs=4, batch_size=32, pictures=False, progress=False, trainer={"threads": 1},
        folder=str(tmp_path / "run"),
    )  # fmt: skip
    folder = RunFolder(run.folder)
    with folder.metrics.open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["name"] == monitor]
    found = {int(row["step"]): float(row["value"]) for row in rows}
    steps = sorted(found)
    chosen = torch.load(folder.best, weights_only=True)["aeframe"]["clock"]["batch"]
    assert chosen == min(found, key=found.__getitem__) == (steps[0] if best == "first" else steps[-1])


def test_a_number_that_selects_nothing_is_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        aeframe.fit(model="vae", monitor="los")
    assert str(caught.value) == (
        "setting 'monitor' has no value 'los', did you mean 'loss'?; choose bound, loss, reconstruction"
    )
