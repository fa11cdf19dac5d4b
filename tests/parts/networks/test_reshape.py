"""The decoder that changes nothing but the shape: in front of it stands a latent that decodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.types import Batch, DataSpec, Domain

CONFIG: dict[str, Any] = {
    "encoder": {"name": "mlp", "hidden": []},
    "latent": {"name": "topk", "dim": 64, "k": 4},
    "decoder": "reshape",
    "loss": "mse",
}


def test_number_by_number() -> None:
    decoder = build("decoder", "reshape", z_shape=(6,), out_shape=(1, 2, 3))
    assert decoder(torch.arange(12).reshape(2, 6)).tolist() == [
        [[[0, 1, 2], [3, 4, 5]]],
        [[[6, 7, 8], [9, 10, 11]]],
    ]
    assert not list(decoder.parameters())


def test_a_dictionary_needs_no_other_decoder() -> None:
    model = assemble(CONFIG, DataSpec((3, 4, 5), Domain("real"))).eval()
    x = torch.randn(7, 3, 4, 5)
    p = model(Batch(x))
    z = p.latent.mean
    expected = (z @ model.latent.directions + model.latent.decode_bias).reshape(7, 3, 4, 5)
    torch.testing.assert_close(model.generate(z), expected)
    torch.testing.assert_close(p.reconstruction, (x - expected).square().flatten(1).sum(1))


@pytest.mark.parametrize(
    ("changes", "condition", "given", "asked"),
    [
        ({"latent": "point"}, 0, 16, 12),
        ({"encoder": {"name": "mlp", "hidden": [8]}}, 0, 8, 12),
        ({"loss": {"name": "gaussian", "variance": "learned"}}, 0, 12, 24),
        ({"condition_encoder": False}, 3, 15, 12),
    ],
    ids=["another latent", "a deeper encoder", "two outputs", "a condition"],
)
def test_other_sizes_are_refused(changes: dict[str, Any], condition: int, given: int, asked: int) -> None:
    with pytest.raises(AeframeError) as error:
        assemble({**CONFIG, **changes}, DataSpec((12,), Domain("real"), condition))
    assert str(error.value) == (
        f"decoder reshape changes nothing but the shape: it is given {given} numbers (z and the condition), and the "
        f"loss asks for {asked}; choose decoder=mlp, which fits any"
    )


def test_logits_of_classes_are_refused_though_they_are_as_many_as_the_one_hot_features() -> None:
    config = {**CONFIG, "loss": "categorical"}
    with pytest.raises(AeframeError) as error:
        assemble(config, DataSpec((12,), Domain("category", 5)))
    assert str(error.value) == (
        "decoder reshape gives one number for each element of x, and the loss asks for 5; choose decoder=mlp, which "
        "fits any"
    )
    assemble({**config, "decoder": "mlp"}, DataSpec((12,), Domain("category", 5)))
