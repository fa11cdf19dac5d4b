"""Codes at two resolutions: their layout in z, the input of the bottom code, and the decoder's input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.types import Batch, DataSpec, Domain, Shape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(feature_shape: Shape, **options: Any) -> Any:
    config = {"name": "vq_hierarchy", "codebook_size": 16, "dim": 4, **options}
    return build("latent", config, feature_shape=feature_shape)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    ("feature_shape", "smaller", "positions"),
    [((6,), (4,), (8,)), ((6, 5), (3,), (5,)), ((6, 4, 3), (2, 2), (4, 3)), ((6, 1, 3, 2), (1, 2, 1), (1, 3, 2))],
)
def test_shapes_and_from_codes(feature_shape: Shape, smaller: Shape, positions: Shape, distance: str) -> None:
    latent = make(feature_shape, distance=distance)
    num = math.prod(smaller) + math.prod(positions)
    assert latent.shape == (4, num)
    assert latent.decoder_shape == (8, *positions)
    features = torch.randn(5, *feature_shape)
    for mode in (True, False):
        found = latent.train(mode)(features, sample=mode)
        assert found.z.shape == (5, 4, num)
        assert found.codes.shape == (5, num, 1)
        assert latent.decoder_input(found.z).shape == (5, 8, *positions)
    assert torch.equal(latent.from_codes(found.codes), found.z)


def test_both_codes_are_those_of_their_quantisers() -> None:
    latent = make((6, 4, 2)).eval()
    features = torch.randn(5, 6, 4, 2)
    found = latent(features, sample=False)
    top = latent.top(latent.down(features), sample=False)
    bottom = latent.bottom(torch.cat([features, latent.up(top.z)], 1), sample=False)
    # Two positions, then eight.
    assert torch.equal(found.codes[:, :2], top.codes.flatten(1, 2))
    assert torch.equal(found.codes[:, 2:], bottom.codes.flatten(1, 2))
    torch.testing.assert_close(found.terms, {"commitment": top.terms["commitment"] + bottom.terms["commitment"]})
    read = latent.decoder_input(found.z)
    torch.testing.assert_close(read, torch.cat([latent.up(top.z), bottom.z], 1))


def test_the_bottom_code_depends_on_the_top_one() -> None:
    latent = make((6, 4, 2), kmeans_init=False).eval()
    features = torch.randn(50, 6, 4, 2)
    before = latent(features, sample=False).codes
    with torch.no_grad():
        latent.up.conv.weight.mul_(-20)
    after = latent(features, sample=False).codes
    assert torch.equal(after[:, :2], before[:, :2])
    assert not torch.equal(after[:, 2:], before[:, 2:])


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_the_gradient_reaches_features_and_every_parameter(update: str) -> None:
    latent = make((6, 4, 2), update=update)
    features = torch.randn(16, 6, 4, 2, requires_grad=True)
    code = latent(features, sample=True)
    loss = latent.decoder_input(code.z).square().sum() + sum(term.sum() for term in code.terms.values())
    loss.backward()
    assert features.grad is not None
    for name, parameter in latent.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("shape", "encoder"), [((1, 8, 8), "conv"), ((12,), "mlp")])
def test_a_model_decodes_it(shape: Shape, encoder: str) -> None:
    latent = {"name": "vq_hierarchy", "codebook_size": 16, "dim": 4, "tokens": 3}
    model = assemble({"encoder": encoder, "latent": latent, "loss": "mse"}, DataSpec(shape, Domain("real")))
    p = model(Batch(torch.randn(7, *shape)))
    assert model.loss.mean(p.output).shape == (7, *shape)
    sampler = build("sampler", {"name": "codes"}, model=model)
    sampler.fit(p.latent.mean, p.latent.codes)
    assert model.generate(sampler.sample(model, 3)).shape == (3, *shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, "a quantised latent needs dim and tokens of at least 1, found 4 and 0"),
        ({"codebook_size": 1}, "a codebook needs at least 2 codes, found 1; set latent.codebook_size"),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make((6,), **options)
    assert str(error.value) == message
