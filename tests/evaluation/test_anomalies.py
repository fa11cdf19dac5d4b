"""Anomaly scores of samples and elements, and their distribution in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from aeframe.data.memory import TensorSource
from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.evaluation.anomalies import ScoreScale, make_scale, reconstruction_errors
from aeframe.evaluation.mahalanobis import MahalanobisDistance, check_mahalanobis
from aeframe.evaluation.step import evaluation_mode
from aeframe.parts.losses.base import BoundedMean
from aeframe.types import Batch, Domain, TrainingProgress

PROGRESS = TrainingProgress(batch=1, planned=1)


@pytest.mark.parametrize("masked", [False, True])
def test_the_score_is_the_loss_of_an_observed_element(make_model: Any, masked: bool) -> None:
    model = make_model((3, 4), latent={"name": "gaussian", "dim": 2}, encoder="mlp", loss="mse")
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) > 0.4 if masked else None
    batch = Batch(x, mask=mask)
    with evaluation_mode(model), torch.no_grad():
        score, errors = reconstruction_errors(model, batch)
        output = model.decode(model.embed(batch).mean, batch)
        expected = model.loss.elements(output, batch.masked_x())
    observed = torch.ones(5, 3, 4, dtype=torch.bool) if mask is None else mask[..., None].expand(5, 3, 4)
    assert errors is not None
    assert torch.equal(errors, expected * observed)
    for row in range(5):
        mean = expected[row][observed[row]].mean() if observed[row].any() else torch.tensor(torch.nan)
        torch.testing.assert_close(score[row], mean, equal_nan=True)


def test_a_sample_without_observed_elements_has_no_score(make_model: Any) -> None:
    model = make_model((4,), latent={"name": "point", "dim": 2})
    with evaluation_mode(model):
        score, _ = reconstruction_errors(model, Batch(torch.ones(2, 4), mask=torch.tensor([[False] * 4, [True] * 4])))
    assert score.isnan().tolist() == [True, False]


class Angle(BoundedMean):
    """A loss that is no sum over elements."""

    domains = frozenset({"real"})

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        x, x_hat = self.flat_x_and_reconstruction(output, batch)
        return 1 - torch.cosine_similarity(x, x_hat, dim=-1)


def test_errors_of_a_loss_that_is_no_sum_are_squared_differences(make_model: Any) -> None:
    model = make_model((4,), latent={"name": "point", "dim": 2})
    model.loss = Angle(1, Domain("real"), None)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with evaluation_mode(model), torch.no_grad():
        _, errors = reconstruction_errors(model, Batch(x))
        x_hat = model.generate(model.embed(Batch(x)).mean)
    assert errors is not None
    torch.testing.assert_close(errors, (x - x_hat).square())


def test_errors_by_a_density_are_not_negative(make_model: Any) -> None:
    loss = {"name": "gaussian", "scale": 0.01}
    model = make_model((4,), latent={"name": "point", "dim": 2}, loss=loss)
    with torch.no_grad():
        x = model.generate(torch.zeros(2, 2)) + torch.tensor([0.0, 0.001, 0.002, 0.0])
    mask = torch.tensor([[True] * 4, [False, True, True, False]])
    with evaluation_mode(model):
        _, errors = reconstruction_errors(model, Batch(x, mask=mask))
        losses = model.loss.elements(model.decode(model.embed(Batch(x, mask=mask)).mean), x)
    assert errors is not None
    assert errors.min() == 0
    assert errors[1, [0, 3]].tolist() == [0, 0]
    expected = losses[1, 1:3] - losses[1, 1:3].min().clamp(max=0)
    torch.testing.assert_close(errors[1, 1:3], expected)


def test_thresholds_and_percentiles_are_those_of_all_scores() -> None:
    rng = np.random.default_rng(0)
    train, validation = rng.gamma(1.0, size=900), rng.gamma(1.0, size=300)
    distributions = [ScoreQuantiles.of(scores, 1001) for scores in (train, validation)]
    assert None not in distributions
    scale = ScoreScale(distributions[0], distributions[1], (900, 300))  # type: ignore[arg-type]
    restored = ScoreScale.from_state(scale.state())
    assert restored.num == (900, 300)
    for quantile in (0.5, 0.9, 0.99):
        assert restored.validation.at(quantile) == pytest.approx(np.quantile(validation, quantile), rel=1e-12)
    new = np.array([0.0, 0.7, 100.0, np.nan])
    percentiles = restored.train.percentile(new)
    assert percentiles[[0, 2]].tolist() == [0, 100]
    assert percentiles[1] == pytest.approx(100 * (train < 0.7).mean(), abs=0.2)
    assert np.isnan(percentiles[3])


@pytest.mark.parametrize("by", ["reconstruction", "bound"])
def test_at_most_2048_samples_are_scored_and_only_finite_scores_count(make_model: Any, by: str) -> None:
    model = make_model((2,), latent={"name": "point", "dim": 1})

    def scale_of(train: Tensor, validation: Tensor) -> ScoreScale | None:
        sources = TensorSource(train), TensorSource(validation)
        return make_scale("a model", model, by, PROGRESS, *sources, on_device=lambda batch: batch, seed=0)

    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    x[::10] = torch.nan
    scale = scale_of(x, x[:100])
    assert scale is not None
    assert 1700 < scale.num[0] < 2048
    assert scale.num[1] == 90
    assert scale_of(torch.full((4, 2), torch.nan), x) is None


def test_mahalanobis_distances_equal_those_of_scipy(make_model: Any) -> None:
    model = make_model((3, 2), latent={"name": "point", "dim": 2}, loss="mse")
    x = torch.randn(80, 3, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(80)[:, None] % 3 != torch.arange(3)
    train = [Batch(part, mask=part_mask) for part, part_mask in zip(x.split(30), mask.split(30), strict=True)]
    distance = MahalanobisDistance.fit(model, train)
    batch = train[0]
    with evaluation_mode(model), torch.no_grad():
        found, contributions = distance(model, batch)
        x_hat = torch.cat([model.generate(model.embed(part).mean, like=part) for part in train])
    values = torch.cat([x_hat, (x - x_hat) * mask[..., None]], 1).flatten(1).double().numpy()
    covariance = ledoit_wolf(values)[0]
    for row in range(len(batch)):
        expected = mahalanobis(values[row], values.mean(0), np.linalg.inv(covariance)) ** 2
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)
    assert contributions.shape == batch.x.shape
    assert (contributions.sum((1, 2)) >= found - 1e-9).all()


@pytest.mark.parametrize(
    ("shape", "options", "found"),
    [((2049,), {}, "2049 elements"), ((4,), {"loss": "angle"}, "real values")],
)
def test_samples_without_a_mahalanobis_distance_are_refused(
    make_model: Any, shape: tuple[int, ...], options: dict[str, Any], found: str
) -> None:
    model = make_model(shape, latent={"name": "point", "dim": 1}, encoder={"name": "mlp", "hidden": [2]})
    if options:
        model.loss = Angle(1, Domain("real"), None)
        model.loss.by_position = False
    with pytest.raises(AeframeError, match=f"a model scores by mahalanobis .* found {found}; choose reconstruction"):
        check_mahalanobis("a model", model)


def test_columns_are_named_by_their_errors() -> None:
    errors = torch.tensor([[0.0, 3, 1, 2], [0, 0, 0, 0.5]])
    assert Vector().locate_errors(errors, Batch(errors)) == ["1, 3, 2", "3"]
