"""Sharded checkpoints: two processes write them, and one, two or four read them, with the bits of a gathered file."""

from __future__ import annotations

import errno
import math
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from aeframe.errors import AeframeError
from aeframe.runs.folder import RunFolder
from aeframe.runs.newest import newest_checkpoint
from aeframe.testing.strategies import in_processes, in_two_processes
from aeframe.training import shard_writer
from aeframe.training.averaging import WeightAverage
from aeframe.training.checkpoint import DurableCheckpointIO, publish_copy, read_checkpoint
from aeframe.training.checkpoint_files import LAST, PREVIOUS, SHARDS
from aeframe.training.checkpoint_hash import DamagedCheckpointError
from aeframe.training.module import AutoencoderModule
from aeframe.training.shard_reader import map_tensors, remove_unused_shards
from aeframe.training.trainer import make_trainer
from aeframe.training.warning_filters import quiet_lightning

from .conftest import make_data, make_module


def fit(
    folder: Path, devices: int, *callbacks: Callback, epochs: int = 2, resume: Path | None = None
) -> AutoencoderModule:
    """Train an autoencoder with a critic, of which a step sums the gradients of two batches, and its average."""
    module = make_module("aae", accumulate=2)
    settings = {"accelerator": "cpu", "devices": devices, "strategy": "fsdp2", "timeout": 60.0}
    callbacks = (WeightAverage(0.9), *callbacks)
    trainer = make_trainer(settings, folder=folder, model=module.model, callbacks=callbacks, max_epochs=epochs)
    with quiet_lightning(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=make_data(), ckpt_path=resume, weights_only=True)
    return module


def tensors_of(checkpoint: Any) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint by name."""
    found: dict[str, Tensor] = {}
    map_tensors(checkpoint, lambda name, value: found.setdefault(name, value))
    return found


def shard_folders(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / SHARDS).iterdir()) if (folder / SHARDS).is_dir() else []


def assert_equal_bits(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(two[name], value), name


# -- what each process does --------------------------------------------------------------------------------------------


class SaveBoth(Callback):
    """After the third batch, the first of the two of a step, write a sharded checkpoint and the same gathered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.error, self.kept, self.removed = folder, "", False, False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if pl_module.progress.batch != 3:
            return
        path = self.folder / "sharded.ckpt"
        with pytest.MonkeyPatch.context() as patch:
            # No process may gather a tensor.
            patch.setattr(DTensor, "full_tensor", None)
            trainer.save_checkpoint(path)
            before = path.read_bytes(), shard_folders(self.folder)
            if trainer.global_rank == 1:
                patch.setattr(shard_writer, "write_safetensors", full_disk)
            with pytest.raises(AeframeError) as caught:
                trainer.save_checkpoint(path)
        self.error = str(caught.value)
        self.kept = (path.read_bytes(), shard_folders(self.folder)) == before
        # Every process has looked at the folder.
        trainer.strategy.barrier()
        other = self.folder / "other.ckpt"
        trainer.save_checkpoint(other)
        trainer.strategy.remove_checkpoint(other)
        trainer.strategy.barrier()
        self.removed = shard_folders(self.folder) == before[1]
        trainer.strategy.writes_shards = False
        trainer.save_checkpoint(self.folder / "gathered.ckpt")
        trainer.strategy.writes_shards = True


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_and_resume(rank: int, folder: Path) -> None:
    saved = SaveBoth(folder)
    fit(folder / "first", 2, saved, epochs=1)
    found: dict[str, Any] = {"error": saved.error, "kept": saved.kept, "removed": saved.removed}
    torch.save(found | resumed(folder, 2), folder / f"2-{rank}.pt")


def resume_on_four(rank: int, folder: Path) -> None:
    torch.save(resumed(folder, 4), folder / f"4-{rank}.pt")


def resumed(folder: Path, devices: int) -> dict[str, Any]:
    """Return the weights after two epochs, resumed from each of the two checkpoints."""
    kinds = ("sharded", "gathered")
    return {
        kind: fit(folder / f"{kind}{devices}", devices, resume=folder / f"{kind}.ckpt").state_dict() for kind in kinds
    }


