"""``batch_size=auto``: which size is chosen by the times of training steps, and that a run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment import fastest_batch
from aeframe.experiment.compose import compose
from aeframe.experiment.run_setup import build_run
from aeframe.runs.folder import RunFolder
from aeframe.training.optimizer_groups import make_optimizer_groups

QUIET = ["model=vae", "data=digits", "encoder=mlp", "encoder.hidden=[8]", "pictures=false", "verbose=false"]


def with_times(monkeypatch: pytest.MonkeyPatch, times: dict[int, float]) -> list[int]:
    """Replace the seconds of a step by given ones for each sample; sizes without one have no memory."""
    tried = []

    def step_seconds(model: Any, groups: Any, batch: Any) -> float:
        tried.append(len(batch))
        if len(batch) not in times:
            raise torch.OutOfMemoryError
        return times[len(batch)] * len(batch)

    monkeypatch.setattr(fastest_batch, "_step_seconds", step_seconds)
    return tried


@pytest.mark.parametrize(
    ("times", "chosen", "tried"),
    [
        # The smallest within a tenth of the fastest.
        ({16: 4.0, 32: 2.1, 64: 2.0, 128: 1.95}, 32, [16, 32, 64, 128]),
        # No larger size is tried once a sample takes longer.
        ({16: 4.0, 32: 2.0, 64: 3.0, 128: 0.1}, 32, [16, 32, 64]),
        # The memory is full at 64.
        ({16: 4.0, 32: 2.0}, 32, [16, 32, 64]),
    ],
)
def test_the_choice(times: dict[int, float], chosen: int, tried: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_times(monkeypatch, times)
    monkeypatch.setattr(fastest_batch, "_BATCHES_PER_EPOCH", 1437 // 128)
    setup = build_run(compose([*QUIET, "batch_size=auto"]))
    assert (setup.config["batch_size"], found) == (chosen, tried)
    (note,) = [note for note in setup.splits.notes if "batch_size" in note]
    assert note.startswith(f"batch_size={chosen}, by the microseconds of training for a sample: 4e+06 at 16, ")


def test_an_epoch_keeps_enough_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = with_times(monkeypatch, {size: 1 / size for size in (16, 32, 64)})
    assert build_run(compose([*QUIET, "batch_size=auto"])).config["batch_size"] == 32
    assert tried == [16, 32]  # 1437 training samples are 44 batches of 32, and 22 of 64.


def test_measuring_changes_neither_weights_nor_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest_batch, "_SIZES", (16, 16))
    runs = [
        aeframe.fit(
            overrides=[*QUIET, "max_batches=3", f"batch_size={size}"],
            folder=str(tmp_path / str(size)),
            trainer={"threads": 1, "accelerator": "cpu"},
        )
        for size in ("auto", 16)
    ]
    assert runs[0].metrics == runs[1].metrics


def test_a_resumed_run_keeps_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(batches: int) -> int:
        aeframe.fit(
            overrides=[*QUIET, f"max_batches={batches}", "batch_size=auto", "resume=auto"],
            folder=str(tmp_path / "run"),
            trainer={"threads": 1, "accelerator": "cpu"},
        )
        return int(RunFolder.open(tmp_path / "run").read_config()["batch_size"])

    with_times(monkeypatch, {16: 2.0, 32: 1.0})
    assert run(2) == 32
    with_times(monkeypatch, {16: 1.0, 32: 2.0})
    assert run(4) == 32


def test_several_devices_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AeframeError, match="batch_size=auto is measured on one device, found 2; set batch_size to a n"):
        build_run(compose([*QUIET, "batch_size=auto", "trainer.devices=2", "trainer.accelerator=cpu"]))
    with_times(monkeypatch, {})
    with pytest.raises(AeframeError, match="batch_size=auto found no memory for 16 samples; set a smaller batch_size"):
        build_run(compose([*QUIET, "batch_size=auto"]))


def test_a_step_updates_all_parameters() -> None:
    setup = build_run(compose([*QUIET, "batch_size=16"]))
    batch = setup.splits.train.batch(torch.arange(16))
    (group,) = make_optimizer_groups(setup.model, setup.config["optimizer"])
    assert fastest_batch._step_seconds(setup.model, [group], batch) > 0
    assert len(group.optimizer.state) == len(list(setup.model.parameters()))
    # One step that is not timed, and at least three that are.
    assert all(state["step"] >= 4 and state["exp_avg"].any() for state in group.optimizer.state.values())
