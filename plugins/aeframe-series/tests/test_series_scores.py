"""Anomaly scores, thresholds and the metric of known anomalies, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.evaluation.anomalies import auroc_and_average_precision
from aeframe.types import Batch, ForwardOutput, Latent
from aeframe_series.metrics import AnomalyRanking, NeighbourRanking, pairwise_distances
from aeframe_series.modality import Series
from aeframe_series.scores import score_windows
from aeframe_series.simulated import SeriesSimulated
from aeframe_series.windows import WindowSource


def test_scores_of_overlapping_windows() -> None:
    # Two columns, five time steps, windows of three from 0 and 2; one value of time step 1 is missing.
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 1.0, 0.0, 2.0]])
    x[1, 1] = float("nan")
    source = WindowSource(x.T, torch.tensor([0, 2]), 3, masked=True)

    def reconstruct(batch: Batch) -> Tensor:
        """Return zeros for the first window and ones for the second."""
        assert batch.index is not None
        return (batch.index > 0).float().reshape(-1, 1, 1).expand_as(batch.x)

    scores = score_windows(reconstruct, source)
    # Time step 2 is in both windows: its values 3 and 1 are compared with 0, then with 1.
    assert scores.errors[:, 0].tolist() == [1, 4, (9 + 4) / 2, 9, 16]
    assert scores.errors[[0, 2, 3, 4], 1].tolist() == [0, (1 + 0) / 2, 1, 1]
    assert np.isnan(scores.errors[1, 1])
    assert scores.time_steps.tolist() == [0.5, 4, 3.5, 5, 8.5]
    assert scores.windows.tolist() == [(1 + 4 + 9 + 0 + 1) / 5, (4 + 9 + 16 + 0 + 1 + 1) / 6]
    assert scores.reconstruction[:, 0].tolist() == [0, 0, 0.5, 1, 1]


def test_time_steps_in_no_window_have_no_score() -> None:
    source = WindowSource(torch.zeros(6, 1), torch.tensor([0]), 4)
    scores = score_windows(lambda batch: batch.x + 2, source)
    assert scores.time_steps[:4].tolist() == [4] * 4
    assert np.isnan(scores.time_steps[4:]).all()
    assert np.isnan(scores.reconstruction[4:]).all()


def test_quantiles_are_those_of_held_out_scores() -> None:
    rng = np.random.default_rng(0)
    time_steps = rng.gamma(1.0, size=500)
    time_steps[7] = np.nan
    quantiles = ScoreQuantiles.of(time_steps, 10_001)
    assert quantiles is not None
    for quantile in (0.5, 0.9, 0.987, 0.999):
        assert quantiles.at(quantile) == pytest.approx(np.nanquantile(time_steps, quantile), rel=1e-12)
    # At most 10,001 quantiles are stored.
    many = rng.gamma(1.0, size=50_000)
    quantiles = ScoreQuantiles.of(many, 10_001)
    assert quantiles is not None
    assert len(quantiles.values) == 10_001
    assert quantiles.at(0.999) == pytest.approx(np.quantile(many, 0.999), rel=1e-3)
    assert ScoreQuantiles.of(np.full(3, np.nan), 10_001) is None


def test_state_of_the_modality_contains_the_thresholds() -> None:
    modality = Series(window=8)
    splits = modality.prepare(SeriesSimulated(rows=200))
    assert "point_quantiles" not in modality.state()
    modality.calibrate(lambda batch: torch.zeros_like(batch.x), splits.validation)
    restored = Series(window=8)
    restored.load_state(modality.state())
    quantiles = restored.state()["point_quantiles"]
    # For zero reconstructions the score of a time step is its mean square in every window.
    first = int(splits.validation.starts[0])  # type: ignore[attr-defined]
    time_steps = splits.validation.values[first : first + 40].square().mean(1).double()  # type: ignore[attr-defined]
    found = np.interp(0.9, np.linspace(0, 1, len(quantiles)), quantiles.numpy())
    assert found == pytest.approx(float(time_steps.quantile(0.9)), rel=1e-5)


# -- the metric --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_average_precision_match_scikit_learn(ties: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    flags = torch.rand(300, generator=generator) < 0.1
    scores = torch.rand(300, generator=generator).double() + 0.5 * flags
    scores = (10 * scores).round() if ties else scores
    auroc, precision = auroc_and_average_precision(scores, flags)
    assert float(auroc) == pytest.approx(roc_auc_score(flags, scores))
    assert float(precision) == pytest.approx(average_precision_score(flags, scores))


def test_one_class_alone_yields_zero() -> None:
    for flags in (torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)):
        assert [float(value) for value in auroc_and_average_precision(torch.arange(4.0), flags)] == [0, 0]


class _Identity(torch.nn.Module):
    """A model whose loss returns the output as the reconstruction."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = self

    def mean(self, output: Tensor) -> Tensor:
        return output.squeeze(1)


