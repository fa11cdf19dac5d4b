"""What sparse dictionaries measure in training: the scale of x, and L0 for its controller."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.factory import build
from aeframe.parts.latents.sparse.input_scale import NUM_MEASURED, InputScale
from aeframe.parts.latents.sparse.l0_controller import L0Controller
from aeframe.types import TrainingProgress

CONTROLLED = ("gated", "jumprelu")
KINDS = ("topk", "batch_topk", "matryoshka", *CONTROLLED)
DIM, FEATURES = 32, 64


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, *, dim: int = 128, target: float = 4, **options: Any) -> Any:
    sparse = {"target_l0": target} if name in CONTROLLED else {"k": target}
    return build("latent", {"name": name, "dim": dim, **sparse, **options}, feature_shape=(DIM,))


def make_rows(num: int) -> Tensor:
    """Return sparse sums of 64 directions, 3 of them on average, with a mean of their own."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(FEATURES, DIM, generator=generator), dim=1)
    is_active = torch.rand(num, FEATURES, generator=generator) < 3 / FEATURES
    magnitudes = 0.5 + torch.rand(num, FEATURES, generator=generator)
    return (is_active * magnitudes) @ directions + torch.randn(DIM, generator=generator)


def train(latent: Any, x: Tensor, *, batches: int, optimizer: Any = None, first: int = 0) -> Any:
    """Train on batches of 64 rows and return the optimizer."""
    optimizer = optimizer or torch.optim.Adam(latent.parameters(), lr=3e-3, eps=1e-12)
    latent.train()
    for number in range(first, first + batches):
        rows = x[torch.randint(len(x), (64,), generator=torch.Generator().manual_seed(number))]
        out = latent(rows, sample=True)
        loss = (rows - out.decoder_input).square().sum(1)
        for name, term in out.terms.items():
            weight = latent.weights[name](TrainingProgress()) if name in latent.weights else 1.0
            loss = loss + weight * term
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    return optimizer


@torch.no_grad()
def l0_and_fve(latent: Any, x: Tensor) -> tuple[float, float]:
    out = latent.eval()(x, sample=False)
    error = (x - out.decoder_input).square().sum()
    return float((out.z > 0).sum(1).float().mean()), float(1 - error / (x - x.mean(0)).square().sum())


# -- the scale of x --------------------------------------------------------------------------------------------------


def test_mean_and_unit_are_those_of_the_first_samples() -> None:
    scale, x = InputScale(6), 5 + 3 * torch.randn(2000, 6) * torch.arange(1.0, 7.0)
    assert (float(scale.unit), float(scale.variance)) == (1.0, 6.0)
    for batch in x.split(300):
        scale.update(batch)
    # Three batches are too few, and the fourth is the last.
    assert int(scale.count) == 1200 >= NUM_MEASURED
    first = x[:1200]
    torch.testing.assert_close(scale.mean, first.mean(0))
    torch.testing.assert_close(scale.variance, first.var(0, correction=0).sum())
    torch.testing.assert_close(scale.unit, first.var(0, correction=0).mean().sqrt())
    # A single sample has no variance, and the next one has.
    scale = InputScale(2)
    scale.update(torch.tensor([[4.0, 8.0]]))
    assert (scale.mean.tolist(), float(scale.unit)) == ([4.0, 8.0], 1.0)
    scale.update(torch.tensor([[0.0, 8.0]]))
    assert (scale.mean.tolist(), float(scale.variance)) == ([2.0, 8.0], pytest.approx(4.0))


def test_a_loaded_scale_is_not_measured_again() -> None:
    one, other = InputScale(4), InputScale(4)
    one.update(torch.randn(NUM_MEASURED, 4))
    other.load_state_dict(one.state_dict())
    other.update(100 + torch.randn(64, 4))
    assert torch.equal(other.mean, one.mean)
    assert torch.equal(other.unit, one.unit)


@pytest.mark.parametrize("name", KINDS)
def test_the_scale_and_the_mean_of_x_change_nothing(name: str) -> None:
    x = make_rows(1000)
    found = {}
    for factor, offset in ((1.0, 0.0), (100.0, 50.0), (0.01, 0.0)):
        torch.manual_seed(0)
        latent = make(name)
        train(latent, factor * x + offset, batches=40)
        found[factor] = l0_and_fve(latent, factor * x + offset)
    for factor in (100.0, 0.01):
        assert found[factor] == pytest.approx(found[1.0], rel=0.02)


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_weight_of_your_own_does_not_depend_on_the_scale_of_x(name: str) -> None:
    x, weight = make_rows(1000), {"gated": 0.1, "jumprelu": 0.005}[name]
    found = []
    for factor in (0.01, 1.0, 100.0):
        torch.manual_seed(0)
        latent = make(name, target=None, sparsity=weight)
        train(latent, factor * x, batches=40)
        found.append(l0_and_fve(latent, factor * x))
    assert found[0] == pytest.approx(found[1], rel=0.02)
    assert found[2] == pytest.approx(found[1], rel=0.02)
    assert found[1][0] < 60


# -- the controller --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "target"), [(256, 8), (1024, 32)])
@pytest.mark.parametrize("name", CONTROLLED)
def test_l0_reaches_its_target(name: str, dim: int, target: float) -> None:
    x = make_rows(6000)
    latent = make(name, dim=dim, target=target)
    train(latent, x[:5000], batches=300)
    l0, fve = l0_and_fve(latent, x[5000:])
    assert l0 == pytest.approx(target, rel=0.15)
    assert fve > 0.8


def test_the_level_by_hand() -> None:
    controller = L0Controller(2.0, rate=0.5)
    active = torch.zeros(4, 10, dtype=torch.bool)
    active[:, :4] = True
    # L0 is twice its target, then equal to it, then 0, where the error is clipped to -1.
    assert float(controller.update(active)) == pytest.approx(0.6931, abs=1e-4)
    active[:2] = False
    assert float(controller.update(active)) == 0.0
    assert float(controller.level) == pytest.approx(0.3466, abs=1e-4)
    assert float(controller.update(torch.zeros_like(active))) == -1.0
    assert float(controller.level) == pytest.approx(-0.1534, abs=1e-4)


@pytest.mark.parametrize("name", CONTROLLED)
def test_evaluation_changes_no_state(name: str) -> None:
    latent, x = make(name), make_rows(200)
    train(latent, x, batches=3)
    before = copy.deepcopy(latent.state_dict())
    l0_and_fve(latent, x)
    with torch.no_grad():
        latent.train()(x, sample=True)
    assert all(torch.equal(value, before[key]) for key, value in latent.state_dict().items())


@pytest.mark.parametrize("name", KINDS)
def test_a_resumed_training_has_the_same_bits(name: str) -> None:
    x = make_rows(1000)
    whole, begun = make(name), make(name)
    begun.load_state_dict(whole.state_dict())
    train(whole, x, batches=24)
    # The first 1,000 samples, whose scale is measured, end after the checkpoint.
    optimizer = train(begun, x, batches=10)
    resumed = make(name)
    resumed.load_state_dict(begun.state_dict())
    again = torch.optim.Adam(resumed.parameters(), lr=3e-3, eps=1e-12)
    again.load_state_dict(optimizer.state_dict())
    train(resumed, x, batches=14, optimizer=again, first=10)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
