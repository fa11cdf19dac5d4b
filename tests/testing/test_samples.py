"""What finds out whether a sample's numbers are its own must find that they are not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from aeframe.data.modality import Splits
from aeframe.data.tabular import BreastCancer
from aeframe.data.vector import Vector
from aeframe.evaluation.metrics.reconstruction import MeanSquaredError
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.point import Point
from aeframe.testing.check import CheckFailedError
from aeframe.testing.samples import expect_own_numbers, expect_same_metrics, small_model
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent

Prepared = tuple[Vector, DataSpec, Splits]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    modality, dataset = Vector(), BreastCancer()
    return modality, modality.spec(dataset), modality.prepare(dataset)


def first(splits: Splits) -> Batch:
    return splits.test.batch(torch.arange(5))


def fails(sentence: str) -> pytest.RaisesExc[CheckFailedError]:
    return pytest.raises(CheckFailedError, match=f"^{re.escape(sentence)}")


def test_a_code_that_knows_its_neighbours(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model = small_model(modality, spec)
    expect_own_numbers(model, first(splits))
    alone = Point.forward

    def forward(self: Point, features: torch.Tensor, *, sample: bool) -> Latent:
        z = alone(self, features, sample=sample).mean
        return Latent(z - z.mean(0), z - z.mean(0))

    monkeypatch.setattr(Point, "forward", forward)
    with fails("'code' changes when sample 0 is alone, by up to "):
        expect_own_numbers(model, first(splits))


def test_a_code_that_depends_on_its_place(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model, batch = small_model(modality, spec), first(splits)
    seen = Autoencoder.encode_features

    def encode_features(self: Autoencoder, batch: Batch) -> torch.Tensor:
        hit = (torch.arange(len(batch)) == 4).float().unsqueeze(1)
        return seen(self, batch.with_x(batch.x + hit))

    monkeypatch.setattr(Autoencoder, "encode_features", encode_features)
    with fails("'code' changes when sample 4 is alone, by up to "):
        expect_own_numbers(model, batch)


def test_what_looks_behind_the_mask(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model, batch = small_model(modality, spec), first(splits)
    masked = replace(batch, mask=torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    expect_own_numbers(model, masked)
    monkeypatch.setattr(Batch, "visible", lambda self: self.x)
    with fails("'code' changes with values of other samples where x is masked, by up to "):
        expect_own_numbers(model, masked)


def test_a_metric_of_batch_means(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model = small_model(modality, spec)
    assert {"mse", "mae", "r2"} <= expect_same_metrics(model, modality, splits.test).keys()

    def update(self: MeanSquaredError, model: Autoencoder, out: ForwardOutput) -> None:
        self.total = self.total + (model.loss.mean(out.output) - out.batch.x).square().mean()
        self.count = self.count + 1

    monkeypatch.setattr(MeanSquaredError, "update", update)
    with fails("'mse' is "):
        expect_same_metrics(model, modality, splits.test, sizes=(5,))
