"""An interrupted and resumed run is bit-identical to an uninterrupted one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main
from aeframe.experiment.workflow import finish
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder
from aeframe.training.module import AutoencoderModule
from aeframe.types import Batch

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(
    not registry().has("dataset", "digits"), reason="data 'digits' come with aeframe-image, which is not installed"
)

SMALL: dict[str, Any] = {
    "data": "digits",
    "encoder": {"channels": [8, 16]},
    "batch_size": 256,
    "ema": 0.9,
    "log_every": 2,
    "pictures": False,
    "trainer": {"threads": 1, "accelerator": "cpu"},
}
# One optimizer group, a codebook in buffers, two optimizer groups.
MODELS = ["vae", "vqvae", "aae"]


def fit(folder: Path, model: str, **settings: Any) -> RunFolder:
    return RunFolder(aeframe.fit(model=model, folder=str(folder), **{**SMALL, **settings}).folder)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four epochs without an interruption."""
    return fit(tmp_path_factory.mktemp(model) / "whole", model, max_epochs=4)


class StopError(Exception):
    """Ends a run like a crash."""


def fit_until(batch: int, folder: Path, model: str, **settings: Any) -> RunFolder:
    """Train, and raise an error after a number of batches."""
    train_on = AutoencoderModule.train_on

    def fail(self: AutoencoderModule, data: Batch) -> Tensor | None:
        if self.progress.batch >= batch:
            raise StopError
        return train_on(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoencoderModule, "train_on", fail)
        with pytest.raises(StopError):
            fit(folder, model, **settings)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def halves(model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four epochs that was interrupted after two of them and resumed."""
    folder = fit_until(12, tmp_path_factory.mktemp(model) / "halves", model, max_epochs=4)
    aeframe.fit(resume=str(folder.path))
    return folder


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of all leaves of nested mappings and sequences."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(each, f"{path}/{number}")
    else:
        yield path, value


def test_the_run_folder_has_the_overrides_of_its_config(whole: RunFolder, halves: RunFolder) -> None:
    assert compose(whole.read_overrides()) == whole.read_config()
    assert "max_epochs=4" in halves.read_overrides()


def checkpoint(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def differences(one: Any, other: Any) -> list[str]:
    left, right = dict(leaves(one)), dict(leaves(other))
    found = list(left.keys() ^ right.keys())
    for path in left.keys() & right.keys():
        a, b = left[path], right[path]
        same = torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        if not same:
            found.append(path)
    return sorted(found)


@pytest.mark.parametrize("which", ["last", "best"])
def test_checkpoints_are_bit_identical(whole: RunFolder, halves: RunFolder, which: str) -> None:
    one, other = (checkpoint(getattr(folder, which)) for folder in (whole, halves))
    assert any(isinstance(value, Tensor) for _, value in leaves(one["optimizer_states"]))
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "aeframe", "loops"):
        assert differences(one[part], other[part]) == []
    assert differences(one["state_dict"], one["current_model_state"]), "the average is not the weights"
    if which == "last":
        # The checkpoint after an epoch resumes at the next one.
        assert one["aeframe"]["progress"]["epoch"] == 4


def test_metrics_are_identical(whole: RunFolder, halves: RunFolder) -> None:
    assert halves.read_metrics() == whole.read_metrics()
    for name in ("metrics", "log"):
        assert getattr(halves, name).read_bytes() == getattr(whole, name).read_bytes()


def test_saved_models_are_identical(whole: RunFolder, halves: RunFolder) -> None:
    one, other = (
        {path.name: path.read_bytes() for path in folder.model.iterdir() if path.suffix != ".md"}
        for folder in (whole, halves)
    )
    assert one == other


def test_a_run_stopped_within_an_epoch_resumes_there(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", "vae", max_batches=9, steps_per_call=4)
    halves = fit_until(5, tmp_path / "halves", "vae", max_batches=9, checkpoint_every=4)
    assert checkpoint(halves.last)["aeframe"]["progress"]["batch"] == 4
    # The number of batches in a call does not change the results.
    aeframe.fit(resume=str(halves.path), steps_per_call=1)
    one, other = checkpoint(whole.last), checkpoint(halves.last)
    for key in ("state_dict", "optimizer_states", "aeframe"):
        assert differences(one[key], other[key]) == []
    assert one["aeframe"]["progress"]["batch"] == 9
    assert halves.metrics.read_bytes() == whole.metrics.read_bytes()


def test_a_run_that_stopped_in_an_epoch_validates_where_epochs_end(tmp_path: Path) -> None:
    # An epoch has six batches; the run stops after two batches of the second epoch.
    whole = fit(tmp_path / "whole", "vae", max_epochs=5, steps_per_call=2)
    halves = fit(tmp_path / "halves", "vae", max_batches=8, steps_per_call=2)
    aeframe.fit(resume=str(halves.path), max_batches=None, max_epochs=5)
    lines = (line.split(",") for line in halves.metrics.read_text(encoding="utf-8").splitlines())
    assert [int(step) for step, _, *what, _ in lines if what == ["val", "loss"]] == [6, 8, 12, 18, 24, 30]
    assert differences(checkpoint(whole.last)["state_dict"], checkpoint(halves.last)["state_dict"]) == []


RAMP = {"objective": {"beta": {"name": "linear", "start": 0.0, "end": 1.0}}}


@pytest.mark.parametrize(("stretch", "beta"), [(False, 1.0), (True, 23 / 24)])
def test_a_longer_run_keeps_its_schedules_unless_stretch_schedules_is_set(
    tmp_path: Path, stretch: bool, beta: float, capsys: pytest.CaptureFixture[str]
) -> None:
    short = fit(tmp_path / "run", "vae", max_epochs=2, **RAMP)
    capsys.readouterr()
    aeframe.fit(resume=short.path, max_epochs=4, stretch_schedules=stretch)
    note = "note: schedules (linear) stay at their end, since they were planned for 12 batches"
    assert (note in capsys.readouterr().err) is not stretch
    assert checkpoint(short.last)["aeframe"]["progress"]["planned"] == (24 if stretch else 12)
    rows = [line.split(",") for line in short.metrics.read_text(encoding="utf-8").splitlines()]
    last = {row[3]: float(row[4]) for row in rows if row[0] == "24" and row[2] == "train"}
    weighted = last.get("kl_weighted", last["kl"])
    # The mean of two batches, whose weights differ where the schedule still moves.
    assert weighted / last["kl"] == pytest.approx(beta, abs=0.05)


def test_the_tests_of_a_run_that_was_finished_stay_when_it_is_resumed(tmp_path: Path) -> None:
    folder = fit(tmp_path / "run", "ae", max_epochs=1)
    aeframe.fit(resume=folder.path, max_epochs=2)
    lines = (line.split(",") for line in folder.metrics.read_text(encoding="utf-8").splitlines())
    assert [int(step) for step, _, *what, _ in lines if what == ["test", "loss"]] == [6, 12]


def test_resuming_a_trained_run_without_a_model_only_saves_it(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", "vae", max_epochs=2, pictures=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aeframe.experiment.saving.save_model", fail_to_save)
        with pytest.raises(AeframeError) as error:
            fit(tmp_path / "halves", "vae", max_epochs=2, pictures=True)
    halves = RunFolder(tmp_path / "halves")
    assert str(error.value) == (
        f"run '{halves.path}' stopped: No space left on device; correct that, then resume={halves.path}"
    )
    before = halves.last.read_bytes()
    aeframe.fit(resume=halves.path)
    assert halves.last.read_bytes() == before, "nothing was trained"
    assert files(halves) == files(whole)
    for name in ("metrics.csv", "metrics.json", "log.txt", "model/model.safetensors"):
        assert (halves.path / name).read_bytes() == (whole.path / name).read_bytes()


def fail_to_save(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def files(folder: RunFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*"))


def test_instead_of_a_damaged_checkpoint_the_previous_one_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fit(tmp_path / "whole", "vae", max_epochs=4)
    halves = fit_until(18, tmp_path / "halves", "vae", max_epochs=4)
    content = bytearray(halves.last.read_bytes())
    content[len(content) // 2] ^= 1
    halves.last.write_bytes(content)
    capsys.readouterr()
    aeframe.fit(resume=halves.path)
    assert (
        f"note: checkpoint '{halves.last}' is damaged: its bytes changed after it was written, or another program "
        "wrote it; resuming from 'last.previous.ckpt' instead, at batch 12"
    ) in capsys.readouterr().err.replace("\n", " ")
    assert halves.metrics.read_bytes() == whole.metrics.read_bytes()
    assert files(halves) == files(whole)


def test_a_moved_run_keeps_its_best(tmp_path: Path) -> None:
    # The learning rate grows, so that the bound gets worse after a while.
    rate = {"optimizer": {"lr": {"name": "step", "value": 0.001, "factor": 1000.0, "at": [0.5]}}}
    whole = fit(tmp_path / "whole", "vae", max_epochs=4, **rate)
    moved = fit_until(18, tmp_path / "halves", "vae", max_epochs=4, **rate).path.rename(tmp_path / "moved")
    aeframe.fit(resume=moved)
    assert checkpoint(RunFolder(moved).best)["aeframe"]["progress"] == checkpoint(whole.best)["aeframe"]["progress"]
    assert checkpoint(whole.best)["aeframe"]["progress"]["batch"] < 24
    assert checkpoint(whole.last)["aeframe"]["progress"]["batch"] == 24
    assert RunFolder(moved).read_metrics() == whole.read_metrics()


def test_finish_saves_the_best_model_so_far(tmp_path: Path) -> None:
    folder = fit_until(14, tmp_path / "run", "vae", max_epochs=4)
    run = finish(folder.path)
    assert aeframe.load(folder.path).encode(torch.zeros(1, 1, 8, 8)).shape == (1, 16)
    best = checkpoint(folder.best)["callbacks"]["RunCheckpoints"]
    assert run.monitored == best["best_value"]
    # It can be trained to its end afterwards.
    whole = fit(tmp_path / "whole", "vae", max_epochs=4)
    aeframe.fit(resume=folder.path)
    assert folder.read_metrics() == whole.read_metrics()


def test_a_finished_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(tmp_path / "run", "ae", max_batches=3)
    capsys.readouterr()
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert main([f"resume={folder.path}"]) == 2
    assert capsys.readouterr().err == (
        f"error: run '{folder.path}' is finished: it has done 3 batches, all that are planned; "
        "to train on, set max_epochs, max_batches or patience higher\n"
    )
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_a_run_that_was_stopped_early_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rate = {"optimizer": {"lr": {"name": "step", "value": 0.001, "factor": 3000.0, "at": [0.2]}}}
    folder = fit(tmp_path / "run", "ae", max_epochs=20, patience=2, **rate)
    batch = checkpoint(folder.last)["aeframe"]["progress"]["batch"]
    assert batch < 120
    capsys.readouterr()
    assert main([f"resume={folder.path}"]) == 2
    assert f"it has done {batch} batches and was stopped early; to train on" in capsys.readouterr().err
    aeframe.fit(resume=folder.path, patience=4)
    assert checkpoint(folder.last)["aeframe"]["progress"]["batch"] == batch + 12


def test_a_run_without_a_checkpoint_is_started_anew(tmp_path: Path) -> None:
    folder = fit_until(3, tmp_path / "run", "vae", max_epochs=1)
    assert not folder.has_checkpoint()
    aeframe.fit(resume=folder.path)
    whole = fit(tmp_path / "whole", "vae", max_epochs=1)
    assert folder.metrics.read_bytes() == whole.metrics.read_bytes()
    again = fit_until(3, tmp_path / "again", "vae", max_epochs=1)
    fit(again.path, "vae", max_epochs=1)
    assert again.metrics.read_bytes() == whole.metrics.read_bytes()
