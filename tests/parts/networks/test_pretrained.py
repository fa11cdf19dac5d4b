"""The encoder from a file: its weights, that it stays frozen, saved models, and wrong files."""

from __future__ import annotations

import copy
import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import aeframe
from aeframe.errors import AeframeError
from aeframe.factory import build, restored_weights
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.networks.pretrained import PretrainedEncoder
from aeframe.training.optimizer_groups import check_ownership, make_optimizer_groups
from aeframe.types import Batch, DataSpec, Domain

IMAGE = (1, 8, 8)
SMALL = {"name": "conv", "channels": (3, 4), "activation": "relu"}


@pytest.fixture(autouse=True)
def _own_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("AEFRAME_ARCHIVES", str(tmp_path / "archives"))


class Tokens(nn.Module):
    """Maps an image to a class token and one token for each 4 x 4 patch, like a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 5, 4, stride=4)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.drop(self.norm(self.embed(x))).flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def exported(network: nn.Module, path: Path, shape: tuple[int, ...] = IMAGE, *, dynamic: bool = True) -> dict[str, Any]:
    """Write an archive, and return the options that name it."""
    dimensions = ({0: torch.export.Dim.AUTO},) if dynamic else None
    archive = torch.export.export(network.eval(), (torch.zeros(2, *shape),), dynamic_shapes=dimensions)
    torch.export.save(archive, path)
    return {"path": str(path), "sha256": digest_of(path)}


@pytest.fixture
def archive(tmp_path: Path) -> dict[str, Any]:
    """Return options for an archive of a network with a batch norm and dropout."""
    return exported(Tokens(), tmp_path / "tokens.pt2")


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Any]:
    """Return options for the weights of an encoder that were saved within a larger model, under a prefix."""
    network = encoder_part(SMALL)
    path = tmp_path / "network.safetensors"
    save_file({f"model.encoder.{name}": value for name, value in network.state_dict().items()}, path)
    return {"path": str(path), "sha256": digest_of(path).upper(), "architecture": SMALL, "prefix": "model.encoder."}


def encoder_part(config: dict[str, Any], spec: DataSpec | None = None) -> Any:
    from aeframe.parts.activations import MakeActivation
    from aeframe.parts.corruptions import NoCorruption

    spec = spec or DataSpec(IMAGE, Domain("unit"))
    return build(
        "encoder",
        config,
        shape=spec.shape,
        domain=spec.domain,
        spec=spec,
        corruption=NoCorruption(),
        activation=MakeActivation.named("relu"),
    )


def encoder_with(spec: DataSpec | None = None, **options: Any) -> PretrainedEncoder:
    encoder = encoder_part({"name": "pretrained", **options}, spec)
    assert isinstance(encoder, PretrainedEncoder)
    return encoder


def model_with(**options: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "pretrained", **options},
        "latent": {"name": "identity", "noise": 0.5},
        "decoder": "mlp",
        "loss": "mae",
        "penalties": {"feature_consistency": {}},
    }
    return assemble(config, DataSpec(IMAGE, Domain("unit")))


def sentence(**options: Any) -> str:
    """Return the error from building the encoder."""
    with pytest.raises(AeframeError) as error:
        encoder_with(**options)
    return str(error.value)


# -- features ------------------------------------------------------------------------------------------------------


def test_weights_of_a_registered_encoder_are_read_from_safetensors(weights: dict[str, Any]) -> None:
    torch.manual_seed(0)
    original, x = encoder_part(SMALL), torch.rand(3, *IMAGE)
    encoder = encoder_with(**weights)
    assert torch.equal(encoder(Batch(x)), original(Batch(x)))
    assert encoder.out_shape == original.out_shape == (4, 2, 2)
    mirrored = encoder.mirrored_decoder_config()
    assert mirrored is not None
    assert (mirrored["name"], mirrored["channels"]) == ("conv", (4, 3))


def test_an_archive_is_the_exported_network_in_evaluation_mode(archive: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network, x = Tokens().eval(), torch.rand(3, *IMAGE)
    encoder = encoder_with(**archive).train()
    assert encoder.out_shape == (5, 5)
    torch.testing.assert_close(encoder(Batch(x)), network(x))
    assert encoder.mirrored_decoder_config() is None


def test_tokens_are_arranged_as_positions(archive: dict[str, Any]) -> None:
    encoder, x = encoder_with(**archive, tokens="positions", skip_tokens=1), torch.rand(3, *IMAGE)
    tokens = encoder_with(**archive)(Batch(x))
    assert encoder.out_shape == (5, 2, 2)
    features = encoder(Batch(x))
    # The patch in row 1 and column 0 is the token after the class token and the two patches of row 0.
    assert torch.equal(features[:, :, 1, 0], tokens[:, 3])
    assert encoder_with(**archive, skip_tokens=1).out_shape == (4, 5)


def test_x_is_normalised_by_channel_and_masked_values_are_zero_after_it(tmp_path: Path) -> None:
    spec = DataSpec((2, 4, 4), Domain("real"))
    options = exported(nn.Identity(), tmp_path / "identity.pt2", spec.shape)
    encoder, x = encoder_with(spec, **options, mean=(1.0, 2.0), std=(0.5, 4.0)), torch.rand(3, 2, 4, 4)
    expected = (x - torch.tensor([1.0, 2.0]).reshape(2, 1, 1)) / torch.tensor([0.5, 4.0]).reshape(2, 1, 1)
    torch.testing.assert_close(encoder(Batch(x)), expected)
    mask = torch.rand(3, 2, 4, 4) > 0.5
    with_nan = x.masked_fill(~mask, float("nan"))
    torch.testing.assert_close(encoder(Batch(with_nan, mask)), expected * mask)


def test_images_are_resized(archive: dict[str, Any]) -> None:
    large = DataSpec((1, 16, 16), Domain("unit"))
    x = torch.full((2, 1, 16, 16), 0.25)
    small = encoder_with(**archive)(Batch(torch.full((2, *IMAGE), 0.25)))
    torch.testing.assert_close(encoder_with(large, **archive, size=(8, 8))(Batch(x)), small)


def test_a_perceptual_penalty_takes_an_archive(archive: dict[str, Any]) -> None:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "penalties": {"perceptual": {"network": {"name": "pretrained", **archive}}},
    }
    model = assemble(config, DataSpec(IMAGE, Domain("unit")))
    out = model.train()(Batch(torch.rand(3, *IMAGE)))
    model.penalties["perceptual"](model, out).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.decoder.parameters())


# -- frozen --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["archive", "weights"])
def test_a_frozen_encoder_is_not_trained(file: str, request: pytest.FixtureRequest) -> None:
    model = model_with(**request.getfixturevalue(file)).train()
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1, "weight_decay": 0.1})
    check_ownership(model, groups)
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        out = model(Batch(torch.rand(4, *IMAGE)))
        (out.reconstruction + model.penalties["feature_consistency"](model, out)).mean().backward()
        groups[0].optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("encoder."))
    assert any(name.startswith("encoder.") for name in before)
    assert all(not torch.equal(after[name], before[name]) for name in before if name.startswith("decoder."))


@pytest.mark.parametrize("file", ["archive", "weights"])
def test_an_encoder_that_is_not_frozen_is_trained(file: str, request: pytest.FixtureRequest) -> None:
    model = model_with(**request.getfixturevalue(file), freeze=False).train()
    check_ownership(model, make_optimizer_groups(model, {"name": "sgd", "lr": 0.1}))
    model(Batch(torch.rand(4, *IMAGE))).reconstruction.mean().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def test_dropout_of_a_frozen_architecture_is_off(tmp_path: Path) -> None:
    config = {"name": "mlp", "hidden": (6, 4), "dropout": 0.5}
    path = tmp_path / "mlp.safetensors"
    save_file(encoder_part(config).state_dict(), path)
    options = {"path": str(path), "sha256": digest_of(path), "architecture": config}
    batch = Batch(torch.rand(5, *IMAGE))
    frozen, trained = encoder_with(**options).train(), encoder_with(**options, freeze=False).train()
    assert torch.equal(frozen(batch), frozen(batch))
    assert not torch.equal(trained(batch), trained(batch))


# -- saved models --------------------------------------------------------------------------------------------------


def test_weights_of_a_registered_encoder_are_saved_with_the_model(weights: dict[str, Any]) -> None:
    model, batch = model_with(**weights).eval(), Batch(torch.rand(3, *IMAGE))
    Path(weights["path"]).unlink()
    with restored_weights():
        opened = model_with(**weights).eval()
    opened.load_state_dict(model.state_dict())
    assert torch.equal(opened.encode_features(batch), model.encode_features(batch))


def test_a_saved_model_opens_with_the_copy_of_its_archive(archive: dict[str, Any], tmp_path: Path) -> None:
    run = aeframe.fit(
        data="digits",
        model="ae",
        encoder={"name": "pretrained", **archive},
        latent="identity",
        decoder="mlp",
        max_epochs=1,
        folder=str(tmp_path / "run"),
        overrides=["pictures=false", "trainer.threads=1", "sampler.covariance=diag"],
    )
    x = torch.rand(3, *IMAGE)
    torch.manual_seed(0)
    expected = Tokens().eval()(x)
    Path(archive["path"]).unlink()
    torch.testing.assert_close(aeframe.load(run.folder).encode(x), expected)
    kept = tmp_path / "archives" / f"{archive['sha256']}.pt2"
    kept.rename(tmp_path / "elsewhere.pt2")
    with pytest.raises(AeframeError) as error:
        aeframe.load(run.folder)
    assert str(error.value) == (
        f"model '{run.folder / 'model'}': encoder pretrained needs the torch.export archive 'tokens.pt2' with sha256 "
        f"{archive['sha256']}, which a saved model does not contain; if you trust it, copy it to '{kept}'"
    )


def test_the_path_in_a_saved_model_is_not_opened(archive: dict[str, Any]) -> None:
    # The archive exists there and has the right hash, but the user has never named it: somebody else's model has.
    with restored_weights():
        assert "if you trust it, copy it to" in sentence(**archive)
        message = sentence(path=archive["path"], sha256="../../tokens")
    assert message == (
        "encoder pretrained needs encoder.sha256, the SHA-256 of 'tokens.pt2' in 64 hexadecimal digits, found "
        "'../../tokens'; copy the saved model again"
    )


def test_a_changed_copy_is_refused(archive: dict[str, Any], tmp_path: Path) -> None:
    encoder_with(**archive)
    kept = tmp_path / "archives" / f"{archive['sha256']}.pt2"
    kept.unlink()
    kept.write_bytes(b"changed")
    with restored_weights():
        assert f"reads its network from '{kept}' with sha256" in sentence(**archive)


def test_a_folder_that_cannot_be_written_is_a_warning(
    archive: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("AEFRAME_ARCHIVES", str(tmp_path / "file" / "archives"))
    with caplog.at_level(logging.WARNING, "aeframe"):
        encoder_with(**archive)
    assert "copy it before you open the saved model" in caplog.text


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["archive", "weights"])
def test_a_missing_or_changed_file_is_refused(file: str, request: pytest.FixtureRequest) -> None:
    options = request.getfixturevalue(file)
    start = f"encoder pretrained reads its network from '{options['path']}'"
    digest = options["sha256"].lower()
    assert sentence(**{**options, "sha256": "0" * 64}) == (
        f"{start} with sha256 {digest}, expected {'0' * 64}; if this is the right file, set encoder.sha256 to its hash"
    )
    assert sentence(**{**options, "sha256": None}) == (
        f"{start} with sha256 {digest}, expected one in the config; "
        "if this is the right file, set encoder.sha256 to its hash"
    )
    Path(options["path"]).unlink()
    assert sentence(**options) == f"{start}, which does not exist; correct encoder.path"


def test_weights_of_another_network_are_refused(weights: dict[str, Any]) -> None:
    assert sentence(**{**weights, "architecture": {**SMALL, "channels": (5, 4)}}) == (
        f"encoder pretrained reads its network from '{weights['path']}', where tensor 'model.encoder.layers.0.bias' "
        "has shape (3,), but the network's has (5,); set encoder.architecture to the saved one"
    )


def test_tensors_can_be_ignored(weights: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "more.safetensors"
    save_file({**encoder_part(SMALL).state_dict(), "mask_token": torch.zeros(3)}, path)
    options = {"path": str(path), "sha256": digest_of(path), "architecture": SMALL}
    assert "tensor 'mask_token' has shape (3,), but the network's has None" in sentence(**options)
    assert encoder_with(**options, ignore=("mask_token",)).out_shape == (4, 2, 2)


def test_each_format_is_named_if_the_other_is_expected(weights: dict[str, Any], archive: dict[str, Any]) -> None:
    assert sentence(path=weights["path"], sha256=weights["sha256"]) == (
        f"encoder pretrained reads its network from '{weights['path']}', which is not an archive of torch.export; "
        "write it with torch.export.save, or set encoder.architecture if it is a safetensors file"
    )
    message = sentence(**archive, architecture=SMALL)
    assert message.startswith(
        f"encoder pretrained reads its network from '{archive['path']}', which is not a safetensors file ("
    )


def test_an_archive_for_another_shape_is_refused(archive: dict[str, Any], tmp_path: Path) -> None:
    spec = DataSpec((1, 12, 8), Domain("unit"))
    assert sentence(spec=spec, **archive) == (
        f"encoder pretrained: the network in '{archive['path']}' does not take x of shape (1, 1, 12, 8) (Guard failed: "
        "x.size()[2] == 8); export it for this shape with a dynamic first axis, or set encoder.size"
    )
    fixed = exported(Tokens(), tmp_path / "fixed.pt2", dynamic=False)
    assert "does not take x of shape (1, 1, 8, 8) (Guard failed: x.size()[0] == 2)" in sentence(**fixed)


def test_an_output_that_is_no_tensor_of_features_is_refused(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x + 1

    options = exported(Pair(), tmp_path / "pair.pt2")
    assert sentence(**options) == (
        f"encoder pretrained expects that the network in '{options['path']}' returns features (1, C, ...) of 1 "
        "samples, found an output of type tuple; export a network that returns one such tensor"
    )


def test_tokens_that_are_no_square_are_refused(archive: dict[str, Any], weights: dict[str, Any]) -> None:
    assert sentence(**archive, tokens="positions") == (
        "encoder pretrained arranges tokens as a square, found 5 tokens; set encoder.skip_tokens to the number of "
        "class and register tokens, or encoder.tokens=none"
    )
    assert sentence(**weights, tokens="positions") == (
        "encoder pretrained needs tokens (T, C) with T > encoder.skip_tokens=0, found features of shape (4, 2, 2); "
        "leave out encoder.tokens and encoder.skip_tokens"
    )


def test_a_condition_and_a_wrong_normalisation_are_refused(archive: dict[str, Any]) -> None:
    config = {"encoder": {"name": "pretrained", **archive}, "latent": "identity", "decoder": "mlp", "loss": "mse"}
    spec = DataSpec(IMAGE, Domain("unit"), condition=3)
    with pytest.raises(AeframeError, match=r"without a condition, found .*; set condition_encoder=false"):
        assemble(config, spec)
    assert assemble({**config, "condition_encoder": False}, spec).encoder.out_shape == (5, 5)
    assert sentence(**archive, mean=(0.1, 0.2)) == (
        "encoder pretrained needs encoder.mean as one number, or one for each of the 1 channels, found (0.1, 0.2)"
    )
    assert "encoder.std as one positive number" in sentence(**archive, std=0.0)


def test_a_dry_run_needs_no_memory_for_features(archive: dict[str, Any], tmp_path: Path) -> None:
    with torch.device("meta"):
        model = model_with(**archive)
        out = model(Batch(torch.zeros(2, *IMAGE)))
        model.penalties["feature_consistency"](model, out)
        assert "with sha256" in sentence(**{**archive, "sha256": "0" * 64})
    assert out.output.is_meta
    assert not (tmp_path / "archives").exists()
