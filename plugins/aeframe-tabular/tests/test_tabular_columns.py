"""Likelihood and error of each column, in the unit of the file: closed forms, integrals, and a run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, measure
from aeframe.evaluation.metric_table import MetricTable
from aeframe.parts.packed import Packing
from aeframe.testing.batch_invariance import small_model
from aeframe.types import TrainingProgress
from aeframe_tabular.coding import CodingOptions, TableCoding
from aeframe_tabular.column import Column
from aeframe_tabular.column_metrics.cell_units import CellUnits
from aeframe_tabular.column_metrics.columns import Columns
from aeframe_tabular.column_metrics.marginals import Marginals
from aeframe_tabular.column_metrics.normal_interval import log_probability_between
from aeframe_tabular.modality import TableModality
from aeframe_tabular.simulated import TableSimulated

torch.set_num_threads(1)
MEAN, SCALE = 0.3, 0.7
PROGRESS = TrainingProgress(batch=1, planned=1)


def numbers(num: int = 400) -> np.ndarray[Any, np.dtype[np.float64]]:
    random = np.random.default_rng(0)
    return np.where(random.random(num) < 0.4, random.normal(-3, 0.5, num), random.normal(4, 2, num))


def coding_of(values: Any, column: Column, **options: Any) -> TableCoding:
    coding = TableCoding([column], CodingOptions(**options))
    coding.learn(pd.DataFrame({column.name: values}))
    return coding


def negative_logs(coding: TableCoding, values: Any, logits: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood ``(B,)`` of cells, for equal outputs of the decoder for every row."""
    units, packing = CellUnits(coding), Packing(coding.classes)
    x, _ = coding.encode(pd.DataFrame({coding.columns[0].name: values}))
    packed = torch.zeros(1, packing.size) if logits is None else logits[None]
    log_p = packing.log_probabilities(packed)
    count = len(units.numeric)
    return units.negative_log_likelihood(
        torch.from_numpy(x), log_p, torch.full((1, count), MEAN), torch.full((count,), SCALE)
    )[:, 0]


def test_classes_have_the_log_of_their_probability() -> None:
    column = Column("size", "ordinal", num_missing=1, classes=("S", "M", "L"))
    values = pd.Series(pd.Categorical(["S", None, "L"], categories=column.classes))
    logits = torch.tensor([0.5, -1.0, 2.0, 0.1])
    expected = -torch.log_softmax(logits, 0)[[0, 3, 2]].double()
    torch.testing.assert_close(negative_logs(coding_of(values, column), values, logits), expected)


def test_a_number_has_the_mixture_density_of_its_modes() -> None:
    x, column = numbers(), Column("x", "number", num_missing=1, spike=1.5)
    coding = coding_of(x, column, modes=4)
    logits = torch.linspace(-1, 1, 1 + 6)
    centers, units = coding.codings[0].scale.affine()  # type: ignore[attr-defined]
    log_p = torch.log_softmax(logits[1:], 0).double().numpy()
    points = np.array([-4.0, -2.2, 0.0, 5.0, 30.0])
    densities = stats.norm.pdf(points[:, None], centers + units * MEAN, units * SCALE) @ np.exp(log_p[:4])
    actual = negative_logs(coding, np.append(points, [1.5, np.nan]), logits).numpy()
    np.testing.assert_allclose(actual, np.append(-np.log(densities), -log_p[4:]), rtol=1e-5)


@pytest.mark.parametrize("name", ["mixture", "standard", "quantile"])
def test_densities_integrate_to_one(name: str) -> None:
    x = numbers()
    coding = coding_of(x, Column("x", "number"), numbers=name, modes=4, quantiles=40)
    low, high = (x.min(), x.max()) if name == "quantile" else (-60.0, 60.0)
    # A rule between the quantiles, where the density jumps.
    edges = np.linspace(low, high, 81)
    if name == "quantile":
        edges = np.unique(coding.codings[0].scale.knots()[0])  # type: ignore[attr-defined]
    grid = np.concatenate([np.linspace(a, b, 65)[1:-1] for a, b in itertools.pairwise(edges)])
    density = np.exp(-negative_logs(coding, grid).numpy()).reshape(len(edges) - 1, 63)
    step = np.diff(edges) / 64
    # The ends of an interval are its neighbours inside: it is open.
    padded = np.pad(density, ((0, 0), (1, 1)), mode="edge")
    mass = sum(integrate.simpson(row, dx=width) for row, width in zip(padded, step, strict=True))
    if name == "quantile":
        # Both ends of the table have the probability of all that is beyond them.
        mass += np.exp(-negative_logs(coding, np.array([low, high])).numpy()).sum()
    assert mass == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("name", ["mixture", "standard", "quantile"])
