"""The perceptual distance: properties of a distance, the network's weights, and wrong files."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import restored_weights
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties.perceptual import Perceptual
from aeframe.training.optimizer_groups import check_ownership, make_optimizer_groups
from aeframe.types import Batch, DataSpec, Domain

IMAGE, FLAT = (1, 8, 8), (6,)
SMALL = {"name": "conv", "channels": (3, 4)}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(shape: tuple[int, ...] = IMAGE, **options: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "penalties": {"perceptual": options},
    }
    return assemble(config, DataSpec(shape, Domain("real")))


def penalty_of(model: Autoencoder) -> Perceptual:
    penalty = model.penalties["perceptual"]
    assert isinstance(penalty, Perceptual)
    return penalty


def distance(model: Autoencoder, x: Tensor, y: Tensor) -> Tensor:
    """Return the distance between x and a reconstruction y."""
    out = model(Batch(x))
    out.output = y.unsqueeze(1)
    return penalty_of(model)(model, out)


@pytest.mark.parametrize("shape", [IMAGE, FLAT, (2, 9), (1, 4, 4, 4)])
def test_it_is_a_distance(shape: tuple[int, ...]) -> None:
    model, x, y = model_with(shape), torch.randn(3, *shape), torch.randn(3, *shape, requires_grad=True)
    assert distance(model, x, x).tolist() == [0, 0, 0]
    value = distance(model, x, y)
    assert (value > 0).all()
    torch.testing.assert_close(distance(model, y.detach(), x), value)
    (gradient,) = torch.autograd.grad(value.sum(), y)
    assert gradient.flatten(1).any(1).all()


def test_by_hand_on_a_linear_network() -> None:
    # The features are x itself; the squared distance of unit vectors is 2 - 2 cos.
    model = model_with(FLAT, network={"name": "mlp", "hidden": ()})
    x, y = torch.randn(3, *FLAT), torch.randn(3, *FLAT)
    torch.testing.assert_close(distance(model, x, y), 2 - 2 * torch.cosine_similarity(x, y))


def test_each_stage_is_a_mean_over_positions() -> None:
    model, x, y = model_with(network=SMALL), torch.randn(2, *IMAGE), torch.randn(2, *IMAGE)
    layers = penalty_of(model).network.layers
    one, other = x, y
    expected = torch.zeros(2)
    for stage in (layers[:2], layers[2:]):
        one, other = stage(one), stage(other)
        difference = torch.nn.functional.normalize(one, dim=1) - torch.nn.functional.normalize(other, dim=1)
        expected += difference.square().sum(1).mean((1, 2))
    torch.testing.assert_close(distance(model, x, y), expected)


def test_the_network_is_frozen_and_in_no_optimizer_group() -> None:
    model = model_with(network={"name": "mlp", "hidden": (6, 4), "dropout": 0.5})
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    check_ownership(model, groups)
    assert not any(parameter.requires_grad for parameter in penalty_of(model).network.parameters())
    out = model.train()(Batch(torch.randn(3, *IMAGE)))
    # Its dropout is off, though the model is in training mode.
    first = penalty_of(model)(model, out)
    torch.testing.assert_close(penalty_of(model)(model, out), first)
    first.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.decoder.parameters())


def test_random_weights_depend_on_its_seed_only() -> None:
    first = penalty_of(model_with()).state_dict()
    after = torch.rand(3)
    torch.manual_seed(7)
    second = penalty_of(model_with()).state_dict()
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    other = penalty_of(model_with(seed=1)).state_dict()
    assert not any(torch.equal(other[name], first[name]) for name in first if name.endswith("0.weight"))
    # The other random weights of the model are the same without the penalty.
    torch.manual_seed(0)
    assemble(
        {"encoder": {"name": "mlp", "hidden": (5,)}, "latent": {"name": "point", "dim": 3}, "loss": "mse"},
        DataSpec(IMAGE, Domain("real")),
    )
    assert torch.equal(torch.rand(3), after)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Any]:
    """Return options for a network that was saved within a larger model, under a prefix."""
    network = penalty_of(model_with(network=SMALL, seed=3)).network
    path = tmp_path / "network.safetensors"
    save_file({f"model.encoder.{name}": value for name, value in network.state_dict().items()}, path)
    return {
        "network": SMALL,
        "file": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest().upper(),
        "prefix": "model.encoder.",
    }


def sentence(**options: Any) -> str:
    """Return the error from building the penalty."""
    with pytest.raises(AeframeError) as error:
        model_with(**options)
    return str(error.value)


def test_weights_are_read_from_the_file(saved: dict[str, Any]) -> None:
    x, y = torch.randn(2, *IMAGE), torch.randn(2, *IMAGE)
    expected = distance(model_with(network=SMALL, seed=3), x, y)
    torch.testing.assert_close(distance(model_with(**saved), x, y), expected)


def test_a_saved_model_needs_no_file(saved: dict[str, Any]) -> None:
    x, y = torch.randn(2, *IMAGE), torch.randn(2, *IMAGE)
    model = model_with(**saved)
    Path(saved["file"]).unlink()
    with restored_weights():
        opened = copy.deepcopy(model_with(**saved))
    opened.load_state_dict(model.state_dict())
    torch.testing.assert_close(distance(opened, x, y), distance(model, x, y))


def test_another_file_is_refused(saved: dict[str, Any]) -> None:
    digest = saved["sha256"].lower()
    assert sentence(**{**saved, "sha256": "0" * 64}) == (
        f"penalty perceptual reads its network from '{saved['file']}' with sha256 {digest}, expected {'0' * 64}; "
        "if this is the right file, set penalties.perceptual.sha256 to its hash"
    )
    assert sentence(**{**saved, "sha256": None}) == (
        f"penalty perceptual reads its network from '{saved['file']}' with sha256 {digest}, "
        "expected one in the config; if this is the right file, set penalties.perceptual.sha256 to its hash"
    )


def test_a_missing_file_is_refused(saved: dict[str, Any]) -> None:
    Path(saved["file"]).unlink()
    assert sentence(**saved) == (
        f"penalty perceptual reads its network from '{saved['file']}', which does not exist; "
        "correct penalties.perceptual.file"
    )


def test_a_file_of_another_network_is_refused(saved: dict[str, Any]) -> None:
    assert sentence(**{**saved, "network": {"name": "conv", "channels": (5, 4)}}) == (
        f"penalty perceptual reads its network from '{saved['file']}', where tensor 'model.encoder.layers.0.bias' has "
        "shape (3,), but the network's has (5,); set penalties.perceptual.network to the saved one"
    )


def test_a_file_of_another_format_is_refused(saved: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    message = sentence(**{**saved, "file": str(path), "sha256": digest})
    assert message.startswith(f"penalty perceptual reads its network from '{path}', which is not a safetensors file (")
    assert message.endswith("); convert its weights")


def test_a_dry_run_checks_the_file_and_loads_no_weights(saved: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = model_with(**saved)
        distance(model, torch.zeros(2, *IMAGE), torch.zeros(2, *IMAGE))
        assert "with sha256" in sentence(**{**saved, "sha256": "0" * 64})
