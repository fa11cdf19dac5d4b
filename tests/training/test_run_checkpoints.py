"""`RunCheckpoints`: the times at which checkpoints are written, and signals."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.training import run_checkpoints
from aeframe.training.checkpoint import DurableCheckpointIO
from aeframe.training.run_checkpoints import RunCheckpoints

from .short_runs import PER_EPOCH, make_data, make_module, plain_trainer, train


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return a list to which name and batch of each written checkpoint are appended."""
    found: list[tuple[str, int]] = []
    save = DurableCheckpointIO.save_checkpoint

    def record(self: DurableCheckpointIO, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        found.append((Path(path).name, checkpoint["aeframe"]["progress"]["batch"]))
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(DurableCheckpointIO, "save_checkpoint", record)
    return found


def test_every_epoch_is_written_once(written: list[tuple[str, int]], tmp_path: Path) -> None:
    run = train(tmp_path, epochs=3)
    assert len(written) == 3
    # For a new best, ``best.ckpt`` is written, and ``last.ckpt`` is a link to it.
    assert {batch for _, batch in written} == {7, 14, 21}
    assert run.checkpoints.last.read_bytes() == run.checkpoints.best.read_bytes() or written[-1][0] == "last.ckpt"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt", "last.previous.ckpt"]
    assert run.checkpoints.written_batch == 21


@pytest.mark.parametrize("steps_per_call", [1, 4])
def test_an_interval_in_batches(written: list[tuple[str, int]], tmp_path: Path, steps_per_call: int) -> None:
    train(tmp_path, every_batches=3, steps_per_call=steps_per_call)
    assert [batch for _, batch in written] == [3, 6, 7, 9, 12, 14]


def test_an_interval_is_counted_on_after_a_resume(written: list[tuple[str, int]], tmp_path: Path) -> None:
    train(tmp_path, every_batches=5, max_batches=8, epochs=3)
    written.clear()
    train(tmp_path, every_batches=5, epochs=3, resume=tmp_path / "last.ckpt")
    assert [batch for _, batch in written] == [10, 14, 15, 20, 21]


def test_an_interval_by_the_clock(
    written: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(1000))
    monkeypatch.setattr(run_checkpoints.time, "monotonic", lambda: float(next(times)))
    checkpoints = RunCheckpoints(tmp_path, every_seconds=2.5)
    trainer = plain_trainer(callbacks=[checkpoints], max_epochs=1, enable_checkpointing=True, num_sanity_val_steps=0)
    trainer.fit(make_module(), datamodule=make_data())
    # The time is read once for each batch, and once more for each write.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt", "last.previous.ckpt"]
    previous = torch.load(tmp_path / "last.previous.ckpt", weights_only=True)["aeframe"]["progress"]["batch"]
    assert previous == 6


def test_the_state_is_plain_and_names_no_path(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, written_rows=lambda: {"metrics.csv": 3})
    trainer = plain_trainer(callbacks=[checkpoints], max_epochs=1, enable_checkpointing=True, num_sanity_val_steps=0)
    trainer.fit(make_module(), datamodule=make_data())
    stored = torch.load(checkpoints.last, weights_only=True)["callbacks"]["RunCheckpoints"]
    assert stored == {
        "best_value": checkpoints.best_value,
        "best_batch": PER_EPOCH,
        "stopped": False,
        "rows": {"metrics.csv": 3},
    }
    restored = RunCheckpoints(tmp_path / "moved")
    restored.load_state_dict(stored)
    assert (restored.best_value, restored.best_batch) == (checkpoints.best_value, PER_EPOCH)


def test_a_run_that_stops_early_is_marked(tmp_path: Path) -> None:
    class StopAfterOneEpoch(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.should_stop = True

    run = train(tmp_path, epochs=3, callbacks=[StopAfterOneEpoch()])
    assert run.module.progress.batch == PER_EPOCH
    assert run.last()["callbacks"]["RunCheckpoints"]["stopped"] is True


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    class Spoil(L.Callback):
        works_in_groups = True

        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            # Terms are checked after three batches and after six.
            if batch_idx == 3:
                with torch.no_grad():
                    next(pl_module.parameters()).fill_(float("inf"))

    with pytest.raises(AeframeError, match=r"^training stopped: weight .* is not finite after batch 3,"):
        train(tmp_path, every_batches=2, callbacks=[Spoil()])
    found = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert found["aeframe"]["progress"]["batch"] == 2
    assert all(bool(value.isfinite().all()) for value in found["state_dict"].values())


def test_another_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        RunCheckpoints(tmp_path).on_train_start(plain_trainer(), L.LightningModule())
    assert str(caught.value) == (
        "RunCheckpoints needs an AutoencoderModule, found LightningModule; use Lightning's ModelCheckpoint"
    )


# -- signals -----------------------------------------------------------------------------------------------------------


class Send(L.Callback):
    """Send this process a signal at a batch or a validation."""

    works_in_groups = True

    def __init__(self, hook: str, number: int) -> None:
        self.hook, self.number = hook, number

    def _send(self, hook: str) -> None:
        if hook == self.hook:
            self.hook = ""
            signal.raise_signal(self.number)

    def on_train_batch_start(self, *_: Any) -> None:
        self._send("batch")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._send("validation")

    def on_test_batch_start(self, *_: Any) -> None:
        self._send("test")


@pytest.mark.parametrize(("hook", "batch", "in_epoch"), [("batch", 1, 1), ("validation", 7, 7)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint(tmp_path: Path, hook: str, batch: int, in_epoch: int, number: int) -> None:
    guard = SignalGuard()
    checkpoints = RunCheckpoints(tmp_path, signals=guard)
    trainer = plain_trainer(
        callbacks=[Send(hook, number), checkpoints], max_epochs=2, enable_checkpointing=True, num_sanity_val_steps=0
    )
    with guard, guard.deferring(), pytest.raises(Interrupted) as caught:
        trainer.fit(make_module(), datamodule=make_data())
    assert caught.value.number == number
    progress = torch.load(tmp_path / "last.ckpt", weights_only=True)["aeframe"]["progress"]
    assert (progress["batch"], progress["batch_in_epoch"]) == (batch, in_epoch)
    assert checkpoints.written_batch == batch


def test_in_a_test_a_signal_is_raised_at_once(tmp_path: Path) -> None:
    guard = SignalGuard()
    checkpoints = RunCheckpoints(tmp_path, signals=guard)
    trainer = plain_trainer(callbacks=[Send("test", signal.SIGTERM), checkpoints], enable_checkpointing=True)
    with guard, pytest.raises(Interrupted):
        trainer.test(make_module(), datamodule=make_data(), verbose=False)
    assert list(tmp_path.iterdir()) == []
