from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.plain_files import read_mapping
from aeframe.runs.folder import RunFolder


def test_the_names_of_all_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = (
        run.config, run.overrides, run.best, run.last, run.previous, run.state, run.model, run.metrics,
        run.metrics_json, run.log, run.pictures,
    )  # fmt: skip
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "config.yaml", "overrides.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
        "checkpoints/last.previous.ckpt", "state.json", "model", "metrics.csv", "metrics.json", "log.txt", "pictures",
    ]  # fmt: skip


def test_a_new_folder_is_created_and_an_empty_one_is_used(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "a").create()
    assert run.path.is_dir()
    assert run.create() == run


def test_a_folder_with_other_files_is_an_error_and_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AeframeError) as error:
        RunFolder(tmp_path).create()
    assert str(error.value) == (
        f"run folder '{tmp_path}' exists and is not empty; continue that run with resume={tmp_path}, "
        "or choose another with folder=PATH"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


BEGUN = (
    "config.yaml", "overrides.yaml", "metrics.csv", "log.txt", "skipped.txt", "data.json", "splits.safetensors",
    "modality.json", "modality.safetensors", "tracker_ids.json", "state.json",
)  # fmt: skip


def begun(path: Path) -> RunFolder:
    """Return the folder of a run that ended before its first checkpoint."""
    run = RunFolder(path)
    run.checkpoints.mkdir(parents=True)
    for name in BEGUN:
        (path / name).write_text("left over")
    (path / ".lock").write_text("{}")
    (path / ".config.yaml.partial").write_text("half")
    (run.checkpoints / ".last.ckpt.partial").write_text("half")
    (path / "wandb").mkdir()
    (path / "wandb" / "offline").write_text("kept")
    return run


def test_a_run_without_a_checkpoint_is_started_anew(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert not run.has_checkpoint()
    assert run.is_unbegun()
    assert run.create() is run
    # Files of trackers are not removed.
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "checkpoints", "wandb"]
    assert list(run.checkpoints.iterdir()) == []
    assert (run.path / "wandb" / "offline").read_text() == "kept"


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "checkpoints/last.previous.ckpt",
        "notes.txt",
        "model/a",
        "metrics.json",
    ],
)
def test_a_run_with_a_checkpoint_or_another_file_is_an_error_and_is_not_changed(tmp_path: Path, name: str) -> None:
    run = begun(tmp_path / "run")
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = {each: each.read_bytes() for each in run.path.rglob("*") if each.is_file()}
    assert run.has_checkpoint() == name.endswith(".ckpt")
    with pytest.raises(AeframeError) as error:
        run.create()
    assert str(error.value) == (
        f"run folder '{run.path}' exists and is not empty; continue that run with resume={run.path}, "
        "or choose another with folder=PATH"
    )
    assert {each: each.read_bytes() for each in run.path.rglob("*") if each.is_file()} == before


def test_a_folder_with_the_name_of_a_runs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").mkdir()
    (tmp_path / "config.yaml" / "mine.txt").write_text("mine")
    with pytest.raises(AeframeError, match="exists and is not empty"):
        RunFolder(tmp_path).create()


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(AeframeError) as error:
        RunFolder(path).create()
    assert str(error.value) == f"'{path}' is a link to nothing, a run needs a folder; choose another with folder=PATH"


def test_the_state_of_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_state() == {}
    run.write_state("trained")
    assert run.read_state() == {"status": "trained"}
    for text in ("{", "[1]"):
        run.state.write_text(text)
        assert run.read_state() == {}


def test_a_text_file_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.write_state("training")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        run.write_state("trained")
    assert run.read_state() == {"status": "training"}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(AeframeError) as error:
        RunFolder(path).create()
    assert str(error.value) == f"'{path}' is a file, a run needs a folder; choose another with folder=PATH"
    with pytest.raises(AeframeError) as error:
        RunFolder.open(path)
    assert str(error.value) == f"'{path}' is a file, expected the folder of a run or of a saved model"


def test_opening_a_missing_folder_or_one_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "vae_digits").mkdir()
    with pytest.raises(AeframeError) as error:
        RunFolder.open(tmp_path / "vae_digit")
    assert str(error.value) == f"there is no folder '{tmp_path / 'vae_digit'}', did you mean 'vae_digits'?"
    with pytest.raises(AeframeError) as error:
        RunFolder.open(tmp_path)
    assert str(error.value) == f"'{tmp_path}' is not a run folder: it has no config.yaml; use the folder of a run"


def test_a_config_is_read_as_plain_values(tmp_path: Path) -> None:
    config = {
        "model": {"name": "vae"}, "lr": 1e-5, "channels": (32, 64), "none": None, "yes": True, "text": "1e-3",
        "beta": {"name": "linear"}, "accent": "β-VAE",
    }  # fmt: skip
    run = RunFolder(tmp_path)
    run.write_config(config)
    assert RunFolder.open(tmp_path).read_config() == {**config, "channels": [32, 64]}
    assert list(run.read_config()) == list(config)
    run.write_overrides(["model=vae", "data=digits"])
    assert run.overrides.read_text() == "- model=vae\n- data=digits\n"
    assert run.read_overrides() == ["model=vae", "data=digits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "overrides.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", "cannot be read as YAML of plain values (while parsing a flow node); copy the file again"),
        ("!!python/object/apply:os.system ['true']",
         "cannot be read as YAML of plain values (could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/object/apply:os.system'); copy the file again"),
        ("- 1", "holds no mapping of names to values; copy the file again"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(AeframeError) as error:
        read_mapping(path)
    assert str(error.value) == f"'{path}' {message}"


def test_metrics_are_strict_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_metrics({"test": {"mse": 0.1, "r2": math.nan, "bound": math.inf}})
    stored = json.loads(run.metrics_json.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert stored == {"test": {"mse": 0.1, "r2": None, "bound": None}}
    read = run.read_metrics()["test"]
    assert read["mse"] == 0.1
    assert math.isnan(read["r2"])