def forward_output(batch: Batch, x_hat: Tensor) -> ForwardOutput:
    return ForwardOutput(batch, batch, Latent(x_hat, x_hat), x_hat.unsqueeze(1), x_hat.flatten(1).sum(1))


def test_metric_ranks_time_steps_with_observed_values() -> None:
    x = torch.zeros(2, 2, 3)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, :, 1] = False
    anomaly = torch.tensor([[False, True, True], [False, False, True]])
    x_hat = torch.tensor([[[1.0, 9.0, 3.0], [1.0, 9.0, 3.0]], [[2.0, 0.0, 0.5], [2.0, 0.0, 0.5]]])
    metric = AnomalyRanking()
    for rows in (slice(0, 1), slice(1, 2)):
        batch = Batch(x[rows], mask[rows], extras={"anomaly": anomaly[rows]})
        metric.update(_Identity(), forward_output(batch, x_hat[rows]))  # type: ignore[arg-type]
    values = {name: float(value) for name, value in metric.compute().items()}
    # Errors 1, 9 (anomaly), 4, 0 and 0.25 (anomaly): four of the six pairs are in the right order.
    assert values == pytest.approx({"anomaly_auroc": 4 / 6, "anomaly_ap": (1 + 2 / 4) / 2})


def test_distances_leave_missing_elements_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 6)), rng.normal(size=(7, 6))
    x[rng.random(x.shape) < 0.3] = np.nan
    y[rng.random(y.shape) < 0.3] = np.nan
    x[0, :3], y[0, 3:], x[0, 3], y[0, 0] = np.nan, np.nan, 1.0, 1.0  # These two have no element in common.
    parts = [torch.from_numpy(part) for values in (x, y) for part in (np.nan_to_num(values), ~np.isnan(values))]
    found = pairwise_distances(*parts).numpy()
    # scikit-learn scales the sum up to all six elements; NaN without common elements.
    expected = nan_euclidean_distances(x, y) / np.sqrt(6)
    assert np.isinf(found[0, 0])
    np.testing.assert_allclose(found, np.where(np.isnan(expected), np.inf, expected), atol=1e-7)


def test_ranking_by_neighbours_matches_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    train, x = torch.randn(40, 2, 3, generator=generator), torch.randn(30, 2, 3, generator=generator)
    anomaly = torch.rand(30, 3, generator=generator) < 0.2
    x[anomaly.any(1)] *= 2
    metric = NeighbourRanking(neighbours=3)
    latent = Latent(train, train)
    for rows in (slice(0, 7), slice(7, 30)):
        batch = Batch(x[rows], index=torch.arange(30)[rows], extras={"anomaly": anomaly[rows]})
        outputs = forward_output(batch, x[rows])
        metric.update(_Identity(), outputs)  # type: ignore[arg-type]
    for part in train.split(25):
        metric.update_training(_Identity(), Batch(part), latent)  # type: ignore[arg-type]
    values = {name: float(value) for name, value in metric.compute().items()}
    nearest = NearestNeighbors(n_neighbors=3).fit(train.flatten(1)).kneighbors(x.flatten(1))[0][:, -1].repeat(3)
    flags = anomaly.flatten().numpy()
    assert values == pytest.approx(
        {
            "anomaly_auroc_of_neighbours": roc_auc_score(flags, nearest),
            "anomaly_ap_of_neighbours": average_precision_score(flags, nearest),
        }
    )
    assert metric.protocol() == "distance to the 3-th nearest of 40 training windows, 30 samples, seed 0"
    without_training = NeighbourRanking()
    without_training.update(_Identity(), outputs)  # type: ignore[arg-type]
    assert without_training.compute() == {}
    assert without_training.protocol() == ""