def test_the_probabilities_of_all_integers_sum_to_one(name: str) -> None:
    x = np.random.default_rng(0).binomial(20, 0.4, 500).astype(float)
    column = Column("x", "integer", low=x.min(), high=x.max())
    coding = coding_of(x, column, numbers=name, modes=3, quantiles=50)
    total = np.exp(-negative_logs(coding, np.arange(x.min(), x.max() + 1)).numpy()).sum()
    assert total == pytest.approx(1.0, abs=1e-6)


def test_decimals_have_the_mean_density_of_their_interval() -> None:
    x = np.round(numbers(), 1)
    coding = coding_of(x, Column("x", "number", decimals=1), numbers="standard")
    [mean], [unit] = coding.codings[0].scale.affine()  # type: ignore[attr-defined]
    normal = stats.norm(mean + unit * MEAN, unit * SCALE)
    points = np.array([-3.1, 0.0, 2.4])
    expected = -np.log((normal.cdf(points + 0.05) - normal.cdf(points - 0.05)) / 0.1)
    np.testing.assert_allclose(negative_logs(coding, points).numpy(), expected, rtol=1e-6)


def test_dates_have_a_density_for_each_day() -> None:
    days = np.random.default_rng(0).normal(18_000, 300, 400).round()
    dates = pd.Series((days * 86_400e6).astype(np.int64).astype("datetime64[us]"))
    coding = coding_of(dates, Column("day", "date"), numbers="standard")
    normal = stats.norm(days.mean() + days.std() * MEAN, days.std() * SCALE)
    expected = -np.log(normal.cdf(days[:5] + 0.5) - normal.cdf(days[:5] - 0.5))
    np.testing.assert_allclose(negative_logs(coding, dates[:5]).numpy(), expected, rtol=1e-5)


def test_a_repeated_number_has_the_probability_of_its_interval() -> None:
    x = np.concatenate([np.linspace(0, 1, 50), np.full(50, 2.0), np.linspace(3, 4, 50)])
    coding = coding_of(x, Column("x", "number"), numbers="quantile", quantiles=150)
    values, probabilities = coding.codings[0].scale.knots()  # type: ignore[attr-defined]
    ends = stats.norm.ppf(probabilities[values == 2.0][[0, -1]])
    low, high = stats.norm.cdf((ends - MEAN) / SCALE)
    actual = negative_logs(coding, np.array([2.0])).item()
    assert actual == pytest.approx(-np.log(high - low), rel=1e-6)


def test_intervals_far_from_the_mean_have_a_log_probability() -> None:
    low, high = torch.tensor([8.0, -40.0, -torch.inf], dtype=torch.float64), torch.tensor([9.0, -39.0, torch.inf])
    expected = [np.log(stats.norm.sf(8) - stats.norm.sf(9)), stats.norm.logcdf(-39), 0.0]
    actual = log_probability_between(low, high.double()).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_numbers_are_those_that_the_coding_decodes() -> None:
    dataset = TableSimulated(rows=200)
    for name in ("mixture", "standard", "quantile"):
        modality = TableModality(numbers=name)  # type: ignore[arg-type]
        x = modality.prepare(dataset).test.batch(torch.arange(20)).masked_x()
        x = x + 0.3 * torch.tensor([0.0 if each else 1.0 for each in modality.rows.x.classes])
        decoded, units = modality.rows.x.decode(x.numpy()), CellUnits(modality.rows.x)
        actual = units.numbers(x, written=True)
        for at, column in enumerate(each for each in modality.rows.x.columns if each.is_numeric):
            values = decoded[column.name]
            if column.kind == "date":
                values = (values - pd.Timestamp(0)) / pd.Timedelta(days=1)
            present = values.notna().to_numpy()
            np.testing.assert_allclose(actual[present, at].numpy(), values[present].to_numpy(), rtol=1e-6)


