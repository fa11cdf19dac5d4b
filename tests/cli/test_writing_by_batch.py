"""Samples are written while they are computed: few are in memory, and an interrupt leaves nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.cli.main import main
from aeframe.data.subset import random_batches
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.model_store.writer import save_model
from aeframe.noise import PICTURES, noise_of
from aeframe.types import TrainingProgress

CONFIG: dict[str, Any] = {
    "model": {"name": "vae"},
    "encoder": {"name": "mlp", "hidden": [8]},
    "latent": {"name": "gaussian", "dim": 3},
    "loss": "gaussian",
    "objective": "elbo",
    "sampler": "prior",
    "modality": {"name": "vector"},
    "data": {"name": "breast_cancer"},
    "metrics": {},
    "seed": 3,
    "batch_size": 4,
}
NUM = 31
CASES = [
    *(("generate", suffix) for suffix in ("csv", "npy", "npz", "parquet", "feather")),
    ("decode", "csv"),
    ("reconstruct", "parquet"),
    ("interpolate", "csv"),
    ("interpolate", "parquet"),
    ("traverse", "csv"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run, with a file of samples and a file of codes in its folder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    modality, dataset = build("modality", CONFIG["modality"]), build("dataset", CONFIG["data"])
    modality.prepare(dataset)
    torch.manual_seed(0)
    model = assemble(CONFIG, modality.spec(dataset))
    sampler, progress = build("sampler", CONFIG["sampler"], model=model), TrainingProgress(batch=9, planned=9)
    save_model(folder / "model", model, modality, CONFIG, sampler, metrics={}, progress=progress)
    modality.write(torch.randn(NUM, 30), folder / "x.csv")
    np.savez(folder / "z.npz", z=np.random.default_rng(0).normal(size=(NUM, 3)).astype(np.float32))
    return folder


def command(verb: str, run: Path, out: Path) -> list[str]:
    options = {
        "generate": ["-n", str(NUM), "--seed", "5", "--draw"],
        "decode": [str(run / "z.npz"), "--draw"],
        "reconstruct": [str(run / "x.csv")],
        "interpolate": [str(run / "x.csv"), "--from", "2", "--to", "7", "--steps", str(NUM)],
        "traverse": ["--along", "numbers", "--directions", "1", "--steps", str(NUM)],
    }
    return [verb, str(run), *options[verb], "-o", str(out), "--device", "cpu"]


def at_once(verb: str, model: TrainedModel, run: Path) -> Tensor:
    """Return the samples that a command writes, computed without it."""
    if verb == "generate":
        return model.sample(NUM, seed=5, batch_size=4, draw=True)
    if verb == "decode":
        with noise_of(model.device, 0, PICTURES):
            return model.decode(np.load(run / "z.npz")["z"], batch_size=4, draw=True)
    if verb == "interpolate":
        first, last = (model.modality.read(run / "x.csv").x[[row]] for row in (2, 7))
        return model.interpolate(first, last, NUM, batch_size=4)[0]
    if verb == "traverse":
        return model.decode(traversed_codes(model), batch_size=4)
    return model.reconstruct(model.modality.read(run / "x.csv"), batch_size=4)


def names_of(verb: str) -> list[str] | None:
    """Return the names that a command gives its samples."""
    if verb == "interpolate":
        return [f"{number:02}" for number in range(NUM)]
    if verb == "traverse":
        return [f"numbers_1_{position:+.2f}" for position in torch.linspace(-3, 3, NUM).tolist()]
    return None


def traversed_codes(model: TrainedModel) -> Tensor:
    """Return the codes along the second number, from -3 to 3 standard deviations around the mean."""
    train = model.modality.prepare(build("dataset", CONFIG["data"]), learn=False).train
    batches = random_batches(train, 2000, CONFIG["seed"], 4)
    codes = torch.cat([model.encode(batch) for batch in batches])
    return codes.mean(0) + torch.linspace(-3, 3, NUM).unsqueeze(1) * codes.std(0)[1] * torch.eye(3)[1]


@pytest.mark.parametrize(("verb", "suffix"), CASES)
def test_batches_are_the_file_of_all_samples_at_once(verb: str, suffix: str, run: Path, tmp_path: Path) -> None:
    if suffix in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
    out, expected, model = tmp_path / f"out.{suffix}", tmp_path / f"all.{suffix}", load(run)
    assert main(command(verb, run, out)) == 0
    model.modality.write(at_once(verb, model, run), expected, names=names_of(verb))
    if suffix == "npz":
        # An archive has the time at which it was written.
        assert np.array_equal(np.load(out)["x"], np.load(expected)["x"])
    else:
        assert out.read_bytes() == expected.read_bytes()


def test_a_picture_has_all_samples_of_a_path(run: Path, tmp_path: Path) -> None:
    for verb in ("interpolate", "traverse"):
        out, expected, picture = (tmp_path / f"{verb}{suffix}" for suffix in (".csv", "2.csv", ".png"))
        assert main([*command(verb, run, out), "--picture", str(picture)]) == 0
        assert main(command(verb, run, expected)) == 0
        assert out.read_bytes() == expected.read_bytes()
        assert picture.stat().st_size > 1000


@pytest.mark.parametrize(("verb", "suffix"), CASES)
def test_few_batches_are_in_memory(
    verb: str, suffix: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if suffix in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
        monkeypatch.setattr("aeframe.data.array_batches._GROUP_ROWS", 4)
    method = "reconstruct" if verb == "reconstruct" else "decode"
    computed: Callable[..., Tensor] = getattr(TrainedModel, method)
    held: list[weakref.ref[Any]] = []
    most = 0

    def tracked(*args: Any, **options: Any) -> Tensor:
        nonlocal most
        # The memory of a tensor that is made of an array refers to the array.
        values = computed(*args, **options).numpy().copy()
        held.append(weakref.ref(values))
        most = max(most, sum(each() is not None for each in held))
        return torch.from_numpy(values)

    monkeypatch.setattr(TrainedModel, method, tracked)
    assert main(command(verb, run, tmp_path / f"out.{suffix}")) == 0
    assert len(held) == 8
    assert most <= 3


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("generate", "out.npz"),
        ("generate", "out.parquet"),
        ("decode", "out.csv.gz"),
        ("reconstruct", "out.csv"),
        ("interpolate", "out.parquet"),
        ("traverse", "out.csv"),
    ],
)
def test_an_interrupt_leaves_nothing(
    verb: str, name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = "reconstruct" if verb == "reconstruct" else "decode"
    computed: Callable[..., Tensor] = getattr(TrainedModel, method)
    count = 0

    def interrupted(*args: Any, **options: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return computed(*args, **options)

    monkeypatch.setattr(TrainedModel, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(command(verb, run, tmp_path / name))
    assert count == 4
    assert list(tmp_path.iterdir()) == []
