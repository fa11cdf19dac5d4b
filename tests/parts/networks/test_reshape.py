"""The decoder reshape, after latent spaces that decode by themselves."""

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


def test_values_are_kept() -> None:
    decoder = build("decoder", "reshape", z_shape=(6,), out_shape=(1, 2, 3))
    assert decoder(torch.arange(12).reshape(2, 6)).tolist() == [
        [[[0, 1, 2], [3, 4, 5]]],
        [[[6, 7, 8], [9, 10, 11]]],
    ]
    assert not list(decoder.parameters())


def test_a_sparse_dictionary_with_reshape() -> None:
    model = assemble(CONFIG, DataSpec((3, 4, 5), Domain("real"))).eval()
    x = torch.randn(7, 3, 4, 5)
    p = model(Batch(x))
    z = p.latent.mean
    expected = (z @ model.latent.directions + model.latent.decode_bias).reshape(7, 3, 4, 5)
    torch.testing.assert_close(model.generate(z), expected)
    torch.testing.assert_close(p.reconstruction, (x - expected).square().flatten(1).sum(1))


@pytest.mark.parametrize(
    ("changes", "condition", "inputs", "outputs"),
    [
        ({"latent": "point"}, 0, 16, 12),
        ({"encoder": {"name": "mlp", "hidden": [8]}}, 0, 8, 12),
        ({"loss": {"name": "gaussian", "variance": "learned"}}, 0, 12, 24),
        ({"condition_encoder": False}, 3, 15, 12),
    ],
    ids=["another latent", "a deeper encoder", "two outputs", "a condition"],
)
def test_other_sizes_are_errors(changes: dict[str, Any], condition: int, inputs: int, outputs: int) -> None:
    with pytest.raises(AeframeError) as error:
        assemble({**CONFIG, **changes}, DataSpec((12,), Domain("real"), condition))
    assert str(error.value) == (
        f"decoder reshape needs as many inputs as outputs, found {inputs} inputs (z and condition) and {outputs} "
        "outputs; choose decoder=mlp, which has no such limit"
    )


def test_logits_of_classes_are_an_error_although_the_sizes_agree() -> None:
    config = {**CONFIG, "loss": "categorical"}
    with pytest.raises(AeframeError) as error:
        assemble(config, DataSpec((12,), Domain("category", 5)))
    assert str(error.value) == (
        "decoder reshape has one output for each element of x, found a loss that requires 5; choose decoder=mlp, which "
        "has no such limit"
    )
    assemble({**config, "decoder": "mlp"}, DataSpec((12,), Domain("category", 5)))