class SaveLast(Callback):
    """Write ``last.ckpt`` after each epoch; the second process is killed while it writes that of epoch `killed_in`."""

    def __init__(self, folder: Path, killed_in: int | None = None) -> None:
        self.folder, self.killed_in = folder, killed_in

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_rank == 1 and trainer.current_epoch == self.killed_in:
            shard_writer.write_safetensors = killed
        trainer.save_checkpoint(self.folder / LAST)


def killed(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(dict(list(tensors.items())[:3]), path)
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_be_killed(rank: int, folder: Path) -> None:
    fit(folder, 2, SaveLast(folder, killed_in=1))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return a folder with both checkpoints, and the weights of all runs that resume from them."""
    folder = tmp_path_factory.mktemp("shards")
    with warnings.catch_warnings():
        # Python warns of a fork with threads.
        warnings.simplefilter("ignore")
        in_two_processes(write_and_resume, folder)
        in_processes(resume_on_four, folder, 4)
    found = {num: [torch.load(folder / f"{num}-{rank}.pt") for rank in range(num)] for num in (2, 4)}
    return SimpleNamespace(folder=folder, by_num={1: [resumed(folder, 1)], **found})


@pytest.fixture
def sharded(results: Any, tmp_path: Path) -> Path:
    """Return a copy of the sharded checkpoint, as ``last.ckpt`` of another run."""
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(results.folder / SHARDS, folder / SHARDS)
    shutil.copy(results.folder / "sharded.ckpt", folder / LAST)
    return folder / LAST


def shard(path: Path, number: int = 1) -> Path:
    """Return a file of shards, the only ones of the folder of a checkpoint."""
    (folder,) = (path.parent / SHARDS).iterdir()
    return folder / f"{number:05d}-of-00002.safetensors"


# -- the same bits on any number of processes --------------------------------------------------------------------------


def test_the_shards_have_the_values_of_the_gathered_file(results: Any) -> None:
    one, two = (read_checkpoint(results.folder / f"{kind}.ckpt") for kind in ("gathered", "sharded"))
    assert_equal_bits(tensors_of(one), tensors_of(two))
    assert one.keys() == two.keys()
    assert one["aeframe"]["groups"]["autoencoder"]["gradients"], "expected gradients of half a step"
    for key in ("callbacks", "loops", "lr_schedulers"):
        assert one[key] == two[key]
    for states in zip(one["optimizer_states"], two["optimizer_states"], strict=True):
        assert states[0]["param_groups"] == states[1]["param_groups"]


@pytest.mark.parametrize("num", [1, 2, 4])
def test_a_resumed_run_has_the_bits_of_one_from_the_gathered_file(num: int, results: Any) -> None:
    assert len(results.by_num[num]) == num
    for found in results.by_num[num]:
        assert_equal_bits(found["gathered"], found["sharded"])


def test_each_process_writes_its_share(results: Any) -> None:
    found = tensors_of(read_checkpoint(results.folder / "sharded.ckpt"))
    index = torch.load(results.folder / "sharded.ckpt", weights_only=True)[SHARDS]
    files = [load_file(results.folder / SHARDS / index["folder"] / name) for name in index["files"]]
    assert len(files) == 2
    sizes = [sum(value.numel() for value in each.values()) for each in files]
    total = sum(found[name].numel() for name in index["chunks"])
    assert sum(sizes) == total
    # A bias with one number is on the first process.
    assert max(sizes) <= total / 2 + len(index["chunks"]) * max(
        value.shape[-1] for value in found.values() if value.ndim
    )
    for name in index["chunks"]:
        parts = [each[name] for each in files if name in each]
        assert torch.equal(torch.cat(parts), found[name])
    moments = [name for name in index["chunks"] if name.endswith("exp_avg_sq")]
    assert {name.split("/")[0] for name in index["chunks"]} == {
        "state_dict", "current_model_state", "optimizer_states", "aeframe",
    }  # fmt: skip
    assert len(moments) > 4


def test_the_file_itself_has_tensors_without_values(results: Any) -> None:
    found = torch.load(results.folder / "sharded.ckpt", weights_only=True)
    assert all(value.is_meta for value in found["state_dict"].values())


# -- writing -----------------------------------------------------------------------------------------------------------


def test_an_error_of_one_process_is_raised_by_all_and_changes_nothing(results: Any) -> None:
    for found in results.by_num[2]:
        assert found["error"] == (
            f"checkpoint '{results.folder}/sharded.ckpt' cannot be written: No space left on device (rank 1); the "
            "previous one is kept, free disk space, restore the permissions of the folder, or use a folder that all "
            f"machines share, then resume={results.folder.parent}"
        )
        assert found["kept"]


def test_the_shards_of_a_removed_checkpoint_are_removed(results: Any) -> None:
    assert [found["removed"] for found in results.by_num[2]] == [True, True]


@pytest.mark.filterwarnings("ignore")
def test_a_kill_while_shards_are_written_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    with pytest.raises((ProcessExitedException, ProcessRaisedException)):
        in_two_processes(write_and_be_killed, tmp_path)
    assert len(shard_folders(tmp_path)) == 2
    assert read_checkpoint(tmp_path / LAST)["aeframe"]["progress"]["batch"] == 7
    assert not (tmp_path / PREVIOUS).exists()
    # The resumed run repeats the end of the epoch, so both of its checkpoints are whole files.
    fit(tmp_path, 1, SaveLast(tmp_path), resume=tmp_path / LAST)
    assert [read_checkpoint(tmp_path / name)["aeframe"]["progress"]["batch"] for name in (LAST, PREVIOUS)] == [14, 7]
    assert shard_folders(tmp_path) == []


def test_shards_are_kept_while_a_checkpoint_names_them(sharded: Path) -> None:
    best, folder = sharded.with_name("best.ckpt"), sharded.parent
    (folder / SHARDS / "0123456789abcdef").mkdir()
    (folder / SHARDS / "of the user").mkdir()
    publish_copy(sharded, best)
    assert shard_folders(folder) == sorted([shard_name(sharded), "of the user"])
    DurableCheckpointIO().remove_checkpoint(sharded)
    read_checkpoint(best)
    DurableCheckpointIO().remove_checkpoint(best)
    assert shard_folders(folder) == ["of the user"]


def shard_name(path: Path) -> str:
    return str(torch.load(path, weights_only=True)[SHARDS]["folder"])


def test_nothing_is_removed_if_a_checkpoint_cannot_be_opened(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == sharded:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, *arguments, **options)

    before = shard_folders(sharded.parent)
    monkeypatch.setattr(Path, "open", fail)
    remove_unused_shards(sharded.parent)
    assert shard_folders(sharded.parent) == before


# -- reading -----------------------------------------------------------------------------------------------------------


def test_other_entries_stay_without_values(sharded: Path) -> None:
    found = read_checkpoint(sharded, entries=("state_dict",))
    assert not any(value.is_meta for value in found["state_dict"].values())
    assert all(value.is_meta for value in found["current_model_state"].values())


def test_a_moved_checkpoint_is_found_with_its_shards(sharded: Path, tmp_path: Path) -> None:
    shutil.move(sharded.parent, tmp_path / "moved")
    read_checkpoint(tmp_path / "moved" / LAST)


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "No such file or directory"),
    "changed": (change_a_byte, "its bytes changed after it was written"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "it was cut off"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    "of another run": (lambda path: save_file({"a": torch.ones(1 << 18)}, path), "its bytes changed"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("number", [1, 2])
def test_a_damaged_shard_is_a_sentence_that_names_it(name: str, number: int, sharded: Path) -> None:
    damage, reason = FAULTS[name]
    file = shard(sharded, number)
    damage(file)
    readers: list[Callable[[], Any]] = [
        lambda: read_checkpoint(sharded),
        lambda: read_checkpoint(sharded, entries=()),
        lambda: DurableCheckpointIO().load_checkpoint(sharded),
    ]
    for read in readers:
        with pytest.raises(DamagedCheckpointError) as caught:
            read()
        message = str(caught.value)
        assert message.startswith(f"checkpoint '{sharded}' is damaged: its shard '{file}' cannot be used (")
        assert message.endswith("; resume from another copy of the run")
        # A folder has fewer bytes than the tensors.
        assert reason in message or (name == "a folder" and "cut off" in message)


def test_a_run_resumes_from_the_previous_checkpoint_if_a_shard_is_damaged(sharded: Path, results: Any) -> None:
    shutil.copy(results.folder / "gathered.ckpt", sharded.with_name(PREVIOUS))
    change_a_byte(shard(sharded))
    newest = newest_checkpoint(RunFolder(sharded.parent.parent))
    assert newest is not None
    assert newest.path.name == PREVIOUS
    assert newest.notes == [
        f"checkpoint '{sharded}' is damaged: its shard '{shard(sharded)}' cannot be used (its bytes changed after it "
        "was written); resuming from 'last.previous.ckpt' instead, at batch 3"
    ]


def first_chunk(index: dict[str, Any]) -> list[Any]:
    chunk: list[Any] = next(iter(index["chunks"].values()))[0]
    return chunk


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another folder": lambda index: index.update(folder="../checkpoints"),
    "no folder": lambda index: index.pop("folder"),
    "another file": lambda index: index["files"].update({"../last.ckpt": ""}),
    "an unlisted file": lambda index: first_chunk(index).__setitem__(0, "00003-of-00003.safetensors"),
    "no text": lambda index: first_chunk(index).__setitem__(0, ["a"]),
    "a tensor without chunks": lambda index: index["chunks"].popitem(),
    "an unknown tensor": lambda index: index["chunks"].update(a=[]),
    "negative": lambda index: first_chunk(index)[1].__setitem__(0, -1),
    "too large": lambda index: first_chunk(index)[2].__setitem__(0, 1 << 70),
    "a fraction": lambda index: first_chunk(index)[2].__setitem__(0, 0.5),
    "another rank": lambda index: first_chunk(index)[1].append(0),
    "a missing chunk": lambda index: next(iter(index["chunks"].values())).pop(),
    "chunks of no list": lambda index: index.update(chunks=3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_index_that_training_does_not_write_is_an_error(name: str, sharded: Path) -> None:
    checkpoint = torch.load(sharded, weights_only=True)
    CHANGES[name](checkpoint[SHARDS])
    path = sharded.with_name("best.ckpt")
    DurableCheckpointIO().save_checkpoint(checkpoint, path)
    for entries in (None, ()):
        with pytest.raises(DamagedCheckpointError) as caught:
            read_checkpoint(path, entries=entries)
        assert str(caught.value) == (
            f"checkpoint '{path}' is damaged: its entry 'shards' does not fit its tensors, which training does not "
            "write; resume from another copy of the run"
        )


@pytest.mark.parametrize("entry", [3, [], {}, "a", None])
def test_an_index_of_another_type_is_an_error(entry: Any, sharded: Path) -> None:
    checkpoint = {**torch.load(sharded, weights_only=True), SHARDS: entry}
    path = sharded.with_name("best.ckpt")
    DurableCheckpointIO().save_checkpoint(checkpoint, path)
    with pytest.raises(DamagedCheckpointError, match="its entry 'shards' does not fit its tensors"):
        read_checkpoint(path)


def test_a_tensor_larger_than_its_files_is_an_error(sharded: Path) -> None:
    checkpoint = torch.load(sharded, weights_only=True)
    name, chunks = next(iter(checkpoint[SHARDS]["chunks"].items()))
    entry, _, key = name.partition("/")
    shape = (1 << 40, *checkpoint[entry][key].shape[1:])
    checkpoint[entry][key] = torch.empty(shape, device="meta")
    chunks[:] = [[chunks[0][0], [0] * len(shape), list(shape)]]
    path = sharded.with_name("best.ckpt")
    DurableCheckpointIO().save_checkpoint(checkpoint, path)
    assert math.prod(shape) >= 1 << 40
    with pytest.raises(DamagedCheckpointError, match=r"its shard '.*' cannot be used \(it was cut off\)"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_that_reads_no_shards_is_an_error(sharded: Path, tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, inference_mode=False,
    )  # fmt: skip
    with quiet_lightning(), pytest.raises(AeframeError, match=r"sharded, .*; pass plugins=\[aeframe"):
        trainer.fit(make_module("aae"), datamodule=make_data(), ckpt_path=sharded, weights_only=True)
