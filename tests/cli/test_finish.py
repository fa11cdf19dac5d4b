"""``aeframe finish RUN`` saves the model of the best checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import aeframe
from aeframe.cli.main import main
from aeframe.training.module import AutoencoderModule


class StopError(Exception):
    """Ends a run before its last epoch."""


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run of four epochs that failed in the third."""
    train_on = AutoencoderModule.train_on

    def fail(self: AutoencoderModule, batch: Any) -> Any:
        if self.progress.batch >= 20:
            raise StopError
        return train_on(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderModule, "train_on", fail)
        with pytest.raises(StopError):
            aeframe.fit(
                model="ae", data="breast_cancer", encoder={"hidden": [8]}, max_epochs=4, pictures=False,
                folder=tmp_path / "run",
            )  # fmt: skip
    return tmp_path / "run"


def test_the_model_of_the_best_checkpoint_is_saved(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(aeframe.AeframeError, match=r"holds no saved model: .*; save the model .* with aeframe finish "):
        aeframe.load(unfinished)
    last = (unfinished / "checkpoints" / "last.ckpt").read_bytes()
    capsys.readouterr()
    assert main(["finish", str(unfinished)]) == 0
    assert capsys.readouterr().out == f"{unfinished}\n"
    assert aeframe.load(unfinished).name == "ae"
    assert (unfinished / "metrics.json").is_file()
    assert (unfinished / "checkpoints" / "last.ckpt").read_bytes() == last


def test_without_a_best_checkpoint_the_newest_is_saved(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unfinished / "checkpoints" / "best.ckpt").unlink()
    capsys.readouterr()
    assert main(["finish", str(unfinished)]) == 0
    assert (
        f"note: checkpoint '{unfinished}/checkpoints/best.ckpt' is missing, so the model is that of the newest "
        "checkpoint"
    ) in capsys.readouterr().err
    assert aeframe.load(unfinished).name == "ae"


def test_a_run_without_a_checkpoint_is_an_error(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(unfinished / "checkpoints")
    capsys.readouterr()
    assert main(["finish", str(unfinished)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: run '{unfinished}' has no checkpoint to make a model of; train it with resume={unfinished}"
    )
