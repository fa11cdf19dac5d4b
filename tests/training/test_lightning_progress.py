"""The private counters of Lightning: their version, and the batch at which a checkpoint resumes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning
import lightning.pytorch as L
import pytest
import torch

from aeframe.data.datamodule import DataModule
from aeframe.training import lightning_progress
from aeframe.training.lightning_progress import LIGHTNING, count_batches, place_loops
from aeframe.types import TrainingProgress

from .short_runs import PER_EPOCH, make_data, make_module, plain_trainer


def test_the_version_is_the_one_that_was_read() -> None:
    assert LIGHTNING == "2.6"
    assert lightning.__version__.startswith("2.6"), (
        "compare aeframe/training/lightning_progress.py with the loops of this version, then set LIGHTNING"
    )


def test_private_names_of_the_loops_are_used_in_that_file_only() -> None:
    package = Path(lightning_progress.__file__).parents[1]
    private = re.compile(r"_batches_that_stepped|epoch_loop|epoch_progress|batch_progress|_evaluation_loop|val_loop")
    found = {path.name for path in package.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))}
    assert found == {"lightning_progress.py"}


def test_a_checkpoint_without_loops_is_left_alone() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {}}
    place_loops(checkpoint, TrainingProgress(), batches_per_epoch=7, batches_per_call=1, validated=False)
    assert checkpoint == {"state_dict": {}}


def placed(progress: TrainingProgress, *, batches_per_call: int = 1, validated: bool = False) -> dict[str, Any]:
    """Return the counters that `place_loops` writes to a checkpoint with other counters."""
    trainer = plain_trainer(max_epochs=1)
    trainer.fit(make_module(), datamodule=make_data())
    fit = trainer.fit_loop.state_dict()
    assert "combined_loader" in fit["state_dict"]
    place_loops(
        {"loops": {"fit_loop": fit}},
        progress,
        batches_per_epoch=PER_EPOCH,
        batches_per_call=batches_per_call,
        validated=validated,
    )
    return fit


def same_count(number: int) -> dict[str, int]:
    return {"ready": number, "started": number, "processed": number, "completed": number}


PENDING = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("validated", [True, False])
def test_between_epochs_the_next_one_has_not_begun(epoch: int, validated: bool) -> None:
    fit = placed(TrainingProgress(batch=7 * epoch, epoch=epoch), validated=validated)
    assert fit["epoch_progress"]["current"] == same_count(epoch)
    assert fit["epoch_loop.batch_progress"]["current"] == same_count(0)
    assert fit["epoch_loop.batch_progress"]["total"] == same_count(7 * epoch)
    assert fit["epoch_loop.batch_progress"]["is_last_batch"] is False
    assert fit["epoch_loop.state_dict"] == {"_batches_that_stepped": 7 * epoch}
    assert fit["epoch_loop.val_loop.batch_progress"]["current"] == same_count(0)
    assert fit["state_dict"]["combined_loader"] == [{"epoch": epoch, "batch": 0}]


@pytest.mark.parametrize(("batches_per_call", "calls"), [(1, 3), (2, 1), (8, 0)])
def test_inside_an_epoch_it_has_begun(batches_per_call: int, calls: int) -> None:
    fit = placed(TrainingProgress(batch=10, epoch=1, batch_in_epoch=3), batches_per_call=batches_per_call)
    assert fit["epoch_progress"]["current"] == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
    assert fit["epoch_loop.batch_progress"]["current"] == same_count(calls)
    assert fit["epoch_loop.batch_progress"]["total"] == same_count(-(-7 // batches_per_call) + calls)
    assert fit["epoch_loop.batch_progress"]["is_last_batch"] is False
    # Lightning adds one when it enters the epoch again.
    assert fit["epoch_loop.state_dict"] == {"_batches_that_stepped": 9}
    assert fit["state_dict"]["combined_loader"] == [{"epoch": 1, "batch": 3}]


@pytest.mark.parametrize(("validated", "expected"), [(False, PENDING), (True, same_count(0))])
@pytest.mark.parametrize("batches_per_call", [1, 4, 8])
def test_after_its_last_batch_an_epoch_may_still_have_to_be_validated(
    batches_per_call: int, validated: bool, expected: dict[str, int]
) -> None:
    progress = TrainingProgress(batch=14, epoch=1, batch_in_epoch=7)
    fit = placed(progress, batches_per_call=batches_per_call, validated=validated)
    calls = -(-7 // batches_per_call)
    assert fit["epoch_progress"]["current"] == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
    assert fit["epoch_loop.batch_progress"]["current"] == same_count(calls)
    assert fit["epoch_loop.batch_progress"]["is_last_batch"] is True
    for kind in ("current", "total"):
        assert fit["epoch_loop.val_loop.batch_progress"][kind] == expected
    assert fit["state_dict"]["combined_loader"] == [{"epoch": 1, "batch": 7}]


# -- in a Trainer ------------------------------------------------------------------------------------------------------


class Hooks(L.Callback):
    """A callback that records the order of epochs, batches and validations."""

    works_in_groups = True

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.found.append(("epoch", trainer.current_epoch))

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.found.append(("batch", batch_idx))

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.found.append(("validation", trainer.current_epoch))

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.found.append(("epoch end", trainer.current_epoch))


def resumed(
    folder: Path, progress: TrainingProgress, *, validated: bool = False, steps_per_call: Any = 1
) -> list[tuple[str, int]]:
    """Return the epochs, batches and validations of a run of two epochs that is resumed at `progress`."""
    first = plain_trainer(max_epochs=1)
    first.fit(make_module(), datamodule=make_data())
    first.save_checkpoint(folder / "end.ckpt")
    stored = torch.load(folder / "end.ckpt", weights_only=True)
    stored["aeframe"]["progress"] = progress.state_dict()
    stored["aeframe"]["validated_at"] = progress.batch if validated else -1
    torch.save(stored, folder / "placed.ckpt")
    hooks = Hooks()
    module, trainer = make_module(), plain_trainer(max_epochs=2, callbacks=[hooks], num_sanity_val_steps=0)
    trainer.fit(module, datamodule=make_data(steps_per_call=steps_per_call), ckpt_path=folder / "placed.ckpt")
    assert module.progress.batch == 14
    assert trainer.current_epoch == 2
    return hooks.found


def batches(first: int, end: int = PER_EPOCH) -> list[tuple[str, int]]:
    return [("batch", number) for number in range(first, end)]


LAST = [("epoch", 1), *batches(0), ("validation", 1), ("epoch end", 1)]


def test_a_run_resumes_between_epochs(tmp_path: Path) -> None:
    assert resumed(tmp_path, TrainingProgress(batch=7, epoch=1, planned=14)) == LAST


def test_a_run_resumes_inside_an_epoch(tmp_path: Path) -> None:
    found = resumed(tmp_path, TrainingProgress(batch=3, epoch=0, batch_in_epoch=3, planned=14))
    assert found == [*batches(3), ("validation", 0), ("epoch end", 0), *LAST]


def test_a_run_resumes_before_a_validation(tmp_path: Path) -> None:
    found = resumed(tmp_path, TrainingProgress(batch=7, epoch=0, batch_in_epoch=7, planned=14))
    assert found == [("validation", 0), ("epoch end", 0), *LAST]


def test_a_run_resumes_after_a_validation(tmp_path: Path) -> None:
    found = resumed(tmp_path, TrainingProgress(batch=7, epoch=0, batch_in_epoch=7, planned=14), validated=True)
    assert found == [("epoch end", 0), *LAST]


def test_calls_are_counted_from_the_start_of_the_epoch(tmp_path: Path) -> None:
    found = resumed(tmp_path, TrainingProgress(batch=3, epoch=0, batch_in_epoch=3, planned=14), steps_per_call=2)
    # Batch 3 ends the second call, of which it was the second batch.
    first = [*batches(1, 4), ("validation", 0), ("epoch end", 0)]
    assert found == [*first, ("epoch", 1), *batches(0, 4), ("validation", 1), ("epoch end", 1)]


def test_loggers_count_batches_and_not_calls() -> None:
    trainer, module = plain_trainer(max_epochs=1), make_module()
    data = make_data(steps_per_call=4)
    assert isinstance(data, DataModule)
    trainer.fit(module, datamodule=data)
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == PER_EPOCH
    count_batches(trainer, 12)
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 11
