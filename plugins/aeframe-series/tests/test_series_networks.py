"""The networks `shortcut_conv`: shapes, and the linear autoencoder that they contain."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.parts.activations import MakeActivation
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress
from aeframe_series.modality import Series
from aeframe_series.shortcut_conv import ShortcutConvDecoder, ShortcutConvEncoder

RELU = MakeActivation.named("relu")


def encoder_of(shape: tuple[int, ...], **options: object) -> ShortcutConvEncoder:
    return ShortcutConvEncoder(shape, Domain("real"), **{"activation": RELU, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 17), (1, 5, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("norm", ["none", "group", "layer"])
def test_shapes_for_sizes_that_are_odd(shape: tuple[int, ...], norm: str) -> None:
    encoder = encoder_of(shape, channels=(4, 8), norm=norm)
    features = encoder(Batch(torch.randn(2, *shape)))
    smallest = [-(-n // 4) for n in shape[1:]]
    assert features.shape[1:] == encoder.out_shape == (8, *smallest)
    config = encoder.mirrored_decoder_config()
    assert (config["name"], config["channels"], config["norm"]) == ("shortcut_conv", (8, 4), norm)
    for z_shape in ((6,), (6, *smallest)):
        decoder = build("decoder", config, z_shape=z_shape, out_shape=(1, *shape))
        assert isinstance(decoder, ShortcutConvDecoder)
        assert decoder(torch.randn(2, *z_shape)).shape == (2, 1, *shape)


def is_affine(function: object, size: tuple[int, ...]) -> bool:
    x, y = torch.randn(2, *size), torch.randn(2, *size)
    both, first, second, none = (function(v) for v in (x + y, x, y, torch.zeros_like(x)))  # type: ignore[operator]
    return torch.allclose(both + none, first + second, atol=1e-5)


def test_without_the_activations_the_networks_are_linear_and_without_rank_loss() -> None:
    torch.manual_seed(0)
    encoder = encoder_of((2, 16), channels=(16, 32))
    decoder = ShortcutConvDecoder((5,), (1, 2, 16), channels=(32, 16), activation=RELU)

    def encode(x: Tensor) -> Tensor:
        return encoder(Batch(x))

    assert not is_affine(encode, (2, 16))
    assert is_affine(decoder, (5,))  # The initial weights of the branch with activations are 0.
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert not is_affine(decoder, (5,))
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, torch.nn.Conv1d):  # The first half of the outputs goes through the activation.
                module.weight[: module.out_channels // 2] = 0
                module.bias[: module.out_channels // 2] = 0
        for module in decoder.modules():
            if isinstance(module, torch.nn.ConvTranspose1d):
                module.weight[: module.in_channels // 2] = 0
    assert is_affine(encode, (2, 16))
    assert is_affine(decoder, (5,))
    # The linear map of a window of 32 numbers has full rank, so that every linear code is possible.
    unit = torch.eye(32).reshape(32, 2, 16)
    assert torch.linalg.matrix_rank((encode(unit) - encode(torch.zeros(1, 2, 16))).flatten(1)) == 32
    assert torch.linalg.matrix_rank((decoder(torch.eye(5)) - decoder(torch.zeros(1, 5))).flatten(1)) == 5


def test_an_even_kernel_raises_an_error_with_the_name_of_the_network() -> None:
    with pytest.raises(AeframeError, match="encoder shortcut_conv needs an odd kernel such as 3 or 5, found 4"):
        encoder_of((1, 8), kernel=4)


def error_after(name: str, num: int) -> float:
    """Return the error of new windows, after `num` batches, of windows in a subspace of as many dimensions as the code
    has.
    """
    torch.manual_seed(0)
    parts = {"latent": {"name": "point", "dim": 6}, "decoder": "mirror", "loss": "mse", "objective": "deterministic"}
    config = {"activation": "relu", "corruption": "none", "prior": "normal", "penalties": {}, **parts}
    model = assemble({**config, "encoder": {"name": name, "channels": (8, 16)}}, DataSpec((2, 32), Domain("real")))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    directions = torch.linalg.qr(torch.randn(64, 6)).Q.T * 4
    for number in range(num):
        x = (torch.randn(64, 6) @ directions).reshape(-1, 2, 32)
        terms = model.terms(model(Batch(x)), TrainingProgress(batch=number, planned=num))
        optimizer.zero_grad()
        terms.total().mean().backward()
        optimizer.step()
    x = (torch.randn(256, 6) @ directions).reshape(-1, 2, 32)
    with torch.no_grad():
        return float((model.loss.mean(model(Batch(x)).output) - x).square().mean())


def test_the_default_network_learns_a_linear_subspace_in_fewer_batches() -> None:
    default = Series.defaults["encoder"]
    assert error_after(default, 100) < 0.2 * error_after("conv", 100)
