"""Objectives: closed forms, floors by hand, and a gradient from every term with a weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.point import Point
from aeframe.parts.objectives.elbo import Elbo
from aeframe.parts.schedules import fixed
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent, LossTerms, TrainingProgress

SHAPE = (6,)
HALFWAY = TrainingProgress(batch=50, planned=100)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(objective: dict[str, Any], latent: str = "gaussian", prior: str = "normal") -> Autoencoder:
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": latent, "dim": 3},
        "prior": prior,
        "loss": "mse",
        "objective": objective,
    }
    return assemble(config, DataSpec(SHAPE, Domain("real")))


def terms_of(model: Autoencoder, num: int = 4, progress: TrainingProgress = HALFWAY) -> tuple[ForwardOutput, LossTerms]:
    out = model(Batch(torch.randn(num, *SHAPE)))
    return out, model.terms(out, progress)


def kl_by_dimension(out: ForwardOutput) -> Tensor:
    assert isinstance(out.latent.posterior, Normal)
    return kl_divergence(out.latent.posterior, Normal(torch.zeros(3), torch.ones(3)))


def with_kl(by_dimension: list[list[float]]) -> tuple[Autoencoder, ForwardOutput]:
    """Return a model and an output whose posteriors N(sqrt(2 KL), 1) have these KL divergences."""
    model = make({"name": "elbo"})
    mean = (2 * torch.tensor(by_dimension)).sqrt().requires_grad_()
    num, dim = mean.shape
    batch = Batch(torch.zeros(num, *SHAPE))
    latent = Latent(mean, mean, posterior=Normal(mean, torch.ones(num, dim)))
    return model, ForwardOutput(batch, batch, latent, torch.zeros(num, 1, *SHAPE), torch.full((num,), 10.0))


# -- elbo --------------------------------------------------------------------------------------------------------


def test_elbo_is_reconstruction_and_closed_form_kl() -> None:
    p, terms = terms_of(make({"name": "elbo"}))
    kl = kl_by_dimension(p).sum(1)
    torch.testing.assert_close(terms.raw["kl"], kl)
    torch.testing.assert_close(terms.total(), p.reconstruction + kl)
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, p.reconstruction + kl)
    assert list(terms.raw) == ["reconstruction", "kl"]


def test_beta_is_the_weight_of_the_kl_and_not_in_the_bound() -> None:
    p, terms = terms_of(make({"name": "elbo", "beta": 4.0}))
    torch.testing.assert_close(terms.total(), p.reconstruction + 4 * kl_by_dimension(p).sum(1))
    assert terms.weights == {"reconstruction": 1.0, "kl": 4.0}
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, p.reconstruction + kl_by_dimension(p).sum(1))


def test_beta_follows_its_schedule() -> None:
    model = make({"name": "elbo", "beta": {"name": "linear", "end": 2.0}})
    weights = [
        terms_of(model, progress=TrainingProgress(batch=batch, planned=100))[1].weights["kl"] for batch in (0, 25, 100)
    ]
    assert weights == [0.0, 0.5, 2.0]


def test_a_kl_of_weight_zero_is_logged_and_not_minimised() -> None:
    model = make({"name": "elbo", "beta": 0.0})
    p, terms = terms_of(model)
    torch.testing.assert_close(terms.total(), p.reconstruction)
    assert (terms.raw["kl"] > 0).all()


def test_free_bits_hand_worked() -> None:
    # Means over the batch: 0.2, 1.0, 0.6; so with a floor of 0.5 the first dimension is free.
    model, p = with_kl([[0.1, 0.4, 0.8], [0.3, 1.6, 0.4]])
    terms = Elbo(free_bits=fixed(0.5))(model, p, HALFWAY)
    assert terms.raw["kl_free_bits"].tolist() == pytest.approx([0.5 + 0.4 + 0.8, 0.5 + 1.6 + 0.4])
    assert terms.raw["kl"].tolist() == pytest.approx([1.3, 2.3])
    assert terms.weights == {"reconstruction": 1.0, "kl": 0.0, "kl_free_bits": 1.0}
    # The bound is the true one.
    assert terms.bound is not None
    assert terms.bound.tolist() == pytest.approx([11.3, 12.3])


@pytest.mark.parametrize("floor", [0.01, 0.1, 0.5, 3.0])
def test_free_bits_are_the_paper_s_sum_of_maxima_in_the_mean(floor: float) -> None:
    model = make({"name": "elbo", "free_bits": floor})
    p, terms = terms_of(model, num=16)
    expected = kl_by_dimension(p).mean(0).clamp(min=floor).sum()
    torch.testing.assert_close(terms.raw["kl_free_bits"].mean(), expected)


def test_below_the_floor_the_gradient_stops_and_above_it_is_the_kl_s() -> None:
    model, p = with_kl([[0.1, 0.4, 0.8], [0.3, 1.6, 0.4]])
    terms = Elbo(free_bits=fixed(0.5))(model, p, HALFWAY)
    (gradient,) = torch.autograd.grad(terms.raw["kl_free_bits"].sum(), p.latent.mean)
    # d/dm of m^2 / 2 is m.
    expected = p.latent.mean.detach().clone()
    expected[:, 0] = 0
    torch.testing.assert_close(gradient, expected)


def test_free_bits_follow_a_schedule_and_none_leave_the_plain_kl() -> None:
    model = make({"name": "elbo", "free_bits": {"name": "linear", "start": 1.0, "end": 0.0}})
    assert list(terms_of(model, progress=TrainingProgress(batch=0, planned=100))[1].raw) == [
        "reconstruction",
        "kl",
        "kl_free_bits",
    ]
    assert list(terms_of(model, progress=TrainingProgress(batch=100, planned=100))[1].raw) == ["reconstruction", "kl"]


def test_capacity_is_the_distance_of_the_kl_from_its_target() -> None:
    model, p = with_kl([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]])
    objective = build("objective", {"name": "elbo", "beta": 10.0, "capacity": {"name": "linear", "end": 8.0}})
    terms = objective(model, p, HALFWAY)
    # The capacity is 4 nats halfway: |6 - 4| and |1.5 - 4|.
    assert terms.raw["kl_from_capacity"].tolist() == pytest.approx([2.0, 2.5])
    assert terms.raw["kl"].tolist() == pytest.approx([6.0, 1.5])
    assert terms.total().tolist() == pytest.approx([10 + 20.0, 10 + 25.0])
    assert terms.bound.tolist() == pytest.approx([16.0, 11.5])


def test_capacity_and_free_bits_are_refused_together() -> None:
    for free_bits in (0.5, {"name": "linear"}):
        with pytest.raises(AeframeError) as error:
            build("objective", {"name": "elbo", "capacity": 5.0, "free_bits": free_bits})
        assert str(error.value) == "objective elbo takes free_bits or capacity, not both; leave one at its default"


def test_elbo_with_a_mixture_prior_estimates_the_kl_from_the_sample() -> None:
    model = make({"name": "elbo"}, prior="mixture").train()
    p, terms = terms_of(model)
    assert p.latent.posterior is not None
    expected = p.latent.posterior.log_prob(p.latent.z).sum(1) - model.prior.log_prob(p.latent.z)
    torch.testing.assert_close(terms.raw["kl"], expected)


# -- deterministic -----------------------------------------------------------------------------------------------


class _PointWithTerms(Point):
    """A point latent with two terms, one of them with a schedule."""

    def __init__(self, feature_shape: tuple[int, ...]) -> None:
        super().__init__(feature_shape, dim=3)
        self.weights = {"size": build("schedule", {"name": "linear", "end": 0.5})}

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        latent = super().forward(features, sample=sample)
        latent.terms = {"size": latent.mean.square().sum(1), "commitment": latent.mean.abs().sum(1)}
        return latent


def test_deterministic_is_the_reconstruction() -> None:
    p, terms = terms_of(make({"name": "deterministic"}, latent="point"))
    assert list(terms.raw) == ["reconstruction"]
    assert torch.equal(terms.total(), p.reconstruction)
    assert terms.bound is p.reconstruction


def test_deterministic_may_sum_over_hidden_elements_only() -> None:
    model = make({"name": "deterministic", "counts": "hidden"}, latent="point")
    x, output = torch.randn(4, *SHAPE), torch.randn(4, 1, *SHAPE)
    hidden, mask = torch.rand(4, *SHAPE) < 0.5, torch.rand(4, *SHAPE) < 0.7
    for clean in (None, mask):
        batch = Batch(x, mask=clean)
        encoder_input = Batch(x.masked_fill(hidden, 0), mask=~hidden, extras={"hidden": hidden})
        code = model.embed(batch)
        of_all = model.loss(output, batch)
        counted = hidden if clean is None else hidden & clean
        expected = ((output[:, 0] - x).square() * counted).sum(1)
        terms = model.objective(model, ForwardOutput(batch, encoder_input, code, output, of_all), HALFWAY)
        torch.testing.assert_close(terms.raw["reconstruction"], expected)
        torch.testing.assert_close(terms.bound, expected)
        # Nothing was hidden, as in held-out samples without corruption.
        terms = model.objective(model, ForwardOutput(batch, batch, code, output, of_all), HALFWAY)
        assert torch.equal(terms.raw["reconstruction"], of_all)


@pytest.mark.parametrize("objective", ["deterministic"])
def test_terms_of_the_latent_have_the_weights_of_its_schedules(objective: str) -> None:
    model = make({"name": objective}, latent="point")
    model.latent = _PointWithTerms(model.encoder.out_shape)
    _, terms = terms_of(model)
    assert terms.weights == {"reconstruction": 1.0, "size": 0.25, "commitment": 1.0}
    assert list(terms.raw) == ["reconstruction", "size", "commitment"]


# -- all ---------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "deterministic": ({"name": "deterministic"}, "point", "normal"),
    "elbo": ({"name": "elbo"}, "gaussian", "normal"),
    "elbo beta": ({"name": "elbo", "beta": 0.1}, "gaussian", "normal"),
    "elbo mixture": ({"name": "elbo"}, "gaussian", "mixture"),
    "elbo free bits": ({"name": "elbo", "free_bits": 0.01}, "gaussian", "normal"),
    "elbo capacity": ({"name": "elbo", "capacity": 5.0}, "gaussian", "normal"),
}


@pytest.fixture(params=SETTINGS)
def model(request: pytest.FixtureRequest) -> Autoencoder:
    return make(*SETTINGS[request.param])


def gradients(model: Autoencoder, value: Tensor) -> list[Tensor]:
    values = torch.autograd.grad(
        value.sum(), list(model.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return list(values)


def test_every_term_with_a_weight_changes_a_gradient(model: Autoencoder) -> None:
    _, terms = terms_of(model.train())
    with_term = gradients(model, terms.total())
    for name, weight in terms.weights.items():
        others = LossTerms({**terms.raw}, {**terms.weights, name: 0.0})
        counts = [name for name, other in others.weights.items() if other]
        without = gradients(model, others.total()) if counts else [torch.zeros_like(g) for g in with_term]
        changed = any(not torch.equal(a, b) for a, b in zip(with_term, without, strict=True))
        assert changed == (weight > 0), name


def test_every_term_is_a_value_for_each_sample(model: Autoencoder) -> None:
    _, terms = terms_of(model.train())
    assert all(value.shape == (4,) for value in terms.raw.values())
    assert terms.bound is not None
    assert terms.bound.shape == terms.total().shape == (4,)


def test_a_doubled_batch_does_not_change_the_terms_of_a_sample(model: Autoencoder) -> None:
    model = model.eval()
    x = torch.randn(4, *SHAPE)
    alone = model.terms(model(Batch(x)), HALFWAY)
    twice = model.terms(model(Batch(torch.cat([x, x]))), HALFWAY)
    for name, value in alone.raw.items():
        torch.testing.assert_close(twice.raw[name], torch.cat([value, value]))
