from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.evaluator import Evaluator, metrics_of
from aeframe.evaluation.metrics.sparsity import Sparsity
from aeframe.types import Batch, ForwardOutput, Latent, TrainingProgress


def forward_output(z: Tensor) -> ForwardOutput:
    batch = Batch(torch.zeros(len(z), 6))
    return ForwardOutput(batch, batch, Latent(z, z), torch.zeros(len(z), 1, 6), torch.zeros(len(z)))


def test_values_by_hand(make_model: Any) -> None:
    metric = Sparsity(make_model(latent={"name": "topk", "dim": 4, "k": 2}))
    z = torch.tensor([[0.5, 0.0, 0.0, 2.0], [0.0, 0.0, 4.0, 0.0], [3.0, 0.0, 0.0, 1.0]])
    for part in z.split([1, 2]):
        metric.update(None, forward_output(part))  # type: ignore[arg-type]
    values = {name: value.item() for name, value in metric.compute().items()}
    assert values == {"dead": 0.25, "l0": pytest.approx(5 / 3)}


@pytest.mark.parametrize("name", ["topk", "batch_topk", "gated", "jumprelu", "matryoshka"])
def test_every_sparse_latent_is_measured(make_model: Any, name: str) -> None:
    model, batch = make_model(latent=name), Batch(torch.randn(20, 6))
    # Dictionaries standardise their input by training samples.
    model.train()(batch)
    evaluator = Evaluator(model, metrics_of(()), seed=0)
    assert list(evaluator.metrics) == ["fve", "sparsity"]
    evaluator.update(batch, TrainingProgress(), 0)
    values = evaluator.compute()
    assert 0 < values["dead"] < 1
    assert values["fve"] < 1
    assert 0 < values["l0"] < 1024


def test_other_latents_have_no_features(make_model: Any) -> None:
    assert not any(Sparsity.applies(make_model(latent=name)) for name in ("point", "gaussian", "vq"))
