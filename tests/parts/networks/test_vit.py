"""The vision transformer: shapes, tokens computed by hand, and masked patches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.corruptions import Corruption
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.transformer import sinusoidal_positions
from aeframe.types import Batch, DataSpec, Domain, Shape, TrainingProgress

SMALL = {"dim": 16, "depth": 2, "heads": 2}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(shape: Shape, domain: str = "real", *, hide: dict[str, Any] | None = None, **options: Any) -> Any:
    kind = Domain.parse(domain)
    corruption: Corruption = build("corruption", hide or "none", shape=shape, domain=kind)
    encoder = build("encoder", {"name": "vit", **SMALL, **options}, shape=shape, domain=kind, corruption=corruption)
    return (encoder, corruption) if hide else encoder


def decoder(encoder: Encoder, z_shape: Shape, out_shape: Shape, **options: Any) -> Any:
    config = {"name": "vit", **SMALL, **options} if options else {"name": "mirror"}
    return build("decoder", config, z_shape=z_shape, out_shape=out_shape, encoder=encoder, build=build)


def tokens_by_hand(encoder: Any, x: Tensor) -> Tensor:
    """Return the tokens of ``(B, C, H, W)`` with position embeddings, patch by patch and row by row."""
    size_h, size_w = encoder.patch
    weight, bias = encoder.embed.weight.flatten(1), encoder.embed.bias
    pieces = [
        x[:, :, row : row + size_h, column : column + size_w].flatten(1) @ weight.T + bias
        for row in range(0, x.shape[2], size_h)
        for column in range(0, x.shape[3], size_w)
    ]
    return torch.stack(pieces, 1) + encoder.blocks.places


# -- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "patch", "grid"),
    [((1, 8, 8), 4, (2, 2)), ((3, 28, 28), 4, (7, 7)), ((2, 6, 9), (2, 3), (3, 3)), ((4, 20), 5, (4,)),
     ((1, 4, 6, 8), (2, 3, 4), (2, 2, 2)), ((1, 5, 7), 1, (5, 7))],
)  # fmt: skip
def test_every_size_that_the_patch_divides_is_encoded_and_decoded(shape: Shape, patch: Any, grid: Shape) -> None:
    encoder = make(shape, patch=patch)
    assert encoder.out_shape == (16, *grid)
    assert encoder(Batch(torch.randn(2, *shape))).shape == (2, 16, *grid)
    for z_shape in ((3,), (3, *grid)):
        assert decoder(encoder, z_shape, (2, *shape))(torch.randn(2, *z_shape)).shape == (2, 2, *shape)


def test_classes_become_tokens_of_one_hot_channels() -> None:
    encoder = make((12,), "category(5)", patch=3)
    assert encoder(Batch(torch.randint(5, (2, 12)))).shape == (2, 16, 4)
    assert decoder(encoder, (16, 4), (5, 12))(torch.randn(2, 16, 4)).shape == (2, 5, 12)


def test_it_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        encoder, corruption = make((3, 8, 8), hide={"name": "patches"})
        features = encoder(corruption(Batch(torch.randn(2, 3, 8, 8))))
        assert decoder(encoder, encoder.out_shape, (1, 3, 8, 8))(features).shape == (2, 1, 3, 8, 8)


# -- tokens ------------------------------------------------------------------------------------------------------


def test_features_equal_the_sequence_by_hand() -> None:
    encoder, x = make((3, 4, 6), patch=(2, 3)), torch.randn(5, 3, 4, 6)
    expected = encoder.blocks.layers(tokens_by_hand(encoder, x))
    torch.testing.assert_close(encoder(Batch(x)), expected.transpose(1, 2).reshape(5, 16, 2, 2))


def test_hidden_tokens_are_the_mask_token_and_others_the_gathered_sequence() -> None:
    encoder, corruption = make((3, 8, 6), hide={"name": "patches", "patch": 2, "ratio": 0.6})
    x = torch.randn(5, 3, 8, 6)
    seen = corruption(Batch(x))
    features = encoder(seen).flatten(2).transpose(1, 2)
    tokens = tokens_by_hand(encoder, x)
    for sample in range(5):
        visible = seen.extras["visible"][sample]
        alone = encoder.blocks.layers(tokens[sample, visible].unsqueeze(0))[0]
        torch.testing.assert_close(features[sample, visible], alone)
        others = [number for number in range(12) if number not in visible.tolist()]
        assert len(others) == 7
        assert torch.equal(features[sample, others], encoder.mask_token.expand(7, -1))


def test_hidden_patches_have_no_influence() -> None:
    encoder, corruption = make((1, 8, 8), hide={"name": "patches", "patch": 2})
    x = torch.randn(5, 1, 8, 8)
    torch.manual_seed(3)
    seen = corruption(Batch(x))
    hidden = seen.extras["hidden"]
    changed = Batch(torch.where(hidden, torch.randn_like(x), x), extras=seen.extras)
    torch.testing.assert_close(encoder(changed), encoder(seen), rtol=0, atol=0)
    heard = Batch(torch.where(hidden, x, x + 1), extras=seen.extras)
    assert not torch.allclose(encoder(heard), encoder(seen))


def test_a_clean_sample_is_encoded_completely() -> None:
    encoder, _ = make((1, 8, 8), hide={"name": "patches", "patch": 2})
    x = torch.randn(5, 1, 8, 8)
    expected = encoder.blocks.layers(tokens_by_hand(encoder, x))
    torch.testing.assert_close(encoder(Batch(x)), expected.transpose(1, 2).reshape(5, 16, 4, 4))


def test_missing_values_are_encoded_as_zero() -> None:
    encoder, x = make((1, 8, 8)), torch.randn(3, 1, 8, 8)
    mask = torch.rand(3, 1, 8, 8) < 0.7
    absent = x.masked_fill(~mask, float("nan"))
    torch.testing.assert_close(encoder(Batch(absent, mask=mask)), encoder(Batch(x.masked_fill(~mask, 0))))


@pytest.mark.parametrize("places", ["sincos", "learned"])
def test_features_depend_on_positions(places: str) -> None:
    encoder, x = make((1, 8, 8), places=places), torch.randn(2, 1, 8, 8)
    moved = x.roll(4, 2)
    assert not torch.allclose(encoder(Batch(moved)).roll(1, 2), encoder(Batch(x)), atol=1e-3)
    assert (encoder.blocks.places in set(encoder.parameters())) == (places == "learned")


@pytest.mark.parametrize(("grid", "dim"), [((7,), 8), ((3, 5), 8), ((2, 3, 4), 20)])
def test_position_embeddings_are_sines_and_cosines_of_each_coordinate(grid: Shape, dim: int) -> None:
    embeddings, num_frequencies = sinusoidal_positions(grid, dim), dim // (2 * len(grid))
    assert embeddings.shape == (math.prod(grid), dim)
    positions = torch.cartesian_prod(*(torch.arange(n) for n in grid)).reshape(-1, len(grid)).tolist()
    for number, coordinates in enumerate(positions):
        row: list[float] = []
        for coordinate in coordinates:
            angles = [coordinate / 10000 ** (i / num_frequencies) for i in range(num_frequencies)]
            row += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        torch.testing.assert_close(embeddings[number], torch.tensor(row + [0.0] * (dim - len(row))))
    assert embeddings.unique(dim=0).shape == embeddings.shape


def test_layers_have_different_initial_weights() -> None:
    first, second, _ = make((1, 8, 8)).blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert first.norm_first


# -- in a model --------------------------------------------------------------------------------------------------


def mae(**parts: Any) -> Any:
    config = {
        "corruption": {"name": "patches", "patch": 2}, "encoder": {"name": "vit", **SMALL},
        "latent": {"name": "point", "dim": 4, "spatial": True},
        "decoder": {"name": "vit", **SMALL}, "loss": "mse", "objective": {"name": "deterministic", "counts": "hidden"},
    }  # fmt: skip
    return assemble({**config, **parts}, DataSpec((1, 8, 8), Domain("unit")))


@pytest.mark.parametrize("latent", [{"name": "point", "dim": 4, "spatial": True}, {"name": "gaussian", "dim": 4}])
@pytest.mark.parametrize("places", ["sincos", "learned"])
def test_every_parameter_has_a_gradient(latent: dict[str, Any], places: str) -> None:
    objective = {"name": "elbo"} if latent["name"] == "gaussian" else {"name": "deterministic", "counts": "hidden"}
    vit = {"name": "vit", **SMALL, "places": places, "activation": {"name": "prelu"}}
    model = mae(latent=latent, objective=objective, encoder=vit, decoder=vit)
    model.terms(model(Batch(torch.rand(5, 1, 8, 8))), TrainingProgress()).total().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


def test_the_default_patch_is_that_of_the_encoder_or_the_corruption() -> None:
    model = mae()
    assert model.corruption.patch == model.encoder.patch == (2, 2)
    assert model.decoder.leave.kernel_size == (2, 2)
    assert make((1, 8, 8)).patch == (4, 4)
    assert isinstance(make((1, 8, 8)).embed, nn.Conv2d)


def test_a_condition_with_visible_patches() -> None:
    spec = DataSpec((1, 8, 8), Domain("unit"), condition=3)
    config = {
        "corruption": "patches",
        "encoder": {"name": "vit", **SMALL},
        "latent": {"name": "point", "spatial": True},
    }
    model = assemble({**config, "loss": "mse"}, spec)
    batch = Batch(torch.rand(3, 1, 8, 8), condition=torch.eye(3))
    assert model(batch).output.shape == (3, 1, 1, 8, 8)
    assert not torch.equal(model(batch).output, model(Batch(batch.x, condition=torch.eye(3).roll(1, 0))).output)


# -- errors ------------------------------------------------------------------------------------------------------


def message_of(call: Any) -> str:
    with pytest.raises(AeframeError) as error:
        call()
    return str(error.value)


def test_error_messages_of_wrong_options() -> None:
    assert message_of(lambda: make((30,))) == (
        "encoder vit needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape (30,); "
        "choose encoder=mlp"
    )
    assert message_of(lambda: make((1, 8, 10))) == (
        "encoder vit cannot cut positions (8, 10) into patches of [4, 4]; the nearest that fits is patch=[4, 5]"
    )
    assert message_of(lambda: make((1, 9, 9))) == (
        "encoder vit cannot cut positions (9, 9) into patches of [4, 4]; the nearest that fits is patch=3"
    )
    assert message_of(lambda: make((1, 8, 8), heads=3)) == (
        "encoder vit needs dim, depth, heads and expansion * dim of at least 1, and heads that divide dim, found "
        "dim 16, depth 2, heads 3 and expansion 4"
    )
    assert message_of(lambda: make((1, 8, 8), hide={"name": "patches", "patch": 2}, patch=4)) == (
        "encoder vit has patches of [4, 4], but corruption patches hides patches of [2, 2]; leave encoder.patch out, "
        "or set both alike"
    )
    assert message_of(lambda: decoder(make((1, 8, 8)), (4, 4, 4), (1, 1, 8, 8))) == (
        "decoder vit needs a flat z or one at the positions (2, 2) of its patches, found z of shape (4, 4, 4); set "
        "latent.spatial=false, or a patch with this grid"
    )
