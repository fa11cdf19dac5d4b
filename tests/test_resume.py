"""A run that was interrupted is the run that was not: the same bits, wherever it stopped."""

from __future__ import annotations

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
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder

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
# One player, a codebook that lives in buffers, two players.
MODELS = ["vae", "vqvae", "aae"]


def fit(folder: Path, model: str, **settings: Any) -> RunFolder:
    return RunFolder(aeframe.fit(model=model, folder=str(folder), **{**SMALL, **settings}).folder)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Four epochs in one go."""
    return fit(tmp_path_factory.mktemp(model) / "whole", model, max_epochs=4)


@pytest.fixture(scope="module")
def halves(model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two epochs, and two more."""
    folder = fit(tmp_path_factory.mktemp(model) / "halves", model, max_epochs=2)
    aeframe.fit(resume=str(folder.path), max_epochs=4)
    return folder


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every leaf of a nest of mappings and sequences, by its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(each, f"{path}/{number}")
    else:
        yield path, value


def test_the_words_of_a_run_stand_beside_its_config(whole: RunFolder, halves: RunFolder) -> None:
    assert compose(whole.read_overrides()) == whole.read_config()
    assert "max_epochs=2" in halves.read_overrides(), "those that began it, whatever it went on with"


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
def test_every_bit_is_the_same(whole: RunFolder, halves: RunFolder, which: str) -> None:
    one, other = (checkpoint(getattr(folder, which)) for folder in (whole, halves))
    assert any(isinstance(value, Tensor) for _, value in leaves(one["optimizer_states"]))
    for part in ("state_dict", "optimizer_states"):
        assert differences(one[part], other[part]) == []
    for part in ("clock", "seed", "average"):
        assert differences(one["aeframe"][part], other["aeframe"][part]) == []
    assert one["aeframe"]["average"]
    if which == "last":
        # The last checkpoint of an epoch begins the next one.
        assert one["aeframe"]["clock"]["epoch"] == 4


def test_every_number_is_the_same(whole: RunFolder, halves: RunFolder) -> None:
    assert halves.read_metrics() == whole.read_metrics()
    before, after = (folder.metrics.read_text(encoding="utf-8").splitlines() for folder in (whole, halves))
    # The first half was a run of its own when it ended, so it was tested.
    assert [line for line in after if ",test," not in line] == [line for line in before if ",test," not in line]
    assert [line for line in after if ",test," in line][-1] == [line for line in before if ",test," in line][-1]


def test_the_saved_models_are_the_same(whole: RunFolder, halves: RunFolder) -> None:
    one, other = (
        {path.name: path.read_bytes() for path in folder.model.iterdir() if path.suffix != ".md"}
        for folder in (whole, halves)
    )
    assert one == other


def test_it_may_stop_anywhere_in_an_epoch(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", "vae", max_batches=9, steps_per_call=4)
    halves = fit(tmp_path / "halves", "vae", max_batches=4)
    # Several batches in one call or one at a time: the same numbers.
    aeframe.fit(resume=str(halves.path), max_batches=9, steps_per_call=1)
    one, other = checkpoint(whole.last), checkpoint(halves.last)
    for key in ("state_dict", "optimizer_states"):
        assert differences(one[key], other[key]) == []
    assert one["aeframe"]["clock"] == other["aeframe"]["clock"]
    assert one["aeframe"]["clock"]["batch"] == 9


def test_a_run_that_stopped_in_an_epoch_validates_where_epochs_end(tmp_path: Path) -> None:
    # Six batches an epoch; the second one stops after two.
    whole = fit(tmp_path / "whole", "vae", max_epochs=5, steps_per_call=2)
    halves = fit(tmp_path / "halves", "vae", max_batches=8, steps_per_call=2)
    aeframe.fit(resume=str(halves.path), max_batches=None, max_epochs=5)
    lines = (line.split(",") for line in halves.metrics.read_text(encoding="utf-8").splitlines())
    assert [int(step) for step, _, *what, _ in lines if what == ["val", "loss"]] == [6, 8, 12, 18, 24, 30]
    assert differences(checkpoint(whole.last)["state_dict"], checkpoint(halves.last)["state_dict"]) == []


def test_a_finished_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(tmp_path / "run", "ae", max_batches=3)
    capsys.readouterr()
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert main([f"resume={folder.path}"]) == 2
    assert capsys.readouterr().err == (
        f"error: run '{folder.path}' has done 3 batches, all of the 3 that are planned; "
        "to go on set max_epochs or max_batches higher\n"
    )
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


MAY = (
    "max_epochs, max_batches, patience, log_every, steps_per_call, workers, trainer, metrics, callbacks, logger, "
    "pictures, progress"
)


@pytest.mark.parametrize(
    ("change", "key"),
    [("latent.dim=3", "latent"), ("model=vae", "model"), ("seed=4", "seed"), ("++loss.variance=1", "loss")],
)
def test_a_run_that_goes_on_keeps_its_parts(tmp_path: Path, change: str, key: str) -> None:
    folder = RunFolder(tmp_path / "run").create()
    folder.write_config({})
    folder.checkpoints.mkdir()
    folder.last.touch()
    with pytest.raises(AeframeError) as error:
        aeframe.fit(resume=str(folder.path), overrides=[change])
    said = str(error.value)
    assert said.startswith(f"a run that goes on keeps its '{key}'")
    assert said.endswith(f"; what may change is {MAY}; begin a new run for anything else")


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run").create()
    folder.write_config({})
    with pytest.raises(AeframeError) as error:
        aeframe.fit(resume=str(folder.path))
    assert str(error.value) == (
        f"run '{folder.path}' has no checkpoint 'checkpoints/last.ckpt' to go on from; "
        "it ended before its first epoch did, so begin it anew"
    )
