from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.reconstruction import Accuracy, MeanAbsoluteError, MeanSquaredError, R2Score
from aeframe.types import Batch, ForwardOutput, Latent


def forward_output(x: Tensor, output: Tensor, mask: Tensor | None = None) -> ForwardOutput:
    """Return a forward output whose reconstruction is `output`, for a loss with one output and no activation."""
    batch, z = Batch(x, mask), torch.zeros(len(x), 3)
    return ForwardOutput(batch, batch, Latent(z, z), output.unsqueeze(1), torch.zeros(len(x)))


def measured(
    metric: ModelMetric, model: Any, x: Tensor, output: Tensor, *sizes: int, mask: Tensor | None = None
) -> Any:
    start = 0
    for size in sizes or (len(x),):
        rows = slice(start, start + size)
        metric.update(model, forward_output(x[rows], output[rows], None if mask is None else mask[rows]))
        start += size
    return metric.compute()


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=generator) * torch.tensor([1.0, 2, 3, 4, 5, 0.1]) + 100
    return x, x + torch.randn(50, 6, generator=generator)


@pytest.mark.parametrize("sizes", [(50,), (7, 43), (1,) * 50])
def test_errors_are_those_of_scikit_learn(make_model: Any, pair: tuple[Tensor, Tensor], sizes: tuple[int, ...]) -> None:
    x, output = pair
    flat = x.double().flatten().numpy(), output.double().flatten().numpy()
    mse = measured(MeanSquaredError(), make_model(), x, output, *sizes)
    mae = measured(MeanAbsoluteError(), make_model(), x, output, *sizes)
    # The differences of numbers near 100 are taken in single precision.
    assert mse.item() == pytest.approx(mean_squared_error(*flat), rel=1e-5)
    assert mae.item() == pytest.approx(mean_absolute_error(*flat), rel=1e-5)


@pytest.mark.parametrize("sizes", [(50,), (7, 43), (1,) * 50])
def test_r2_is_the_weighted_r2(make_model: Any, pair: tuple[Tensor, Tensor], sizes: tuple[int, ...]) -> None:
    x, output = pair
    model = make_model()
    values = measured(R2Score(model), model, x, output, *sizes)
    expected = r2_score(x.double().numpy(), output.double().numpy(), multioutput="variance_weighted")
    assert values["r2"].item() == pytest.approx(expected, rel=1e-6)
    assert "mse_of_mean" not in values


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_r2_is_that_of_torchmetrics(make_model: Any, pair: tuple[Tensor, Tensor], bias: float) -> None:
    x, output = (each.double() for each in pair)
    values = measured(R2Score(make_model()), make_model(), x, output + bias, 20, 30)["r2"]
    other = torchmetrics.R2Score(multioutput="variance_weighted")
    other.update(output + bias, x)
    assert values.item() == pytest.approx(other.compute().item(), rel=1e-6)
    # Unlike the explained variance, it counts a constant error.
    one = x[:, :1]
    biased = measured(R2Score(make_model((1,))), make_model((1,)), one, one + bias)["r2"]
    assert biased.item() == pytest.approx(1 - bias**2 / one.var(correction=0).item(), rel=1e-6)


def test_the_mean_sample_explains_nothing(make_model: Any, pair: tuple[Tensor, Tensor]) -> None:
    x, _ = pair
    model, mean = make_model(), x.mean(0).expand_as(x)
    values = measured(R2Score(model), model, x, mean)
    assert values["r2"].item() == pytest.approx(0, abs=1e-6)
    mse = measured(MeanSquaredError(), model, x, mean)
    assert mse.item() == pytest.approx(x.double().var(0, correction=0).mean().item(), rel=1e-5)


