"""Samplers: fits to known distributions, and saved states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.registry import registry
from aeframe.types import DataSpec, Domain, Shape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_of(latent: dict[str, Any], shape: Shape = (4,), encoder: str = "mlp") -> Autoencoder:
    config = {"encoder": encoder, "latent": latent, "loss": "mse"}
    return assemble(config, DataSpec(shape, Domain("real"))).eval()


def make(name: str, model: Autoencoder, **options: Any) -> Any:
    return build("sampler", {"name": name, **options}, model=model)


PLANE = {"name": "point", "dim": 2}
WEIGHTS = torch.tensor([0.3, 0.7])
MEANS = torch.tensor([[-6.0, 0.0], [5.0, 3.0]])
# Standard deviations 1 and 0.5, correlation 0.8; and 2 and 1, correlation -0.5.
COVARIANCES = torch.tensor([[[1.0, 0.4], [0.4, 0.25]], [[4.0, -1.0], [-1.0, 1.0]]])


def known_mixture(num: int, covariances: Tensor = COVARIANCES) -> tuple[Tensor, Tensor]:
    component = torch.multinomial(WEIGHTS, num, replacement=True)
    noise = torch.randn(num, 2, 1)
    return (MEANS[component] + (torch.linalg.cholesky(covariances)[component] @ noise)[..., 0]), component


# Fewer training steps.
QUICK: dict[str, dict[str, Any]] = {"two_stage": {"steps": 3}, "flow": {"steps": 3}, "autoregressive": {"steps": 3}}


def fitted_sampler(name: str) -> tuple[Autoencoder, Any]:
    """Return a model and a sampler that is fitted to random codes."""
    if name in ("codes", "autoregressive"):
        model = model_of({"name": "vq", "codebook_size": 5, "dim": 3, "tokens": 2})
        sampler = make(name, model, **QUICK.get(name, {}))
        sampler.fit(torch.randn(30, 3, 2), torch.randint(0, 5, (30, 2, 1)))
    else:
        model = model_of({"name": "riemannian", "dim": 2} if name == "riemannian" else PLANE)
        sampler = make(name, model, **QUICK.get(name, {}))
        sampler.fit(torch.randn(30, 2), None)
    return model, sampler


@pytest.mark.parametrize("name", [entry.name for entry in registry().entries("sampler") if entry.plugin == "core"])
def test_every_sampler_draws_z_for_the_decoder_and_is_saved(name: str) -> None:
    model, sampler = fitted_sampler(name)
    z = sampler.sample(model, 7)
    assert z.shape == (7, *model.latent.shape)
    assert model.generate(z).shape == (7, 4)
    other = make(name, model, **QUICK.get(name, {}))
    other.load_state_dict(sampler.state_dict())
    torch.manual_seed(3)
    first = sampler.sample(model, 5)
    torch.manual_seed(3)
    assert torch.equal(other.sample(model, 5), first)


def test_the_prior_sampler_draws_from_the_prior() -> None:
    model = model_of({"name": "gaussian", "dim": 3})
    sampler = make("prior", model)
    assert not sampler.requires_fit
    z = sampler.sample(model, 4000)
    # Four standard errors.
    assert (z.mean(0).abs() < 4 / 4000**0.5).all()
    assert ((z.std(0) - 1).abs() < 4 / 8000**0.5).all()


# -- Gaussian mixture --------------------------------------------------------------------------------------------


def test_gmm_recovers_a_known_mixture() -> None:
    model = model_of(PLANE)
    sampler = make("gmm", model, components=2)
    z, _ = known_mixture(4000)
    sampler.fit(z, None)
    order = sampler.means[:, 0].argsort()
    covariances = sampler.scales[order] @ sampler.scales[order].mT
    torch.testing.assert_close(sampler.weights[order], WEIGHTS, atol=0.03, rtol=0)
    torch.testing.assert_close(sampler.means[order], MEANS, atol=0.15, rtol=0)
    torch.testing.assert_close(covariances, COVARIANCES, atol=0.1, rtol=0.1)
    z = sampler.sample(model, 4000)
    for mean, covariance, side in zip(MEANS, COVARIANCES, (z[:, 0] < -2, z[:, 0] > -2), strict=True):
        torch.testing.assert_close(z[side].mean(0), mean, atol=0.2, rtol=0)
        torch.testing.assert_close(z[side].T.cov(), covariance, atol=0.15, rtol=0.15)


def test_gmm_with_diagonal_covariances() -> None:
    model = model_of(PLANE)
    sampler = make("gmm", model, components=2, covariance="diag")
    diagonal = torch.diag_embed(COVARIANCES.diagonal(dim1=1, dim2=2))
    sampler.fit(known_mixture(4000, diagonal)[0], None)
    order = sampler.means[:, 0].argsort()
    torch.testing.assert_close(sampler.scales[order].square(), COVARIANCES.diagonal(dim1=1, dim2=2), atol=0.1, rtol=0.1)
    z = sampler.sample(model, 4000)
    right = z[z[:, 0] > -2]
    torch.testing.assert_close(right.T.cov(), diagonal[1], atol=0.2, rtol=0.15)


def test_gmm_of_z_with_positions() -> None:
    model = model_of({"name": "point", "dim": 2, "spatial": True}, (1, 8, 8), "conv")
    sampler = make("gmm", model, components=3, covariance="diag")
    offsets = torch.arange(8.0).reshape(2, 2, 2)
    sampler.fit(offsets + 0.01 * torch.randn(50, 2, 2, 2), None)
    torch.testing.assert_close(sampler.sample(model, 20).mean(0), offsets, atol=0.05, rtol=0)


@pytest.mark.parametrize("rows", [torch.randn(4, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])])
def test_gmm_has_no_more_components_than_different_codes(rows: Tensor) -> None:
    model = model_of(PLANE)
    sampler = make("gmm", model)
    distinct = rows.unique(dim=0)
    sampler.fit(rows, None)
    assert int((sampler.weights > 0).sum()) == len(distinct)
    assert sampler.weights.shape == (10,)
    z = sampler.sample(model, 200)
    assert torch.cdist(z, distinct).min(1).values.max() < 0.1


def test_a_second_fit_does_not_depend_on_the_first() -> None:
    sampler = make("gmm", model_of(PLANE), components=3)
    sampler.fit(torch.randn(50, 2), None)
    sampler.fit(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), None)
    assert int((sampler.weights > 0).sum()) == 2
    assert torch.equal(sampler.means[2], torch.zeros(2))


def test_a_fit_depends_on_the_seed() -> None:
    z = torch.randn(60, 2)
    fits = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        sampler = make("gmm", model_of(PLANE), components=5)
        torch.manual_seed(seed)
        sampler.fit(z, None)
        fits.append(sampler.means)
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


# -- codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [{"name": "vq", "codebook_size": 12, "dim": 3}, {"name": "fsq", "levels": [4, 3]}])
def test_codes_are_drawn_by_their_frequency_at_each_position(latent: dict[str, Any]) -> None:
    model = model_of(latent, (1, 8, 4), "conv")
    assert model.latent.shape[1:] == (2, 1)
    sampler = make("codes", model)
    # Upper position: code 3 with probability 3/4, else 7. Lower: always 11.
    codes = torch.tensor([[3, 11], [3, 11], [7, 11], [3, 11]]).reshape(4, 2, 1, 1)
    sampler.fit(torch.zeros(4, 3, 2, 1), codes)
    assert sampler.frequencies.shape == (2, 12)
    assert sampler.frequencies[0, [3, 7]].tolist() == [0.75, 0.25]
    assert sampler.frequencies[1, 11] == 1
    torch.testing.assert_close(sampler.frequencies.sum(1), torch.ones(2))
    z = sampler.sample(model, 4000)
    three, seven, eleven = model.latent.from_codes(torch.tensor([3, 7, 11]).reshape(3, 1, 1, 1))[..., 0, 0]
    is_three = (z[:, :, 0, 0] == three).all(1)
    assert (is_three | (z[:, :, 0, 0] == seven).all(1)).all()
    assert (z[:, :, 1, 0] == eleven).all()
    # Four standard errors of the frequency 3/4.
    assert abs(is_three.float().mean().item() - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5


def test_positions_are_drawn_independently() -> None:
    model = model_of({"name": "fsq", "levels": [3], "tokens": 2})
    sampler = make("codes", model)
    together = torch.tensor([[0, 0], [2, 2]]).repeat(10, 1).unsqueeze(-1)
    sampler.fit(torch.zeros(20, 1, 2), together)
    z = sampler.sample(model, 4000)[:, 0]
    assert z.unique().tolist() == [-1.0, 1.0]
    assert abs((z[:, 0] == z[:, 1]).float().mean().item() - 0.5) < 4 * 0.5 / 4000**0.5


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gmm", "codes"])
def test_sampling_before_a_fit_is_an_error(name: str) -> None:
    model = model_of({"name": "vq", "codebook_size": 5, "dim": 3, "tokens": 2})
    sampler = make(name, model)
    assert sampler.requires_fit
    with pytest.raises(AeframeError) as error:
        sampler.sample(model, 3)
    assert str(error.value) == (f"sampler {name} must be fitted before it can sample; fit it to training codes first")


def test_codes_that_cannot_be_fitted_are_errors() -> None:
    gmm = make("gmm", model_of(PLANE))
    with pytest.raises(AeframeError) as error:
        gmm.fit(torch.zeros(1, 2), None)
    assert str(error.value) == "sampler gmm needs at least 2 codes to fit, found 1"
    codes = make("codes", model_of({"name": "fsq", "tokens": 2}))
    with pytest.raises(AeframeError) as error:
        codes.fit(torch.zeros(3, 4, 2), None)
    assert str(error.value) == (
        "sampler codes requires the integer codes of a quantiser, found a latent that provides none"
    )
    with pytest.raises(AeframeError) as error:
        codes.fit(torch.zeros(0, 4, 2), torch.zeros(0, 2, 1, dtype=torch.long))
    assert str(error.value) == "sampler codes needs at least 1 sample to fit, found 0"


@pytest.mark.parametrize(
    ("name", "latent", "options", "message"),
    [
        ("gmm", PLANE, {"components": 0}, "sampler gmm needs components of at least 1, found 0"),
        (
            "gmm",
            {"name": "point", "dim": 2049},
            {},
            "sampler gmm with full covariances needs z of at most 2048 numbers, found 2049; set "
            "sampler.covariance=diag",
        ),
        (
            "codes",
            PLANE,
            {},
            "sampler codes requires a latent with num_codes, such as vq or fsq, found Point; "
            "choose sampler=prior or sampler=gmm",
        ),
        (
            "gmm",
            PLANE,
            {"covariance": "tied"},
            "sampler 'gmm': option 'covariance' expects Literal['full', 'diag'], found 'tied' "
            "(Input should be 'full' or 'diag')",
        ),
    ],
)
def test_error_messages_of_wrong_options(
    name: str, latent: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, model_of(latent), **options)
    assert str(error.value) == message
