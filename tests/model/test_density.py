"""Ex-post densities and pictures of data that are sorted by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.cli.main import main
from aeframe.data.memory import TensorSource
from aeframe.experiment import saving
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.density import batches_to_fit, code_metrics, fit_sampler
from aeframe.runs.folder import RunFolder
from aeframe.types import Batch, DataSpec, Domain

CENTRES = np.array([[-5, 0], [0, 5], [5, 0]])


def shares(x: Any) -> list[float]:
    """Return the fraction of samples that are nearest to each of the centres."""
    distances = np.square(np.asarray(x)[:, None, :2] - CENTRES).sum(2)
    counts: list[float] = (np.bincount(distances.argmin(1), minlength=3) / len(x)).tolist()
    return counts


def test_batches_to_fit_are_a_random_subset_in_the_order_of_the_source() -> None:
    source = TensorSource(torch.arange(30_000.0)[:, None])
    batches = list(batches_to_fit(source, 256, seed=1))
    assert [len(batch) for batch in batches] == [256] * 39 + [16]
    rows = torch.cat([batch.x for batch in batches]).flatten()
    assert (rows.diff() > 0).all()
    # Each third has its share of 10,000 rows, up to five standard errors.
    assert ((torch.bincount((rows / 10_000).long()) - 10_000 / 3).abs() < 5 * 47).all()
    assert not torch.equal(rows, torch.cat([batch.x for batch in batches_to_fit(source, 256, seed=2)]).flatten())


def test_all_samples_are_fitted_to_if_there_are_no_more() -> None:
    source = TensorSource(torch.arange(10_000.0)[:, None])
    rows = torch.cat([batch.x for batch in batches_to_fit(source, 999, seed=1)])
    assert torch.equal(rows, source.batch(torch.arange(10_000)).x)


def test_samples_and_pictures_of_sorted_rows_have_all_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 8_000)
    x = 0.3 * generator.normal(size=(24_000, 2)) + CENTRES[label]
    np.save(tmp_path / "sorted.npy", np.c_[x, x @ generator.normal(size=(2, 4))].astype("f4"))
    pictured: list[Tensor] = []
    monkeypatch.setattr(saving, "draw_pictures", lambda *args, **_: pictured.append(args[3].x) or [])
    run = aeframe.fit(
        model="ae",
        data={"name": "numbers", "path": str(tmp_path / "sorted.npy")},
        modality={"name": "vector", "scale": "none"},
        latent={"dim": 2},
        encoder={"hidden": [32]},
        batch_size=256,
        max_batches=250,
        optimizer={"lr": 1e-2},
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path / "run"),
    )
    assert RunFolder(run.folder).read_config()["sampler"]["name"] == "gmm"
    model = aeframe.load(run.folder)
    assert shares(model.sample(3000, seed=0)) == pytest.approx([1 / 3] * 3, abs=0.05)
    (shown,) = pictured
    assert len(shown) == 512
    assert shares(shown) == pytest.approx([1 / 3] * 3, abs=0.1)
    command = ["generate", str(run.folder), "sampler=kde", "-n", "1000", "--seed", "0"]
    assert main([*command, "-o", str(tmp_path / "new.npy")]) == 0
    assert shares(np.load(tmp_path / "new.npy")) == pytest.approx([1 / 3] * 3, abs=0.08)


def test_the_length_of_independent_codes_is_their_entropy() -> None:
    torch.manual_seed(0)
    latent = {"name": "vq", "codebook_size": 4, "dim": 2, "tokens": 3}
    model = assemble({"encoder": "mlp", "latent": latent, "loss": "mse"}, DataSpec((4,), Domain("real"))).eval()
    x = torch.randn(500, 4)
    batches = [Batch(part) for part in x.split(150)]
    sampler = build("sampler", "codes", model=model)
    fit_sampler(sampler, model, batches, 0)
    codes = model.embed(Batch(x)).codes
    assert codes is not None
    entropy = 0.0
    for place in codes.flatten(1).T:
        share = place.bincount(minlength=4).double() / len(place)
        # A hundredth of the probability is spread evenly over all codes.
        entropy -= float((share * (0.99 * share + 0.01 / 4).log()).sum())
    assert code_metrics(sampler, model, batches, None) == pytest.approx({"code_nll": entropy})
    of_both = code_metrics(sampler, model, batches, 2.5)
    assert of_both == pytest.approx({"code_nll": entropy, "nll_with_codes": entropy + 2.5})
    assert code_metrics(build("sampler", "gmm", model=model), model, batches, 2.5) == {}