def test_the_baseline_is_the_mean_of_training_samples(make_model: Any) -> None:
    model, train, x = make_model((2,)), torch.tensor([[0.0, 1.0], [4.0, torch.nan]]), torch.tensor([[3.0, 3.0]] * 2)
    metric = R2Score(model)
    batch = Batch(train, mask=torch.tensor([[True, True], [True, False]]))
    metric.update_training(model, batch, Latent(train, train))
    metric.reset()
    metric.update(model, forward_output(x, x))
    # Two samples that are alike: about their own mean the error is 0, about the training means 2 and 1 it is 1 and 4.
    assert metric.compute()["mse_of_mean"].item() == pytest.approx(2.5)
    assert metric.protocol() == "mse_of_mean predicts the mean of 2 training samples"


def test_constant_data_have_no_r2(make_model: Any) -> None:
    model, x = make_model(), torch.ones(4, 6)
    assert torch.isnan(measured(R2Score(model), model, x, x)["r2"])


def test_masked_elements_are_left_out(make_model: Any) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, torch.nan], [5.0, 6.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    output = torch.tensor([[2.0, 2.0], [3.0, 50.0], [5.0, 9.0]])
    model = make_model((2,))
    # Squared errors 1, 0; 0; 0, 9 over five elements.
    assert measured(MeanSquaredError(), model, x, output, mask=mask).item() == pytest.approx(2.0)
    assert measured(MeanAbsoluteError(), model, x, output, mask=mask).item() == pytest.approx(0.8)
    values = measured(R2Score(model), model, x, output, mask=mask)
    # About the means 3 and 4: 4 + 0 + 4 and 4 + 4.
    assert values["r2"].item() == pytest.approx(1 - 10 / 16)


def test_a_mask_over_leading_dimensions_is_broadcast(make_model: Any) -> None:
    x, output = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    output[:, 2] = 7
    mask = torch.tensor([[True, True, False]] * 2)
    model = make_model((3, 4))
    assert measured(MeanSquaredError(), model, x, output, mask=mask).item() == 1.0


def test_only_hidden_elements_count_after_a_corruption(make_model: Any) -> None:
    x, output = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 2.0, 6.0]])
    model, metric = make_model((3,)), MeanSquaredError()
    out = forward_output(x, output, mask=torch.tensor([[True, True, False]]))
    out.encoder_input = Batch(x, extras={"hidden": torch.tensor([[True, False, True]])})
    metric.update(model, out)
    assert metric.compute().item() == 1.0


def test_padding_does_not_change_the_values(make_model: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    x, output = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    mask = torch.ones(5, 4, dtype=torch.bool)
    wide = [torch.cat([t, t.new_full((5, 3), fill)], 1) for t, fill in ((x, 9), (output, -9), (mask, False))]
    for kind in (lambda m: MeanSquaredError(), R2Score):
        short, long = make_model((4,)), make_model((7,))
        a = measured(kind(short), short, x, output, mask=mask)
        b = measured(kind(long), long, wide[0], wide[1], mask=wide[2])
        assert np.allclose(*[list(v.values()) if isinstance(v, dict) else v for v in (a, b)], rtol=1e-12)


def test_accuracy_of_classes_and_of_bits(make_model: Any) -> None:
    model = make_model((4,), "category(3)", loss="categorical")
    x = torch.tensor([[0, 1, 2, 2], [1, 1, 0, 0]])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 1], [1, 0, 0, 0]]), 3).float() * 10
    out = forward_output(x, torch.zeros(2, 4))
    out.output = logits.movedim(-1, 1)
    metric = Accuracy()
    metric.update(model, out)
    assert metric.compute().item() == 6 / 8
    bits = make_model((3,), "binary", loss="bernoulli")
    metric = Accuracy()
    metric.update(bits, forward_output(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.3, 2.0, -0.2]])))
    assert metric.compute().item() == pytest.approx(2 / 3)


def test_domains_that_each_metric_applies_to(make_model: Any) -> None:
    classes, real = make_model((4,), "category(3)", loss="categorical"), make_model()
    for kind in (MeanSquaredError, MeanAbsoluteError, R2Score):
        assert kind.applies(real)
        assert not kind.applies(classes)
    assert Accuracy.applies(classes)
    assert not Accuracy.applies(real)
