"""Scores by hand, thresholds, and the metric of known anomalies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from aeframe.types import Batch, ForwardOutput, Latent
from aeframe_series.metrics import AnomalyRanking, ranking
from aeframe_series.modality import Series
from aeframe_series.scores import Scores, Thresholds, score
from aeframe_series.simulated import SeriesSimulated
from aeframe_series.windows import WindowSource


def test_scores_of_windows_that_overlap() -> None:
    # Two columns, five moments, windows of three that begin at 0 and 2; one value of moment 1 is missing.
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 1.0, 0.0, 2.0]])
    counted = torch.ones(2, 5, dtype=torch.bool)
    counted[1, 1] = False
    source = WindowSource(x, torch.tensor([0, 2]), 3, counted=counted)

    def reconstruct(batch: Batch) -> Tensor:
        """The first window comes out as zeros, the second as ones."""
        assert batch.index is not None
        return (batch.index > 0).float().reshape(-1, 1, 1).expand_as(batch.x)

    found = score(reconstruct, source)
    # Moment 2 is in both windows: 3 and 1 against 0, then against 1.
    assert found.errors[:, 0].tolist() == [1, 4, (9 + 4) / 2, 9, 16]
    assert found.errors[[0, 2, 3, 4], 1].tolist() == [0, (1 + 0) / 2, 1, 1]
    assert np.isnan(found.errors[1, 1])
    assert found.points.tolist() == [0.5, 4, 3.5, 5, 8.5]
    assert found.windows.tolist() == [(1 + 4 + 9 + 0 + 1) / 5, (4 + 9 + 16 + 0 + 1 + 1) / 6]
    assert found.reconstruction[:, 0].tolist() == [0, 0, 0.5, 1, 1]


def test_moments_that_no_window_holds_have_no_score() -> None:
    source = WindowSource(torch.zeros(1, 6), torch.tensor([0]), 4)
    found = score(lambda batch: batch.x + 2, source)
    assert found.points[:4].tolist() == [4] * 4
    assert np.isnan(found.points[4:]).all()
    assert np.isnan(found.reconstruction[4:]).all()


def scores(points: np.ndarray, windows: np.ndarray) -> Scores:
    return Scores(points[:, None], points[:, None], points, windows)


def test_thresholds_are_quantiles_of_what_was_held_out() -> None:
    rng = np.random.default_rng(0)
    points, windows = rng.gamma(1.0, size=500), rng.gamma(1.0, size=30)
    points[7] = np.nan
    learned = Thresholds.learn(scores(points, windows))
    assert learned is not None
    again = Thresholds.from_state(learned.state())
    assert again is not None
    for quantile in (0.5, 0.9, 0.987, 0.999):
        assert again.at(quantile) == pytest.approx(np.nanquantile(points, quantile), rel=1e-12)
        assert again.at(quantile, windows=True) == pytest.approx(np.quantile(windows, quantile), rel=1e-12)
    # Of many moments ten thousand levels are kept.
    many = rng.gamma(1.0, size=50_000)
    kept = Thresholds.learn(scores(many, windows))
    assert kept is not None
    assert len(kept.points) == 10_001
    assert kept.at(0.999) == pytest.approx(np.quantile(many, 0.999), rel=1e-3)
    assert Thresholds.learn(scores(np.full(3, np.nan), np.full(1, np.nan))) is None
    assert Thresholds.from_state({}) is None


def test_a_modality_keeps_them_in_its_state() -> None:
    modality = Series(window=8)
    splits = modality.prepare(SeriesSimulated(rows=200))
    assert modality.thresholds is None
    modality.calibrate(lambda batch: torch.zeros_like(batch.x), splits.validation)
    again = Series(window=8)
    again.load_state(modality.state())
    assert again.thresholds is not None
    # Zeros for everything: the score of a moment is its mean square, whatever the windows.
    x = splits.validation._x[splits.validation.starts[0] :][:33]  # type: ignore[attr-defined]
    moments = torch.cat([x[:, :, 0], x[-1, :, 1:].T]).square().mean(1).double()
    assert again.thresholds.at(0.9) == pytest.approx(float(moments.quantile(0.9)), rel=1e-5)


# -- the metric --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_the_ranking_is_that_of_scikit_learn(ties: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    flags = torch.rand(300, generator=generator) < 0.1
    found = torch.rand(300, generator=generator).double() + 0.5 * flags
    found = (10 * found).round() if ties else found
    auroc, precision = ranking(found, flags)
    assert float(auroc) == pytest.approx(roc_auc_score(flags, found))
    assert float(precision) == pytest.approx(average_precision_score(flags, found))


def test_with_no_anomaly_there_is_no_ranking() -> None:
    for flags in (torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)):
        assert [float(value) for value in ranking(torch.arange(4.0), flags)] == [0, 0]


class _Identity(torch.nn.Module):
    """Stands in for a model whose loss gives the output as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = self

    def mean(self, output: Tensor) -> Tensor:
        return output.squeeze(1)


def passed(batch: Batch, made: Tensor) -> ForwardOutput:
    return ForwardOutput(batch, batch, Latent(made, made), made.unsqueeze(1), made.flatten(1).sum(1))


def test_the_metric_ranks_moments_and_leaves_out_those_without_a_value() -> None:
    x = torch.zeros(2, 2, 3)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, :, 1] = False
    anomaly = torch.tensor([[False, True, True], [False, False, True]])
    made = torch.tensor([[[1.0, 9.0, 3.0], [1.0, 9.0, 3.0]], [[2.0, 0.0, 0.5], [2.0, 0.0, 0.5]]])
    metric = AnomalyRanking()
    for rows in (slice(0, 1), slice(1, 2)):
        batch = Batch(x[rows], mask[rows], extras={"anomaly": anomaly[rows]})
        metric.update(_Identity(), passed(batch, made[rows]))  # type: ignore[arg-type]
    found = {name: float(value) for name, value in metric.compute().items()}
    # Errors 1, 9 (an anomaly) and 4, 0, 0.25 (an anomaly): of the six pairs four are in order.
    assert found == pytest.approx({"anomaly_auroc": 4 / 6, "anomaly_ap": (1 + 2 / 4) / 2})
