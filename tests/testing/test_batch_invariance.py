"""`expect_batch_invariance` and `expect_invariant_metrics` fail when outputs depend on the batch."""

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
from aeframe.testing.batch_invariance import expect_batch_invariance, expect_invariant_metrics, small_model
from aeframe.testing.expectations import CheckFailedError
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent

Prepared = tuple[Vector, DataSpec, Splits]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    modality, dataset = Vector(), BreastCancer()
    return modality, modality.spec(dataset), modality.prepare(dataset)


def first(splits: Splits) -> Batch:
    return splits.test.batch(torch.arange(5))


def fails(message: str) -> pytest.RaisesExc[CheckFailedError]:
    return pytest.raises(CheckFailedError, match=f"^{re.escape(message)}")


def test_a_code_that_depends_on_other_samples_fails(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model = small_model(modality, spec)
    expect_batch_invariance(model, first(splits))
    original = Point.forward

    def forward(self: Point, features: torch.Tensor, *, sample: bool) -> Latent:
        z = original(self, features, sample=sample).mean
        return Latent(z - z.mean(0), z - z.mean(0))

    monkeypatch.setattr(Point, "forward", forward)
    with fails("'code' changes when sample 0 is alone, by up to "):
        expect_batch_invariance(model, first(splits))


def test_a_code_that_depends_on_the_row_fails(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model, batch = small_model(modality, spec), first(splits)
    original = Autoencoder.encode_features

    def encode_features(self: Autoencoder, batch: Batch) -> torch.Tensor:
        is_fifth = (torch.arange(len(batch)) == 4).float().unsqueeze(1)
        return original(self, batch.with_x(batch.x + is_fifth))

    monkeypatch.setattr(Autoencoder, "encode_features", encode_features)
    with fails("'code' changes when sample 4 is alone, by up to "):
        expect_batch_invariance(model, batch)


def test_a_model_that_ignores_the_mask_fails(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model, batch = small_model(modality, spec), first(splits)
    masked = replace(batch, mask=torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    expect_batch_invariance(model, masked)
    monkeypatch.setattr(Batch, "masked_x", lambda self: self.x)
    with fails("'code' changes with values of other samples where x is masked, by up to "):
        expect_batch_invariance(model, masked)


def test_a_metric_that_averages_batch_means_fails(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    modality, spec, splits = prepared
    model = small_model(modality, spec)
    assert {"mse", "mae", "r2"} <= expect_invariant_metrics(model, modality, splits.test).keys()

    def update(self: MeanSquaredError, model: Autoencoder, out: ForwardOutput) -> None:
        self.total = self.total + (model.loss.mean(out.output) - out.batch.x).square().mean()
        self.count = self.count + 1

    monkeypatch.setattr(MeanSquaredError, "update", update)
    with fails("'mse' is "):
        expect_invariant_metrics(model, modality, splits.test, sizes=(5,))
