"""Encoding and decoding in tiles equals encoding and decoding the full image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import aeframe
from aeframe import AeframeError
from aeframe.cli.main import main
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress
from aeframe_image.modality import Image
from aeframe_image.tiles import Tiles

CONV = {"name": "conv", "channels": [6, 8], "kernel": 5}
RESNET = {"name": "resnet", "channels": [6, 8], "blocks": 1, "norm": "none"}
STAGES = {"name": "vqgan", "channels": [6, 8, 8], "blocks": 1, "attention": None, "norm": "position"}


def saved(encoder: Any, latent: Any = "point", shape: tuple[int, ...] = (3, 16, 16)) -> TrainedModel:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options = {"name": latent, "dim": 4, "spatial": True} if isinstance(latent, str) else latent
    config: dict[str, Any] = {"model": {"name": "ae"}, "encoder": encoder, "latent": options, "loss": "bernoulli"}
    spec = DataSpec(shape, Domain("unit"))
    net = assemble(config, spec).eval()
    sampler = build("sampler", {"name": "gmm", "covariance": "diag"}, model=net)
    return TrainedModel(net, Image(), sampler, config, spec, TrainingProgress(), torch.device("cpu"))


def full_image(model: TrainedModel, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return code and reconstruction of an image by a network with the same weights, built for its size."""
    net = assemble(model.config, replace(model.spec, shape=tuple(x.shape))).eval()
    net.load_state_dict(model.model.state_dict())
    with torch.no_grad():
        z = net.embed(Batch(x.unsqueeze(0))).mean
        return z[0], net.generate(z)[0]


@pytest.mark.parametrize("encoder", [CONV, RESNET, STAGES], ids=lambda each: str(each["name"]))
@pytest.mark.parametrize("size", [(96, 80), (61, 75)])
def test_tiles_equal_the_full_image(encoder: dict[str, Any], size: tuple[int, int]) -> None:
    model, x = saved(encoder), torch.rand(3, *size)
    tiles = Tiles(model, tile=16)
    z, y = full_image(model, x)
    torch.testing.assert_close(tiles.encode(x), z, rtol=0, atol=1e-5)
    torch.testing.assert_close(tiles.decode(z, size), y, rtol=0, atol=1e-5)
    torch.testing.assert_close(tiles.reconstruct(x), y, rtol=0, atol=1e-5)


def test_without_margin_tiles_differ_from_the_full_image() -> None:
    model, x = saved(STAGES), torch.rand(3, 64, 64)
    tiles = Tiles(model, tile=16)
    tiles.encoder_radius = tiles.decoder_radius = 0
    z, y = full_image(model, x)
    assert (tiles.encode(x) - z).abs().max() > 1e-3
    assert (tiles.decode(z, (64, 64)) - y).abs().max() > 1e-3


@pytest.mark.parametrize("latent", ["gaussian", {"name": "vq", "dim": 4, "codebook_size": 16}])
def test_gaussian_and_quantised_latents(latent: Any) -> None:
    model, x = saved(CONV, latent), torch.rand(3, 48, 56)
    torch.testing.assert_close(Tiles(model, tile=16).reconstruct(x), full_image(model, x)[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", [CONV, RESNET, STAGES], ids=lambda each: str(each["name"]))
def test_gradients_stay_within_the_receptive_field(encoder: dict[str, Any]) -> None:
    model = saved(encoder, shape=(3, 129, 129))
    tiles = Tiles(model)
    x = torch.rand(1, 3, 129, 129, requires_grad=True)
    z = model.model.embed(Batch(x)).mean
    middle = z.shape[2] // 2
    (gradient,) = torch.autograd.grad(z[0, :, middle, middle].sum(), x)
    rows = gradient[0].abs().sum((0, 2)).nonzero().flatten()
    centre = middle * tiles.stride
    assert centre - tiles.encoder_radius <= int(rows.min())
    assert int(rows.max()) <= centre + tiles.encoder_radius
    # The radius is not much too large.
    assert int(rows.max()) - int(rows.min()) > tiles.encoder_radius


GLOBAL = {
    "GroupNorm": ({**STAGES, "norm": "group"}, "point", "encoder"),
    "SelfAttention": ({**STAGES, "attention": 0}, "point", "encoder"),
    "ViTEncoder": ({"name": "vit"}, "point", "encoder"),
    "Flatten": ({**CONV, "dense": 8}, "point", "encoder"),
}


@pytest.mark.parametrize("module", GLOBAL)
def test_global_receptive_fields_are_refused(module: str) -> None:
    encoder, latent, network = GLOBAL[module]
    with pytest.raises(AeframeError) as caught:
        Tiles(saved(encoder, latent))
    assert str(caught.value) == (
        f"model 'ae' cannot be applied in tiles: the {module} in its {network} combines all positions; train one with "
        "encoder=conv, or with encoder=vqgan encoder.attention=null encoder.norm=position, and latent.spatial=true"
    )


def test_a_flat_code_is_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        Tiles(saved(CONV, {"name": "point", "dim": 4}))
    assert "in its decoder combines all positions" in str(caught.value)


def test_wrong_shapes_are_refused() -> None:
    tiles = Tiles(saved(CONV))
    with pytest.raises(AeframeError) as caught:
        tiles.decode(torch.zeros(4, 8, 8), (32, 40))
    assert str(caught.value) == "model 'ae' has codes (4, 8, 10) for images of 32 x 40 pixels, found (4, 8, 8)"
    with pytest.raises(AeframeError) as caught:
        tiles.encode(torch.zeros(1, 32, 32))
    assert str(caught.value) == "model 'ae' takes one image (3, H, W) at a time, found (1, 32, 32)"
    with pytest.raises(AeframeError) as caught:
        Tiles(saved(CONV), tile=2)
    assert str(caught.value) == "model 'ae' has a stride of 4 pixels, found tile=2; set tile to 4 or more"


def test_the_command_on_a_large_image(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = {"encoder": {"name": "conv", "channels": [4, 4]}, "latent": {"dim": 2, "spatial": True}}
    aeframe.fit(
        model="ae",
        modality="image",
        data="digits",
        folder=str(tmp_path / "run"),
        max_batches=2,
        pictures=False,
        **options,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (40, 52), dtype=np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "in.png")
    command = ["image-tiles", str(tmp_path / "run"), str(tmp_path / "in.png"), "--tile", "16"]
    assert main([*command, "-o", str(tmp_path / "out.png")]) == 0
    model = aeframe.load(tmp_path / "run")
    _, y = full_image(model, torch.from_numpy(pixels / 255).float().unsqueeze(0))
    written = np.asarray(Pillow.open(tmp_path / "out.png")) / 65535
    assert np.abs(written - y[0].numpy()).max() <= 1 / 255
