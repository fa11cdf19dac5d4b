"""The files of `RunLogger`: their rows, and the rows that a resumed run removes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from aeframe.evaluation.measurement import Measurement
from aeframe.runs.folder import RunFolder
from aeframe.runs.run_logger import RunLogger


@pytest.fixture
def logger(tmp_path: Path) -> RunLogger:
    return RunLogger(RunFolder(tmp_path))


def lines(folder: Path) -> list[str]:
    path = folder / "log.txt"
    return path.read_text().splitlines() if path.is_file() else []


def test_the_first_part_of_a_name_is_its_split(logger: RunLogger, tmp_path: Path) -> None:
    numbers = {
        "train/loss": 1.5,
        "train/discriminator/loss": 2.5,
        "train_epoch/loss": 3.0,
        "val/kl/1": 1 / 3,
        "test/mse": 0.25,
        "epoch": 2,
    }
    logger.log_metrics(numbers, step=40)
    assert logger.records.read() == [
        Measurement(40, 2, "train", "loss", 1.5),
        Measurement(40, 2, "train", "discriminator/loss", 2.5),
        Measurement(40, 2, "train_epoch", "loss", 3.0),
        Measurement(40, 2, "val", "kl/1", 1 / 3),
        Measurement(40, 2, "test", "mse", 0.25),
    ]
    # The log has no lines for single batches.
    assert lines(tmp_path) == [
        "epoch 2 batch 40 train_epoch: loss 3",
        "epoch 2 batch 40 val: kl/1 0.333333",
        "epoch 2 batch 40 test: mse 0.25",
    ]


@pytest.mark.parametrize("name", ["my_loss", "mine/loss", "val", "train", "lr-Adam/pg1", "val/"])
def test_a_name_without_a_split_belongs_to_train(logger: RunLogger, name: str) -> None:
    logger.log_metrics({name: 1.0})
    assert logger.records.read() == [Measurement(0, 0, "train", name, 1.0)]


def test_several_numbers_of_a_split_are_one_line(logger: RunLogger, tmp_path: Path) -> None:
    logger.log_metrics({"val/bound": 12.3456789, "val/mse": 1e-9, "val/psnr": float("nan"), "epoch": 0}, step=7)
    assert lines(tmp_path) == ["epoch 0 batch 7 val: bound 12.3457  mse 1e-09  psnr nan"]
    assert [row.value for row in logger.records.read()][:2] == [12.3456789, 1e-9]


def test_hyperparameters_are_not_written(logger: RunLogger, tmp_path: Path) -> None:
    logger.log_hyperparams({"latent": {"dim": 3}})
    assert list(tmp_path.iterdir()) == []
    # Lightning's own files go to the run folder itself.
    assert (logger.name, logger.version, logger.save_dir) == ("", "", str(tmp_path))


def test_nothing_is_written_before_the_first_number(logger: RunLogger, tmp_path: Path) -> None:
    assert logger.written_rows() == {"metrics.csv": 0, "log.txt": 0}
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_both_files_are_counted(logger: RunLogger, tmp_path: Path) -> None:
    logger.log_metrics({"train/loss": 1.0, "train/kl": 1.0}, step=1)
    logger.log_metrics({"val/loss": 1.0}, step=2)
    assert logger.written_rows() == {"metrics.csv": 3, "log.txt": 1}
    assert RunLogger(RunFolder(tmp_path)).written_rows() == {"metrics.csv": 3, "log.txt": 1}


# -- resume ------------------------------------------------------------------------------------------------------------


def log(
    logger: RunLogger, *, until: int, per_epoch: int = 4, every: int = 2
) -> Iterator[tuple[int, Mapping[str, int]]]:
    """Log as a run does: windows, then validation, then the epoch; yield at each batch, before and after validation."""
    for batch in range(1, until + 1):
        epoch = (batch - 1) // per_epoch
        if batch % every == 0:
            logger.log_metrics({"train/loss": batch, "epoch": epoch}, step=batch)
        yield batch, logger.written_rows()
        if batch % per_epoch == 0:
            logger.log_metrics({"val/loss": batch, "val/kl": batch, "epoch": epoch}, step=batch)
            logger.log_metrics({"train_epoch/loss": batch, "epoch": epoch}, step=batch)


def finish(logger: RunLogger, batch: int) -> None:
    logger.log_metrics({"test/loss": batch, "epoch": batch // 4}, step=batch)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("stop", [5, 6, 7])
def test_inside_an_epoch_the_rows_after_the_checkpoint_are_dropped(tmp_path: Path, stop: int) -> None:
    folders = [tmp_path / "at-checkpoint", tmp_path / "later"]
    for folder in folders:
        folder.mkdir()
    first, later = (RunLogger(RunFolder(folder)) for folder in folders)
    list(log(first, until=stop))
    rows = dict(log(later, until=12))[stop]
    resumed = RunLogger(RunFolder(folders[1]))
    resumed.cut_back(rows, batch=stop, between_epochs=False, drop_tests=True)
    assert files(folders[1]) == files(folders[0])
    assert resumed.written_rows() == rows


def test_before_a_validation_its_numbers_are_dropped(tmp_path: Path) -> None:
    logger = RunLogger(RunFolder(tmp_path))
    rows = dict(log(logger, until=8))[8]
    RunLogger(RunFolder(tmp_path)).cut_back(rows, batch=8, between_epochs=False, drop_tests=True)
    kept = RunLogger(RunFolder(tmp_path)).records.read()
    # Rows of batch 8 that were written before the checkpoint stay; the validation is repeated.
    assert [(row.step, row.split) for row in kept if row.step == 8] == [(8, "train")]
    assert lines(tmp_path) == ["epoch 0 batch 4 val: loss 4  kl 4", "epoch 0 batch 4 train_epoch: loss 4"]


def test_between_epochs_all_rows_of_the_epoch_stay(tmp_path: Path) -> None:
    folders = [tmp_path / "at-checkpoint", tmp_path / "later"]
    for folder in folders:
        folder.mkdir()
    first, later = (RunLogger(RunFolder(folder)) for folder in folders)
    list(log(first, until=8))
    rows = dict(log(later, until=12))[8]
    assert rows != first.written_rows(), "the checkpoint was written before the last rows of its epoch"
    resumed = RunLogger(RunFolder(folders[1]))
    resumed.cut_back(rows, batch=8, between_epochs=True, drop_tests=True)
    assert files(folders[1]) == files(folders[0])


@pytest.mark.parametrize("drop_tests", [True, False])
def test_a_run_that_tests_again_drops_its_tests(tmp_path: Path, drop_tests: bool) -> None:
    logger = RunLogger(RunFolder(tmp_path))
    rows = dict(log(logger, until=4))[4]
    finish(logger, 4)
    before = files(tmp_path)
    list(log(logger, until=1))
    RunLogger(RunFolder(tmp_path)).cut_back(rows, batch=4, between_epochs=True, drop_tests=drop_tests)
    assert ("test" in files(tmp_path)["metrics.csv"]) != drop_tests
    assert ("test" in files(tmp_path)["log.txt"]) != drop_tests
    if not drop_tests:
        assert files(tmp_path) == before


def test_an_incomplete_last_line_of_the_log_is_removed(tmp_path: Path) -> None:
    logger = RunLogger(RunFolder(tmp_path))
    rows = dict(log(logger, until=4))[4]
    whole = lines(tmp_path)
    path = tmp_path / "log.txt"
    path.write_text(path.read_text() + "epoch 1 batch 4 va")
    RunLogger(RunFolder(tmp_path)).cut_back(rows, batch=4, between_epochs=True, drop_tests=True)
    assert lines(tmp_path) == whole
    assert path.read_text().endswith("\n")


def test_without_files_no_row_is_removed(logger: RunLogger, tmp_path: Path) -> None:
    for between_epochs in (True, False):
        logger.cut_back({}, batch=0, between_epochs=between_epochs, drop_tests=True)
    assert list(tmp_path.iterdir()) == []


# -- files that cannot be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metrics.csv", "log.txt"])
def test_a_file_that_cannot_be_written_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).mkdir()
    logger = RunLogger(RunFolder(tmp_path))
    for step in range(3):
        logger.log_metrics({"val/loss": 1.0}, step=step)
    found = capsys.readouterr().err.splitlines()
    assert len(found) == 1
    assert found[0].startswith(f"warning: metrics are no longer written to '{tmp_path}': ")
    # A checkpoint can still be written.
    assert logger.written_rows() == {"metrics.csv": 0, "log.txt": 0}


def test_a_file_with_another_header_is_reported_once_and_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    logger = RunLogger(RunFolder(tmp_path))
    for step in range(3):
        logger.log_metrics({"val/loss": 1.0}, step=step)
    assert capsys.readouterr().err == (
        f"warning: metrics are no longer written to '{tmp_path}': '{tmp_path / 'metrics.csv'}' begins with 'a,b', "
        "expected 'step,epoch,split,name,value'; move it out of the run folder\n"
    )
    assert (tmp_path / "metrics.csv").read_text() == "a,b\n1,2\n"