def evaluated(
    modality: TableModality, dataset: TableSimulated, batch_size: int = 7
) -> tuple[Evaluator, Mapping[str, float]]:
    splits, model = modality.prepare(dataset), small_model(modality, modality.spec(dataset))
    evaluator = Evaluator(model, {"columns": {}}, modality=modality)
    batches = [splits.test.batch(rows) for rows in torch.arange(len(splits.test)).split(batch_size)]
    return evaluator, measure(evaluator, batches, PROGRESS, torch.device("cpu"))


def rows_of(table: MetricTable) -> pd.DataFrame:
    return pd.DataFrame(dict(table.columns)).set_index("column")


def test_errors_and_baselines_are_those_of_pandas() -> None:
    dataset, modality = TableSimulated(rows=300), TableModality()
    evaluator, values = evaluated(modality, dataset)
    found = rows_of(evaluator.tables()["columns"])
    raw = dataset.load()
    train, test = raw.train.frame, raw.test.frame.reset_index(drop=True)
    splits = modality.prepare(dataset)
    batch = splits.test.batch(torch.arange(len(splits.test)))
    model = evaluator.model
    with torch.no_grad():
        output = model.eval()(batch, sample=False).output
    x_hat = modality.rows.x.decode(model.loss.mean(modality.without_missing(output)).numpy())
    for name in ("age", "income", "visits"):
        assert found.error[name] == pytest.approx((x_hat[name] - test[name]).abs().mean(), rel=1e-5)
        assert found.error_of_baseline[name] == pytest.approx(
            (test[name] - train[name].median()).abs().mean(), rel=1e-5
        )
        assert float(found.baseline[name]) == pytest.approx(train[name].median(), rel=1e-5)
    days = (x_hat.joined - test.joined.to_numpy()).abs() / pd.Timedelta(days=1)
    assert found.error.joined == pytest.approx(days.mean(), rel=1e-5)
    assert found.unit.joined == "days"
    x_hat = modality.rows.x.decode(model.loss.mean(output).numpy())
    assert found.error.plan == pytest.approx((x_hat.plan.to_numpy() != test.plan.to_numpy()).mean())
    assert found.baseline.plan == train.plan.mode()[0]
    counts = train.plan.value_counts() + 1
    assert found.nll_of_baseline.plan == pytest.approx(-np.log(counts / counts.sum())[test.plan].mean(), rel=1e-6)
    assert values["cell_nll"] == pytest.approx((found.nll * found.cells).sum() / found.cells.sum())
    assert values["columns_below_baseline"] == (found.error < found.error_of_baseline).mean()


def test_batches_hidden_elements_and_masks_do_not_change_what_is_counted() -> None:
    dataset, modality = TableSimulated(rows=200), TableModality()
    found = [rows_of(evaluated(modality, dataset, size)[0].tables()["columns"]) for size in (3, 20)]
    pd.testing.assert_frame_equal(*found)
    # Of two rows, the first element of the first column is hidden from the encoder.
    model = small_model(modality, modality.spec(dataset))
    batch = modality.prepare(dataset).test.batch(torch.arange(2))
    with torch.no_grad():
        out = model.eval()(batch, sample=False)
    hidden = torch.zeros_like(batch.x, dtype=torch.bool)
    hidden[:, 0] = True
    hidden_input = replace(out.encoder_input, extras={**out.encoder_input.extras, "hidden": hidden})
    metric = Columns(model, modality)
    metric.update(model, replace(out, encoder_input=hidden_input))
    assert metric.cells.tolist() == [2.0, *[0.0] * 8]
    metric.compute()
    table = metric.table()
    assert table is not None
    assert table.summary.startswith(("0 of 1 columns", "1 of 1 columns"))


def test_the_state_has_the_marginals() -> None:
    dataset, modality = TableSimulated(rows=100), TableModality()
    modality.prepare(dataset)
    restored = TableModality()
    restored.load_state(modality.state())
    assert restored.rows.marginals == modality.rows.marginals
    assert Marginals.from_state(modality.rows.marginals.state()) == modality.rows.marginals


def test_other_modalities_have_no_columns() -> None:
    dataset, table = TableSimulated(rows=100), TableModality()
    model = small_model(table, table.spec(dataset))
    assert not Evaluator(model, {"columns": {}}).metrics
    with pytest.raises(AeframeError, match="needs the columns of modality table, found str"):
        Columns(model, "text")  # type: ignore[arg-type]
