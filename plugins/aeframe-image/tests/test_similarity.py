"""SSIM and MS-SSIM as losses: comparison with torchmetrics, masks, several samples of z, and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.types import Batch, Domain
from aeframe_image import similarity
from aeframe_image.losses import MultiScaleSimilarity, StructuralSimilarity
from aeframe_image.similarity import SCALE_WEIGHTS, ms_ssim, scales_that_fit, ssim_maps

UNIT = Domain("unit")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pair(shape: tuple[int, ...], num: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.nn.functional.avg_pool2d(torch.rand(num, *shape), 3, 1, 1)
    return x, (x + 0.05 * torch.randn_like(x)).clamp(0, 1)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 20)])
def test_the_loss_ssim_is_one_minus_that_of_torchmetrics_times_the_elements(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    theirs = structural_similarity_index_measure(y, x, data_range=1.0, reduction="none")
    loss = StructuralSimilarity(shape, UNIT, activation="identity")
    torch.testing.assert_close(loss(y.unsqueeze(1), Batch(x)), (1 - theirs) * x[0].numel(), rtol=1e-4, atol=1e-4)  # type: ignore[operator]


def test_the_factor_of_contrast_and_structure_by_hand() -> None:
    # For a constant image the factor is c2 / (variance of the other image + c2).
    x, flat = torch.rand(1, 1, 11, 11), torch.full((1, 1, 11, 11), 0.5)
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-offsets.square() / 4.5)
    window = line[:, None] * line / line.sum() ** 2
    mean = (window * x[0, 0]).sum()
    variance = (window * x[0, 0] ** 2).sum() - mean**2
    # The window of the middle pixel covers the image.
    torch.testing.assert_close(ssim_maps(flat, x, 1.0)[1][0, 0, 5, 5], 9e-4 / (variance + 9e-4))


@pytest.mark.parametrize("size", [(28, 28), (8, 40), (128, 128)])
def test_small_images_are_blurred_by_matrices_as_by_convolutions(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)).requires_grad_()
    values, gradients = [], []
    for side in (max(size), max(size) - 1):
        monkeypatch.setattr(similarity, "_MATRIX_SIDE", side)
        values.append(torch.stack(ssim_maps(noisy, x, 1.0)))
        gradients += torch.autograd.grad(values[-1].square().sum(), noisy)
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("side", "scales"), [(48, 2), (96, 3)])
def test_ms_ssim_equals_that_of_torchmetrics(side: int, scales: int) -> None:
    x, y = pair((1, side, side), 2)
    # torchmetrics crops the border of the finer scales, which is done here for comparison.
    weights = tuple(w / sum(SCALE_WEIGHTS[:scales]) for w in SCALE_WEIGHTS[:scales])
    theirs = multiscale_structural_similarity_index_measure(
        y, x, data_range=1.0, betas=weights, normalize=None, reduction="none"
    )
    total, a, b = torch.ones(2), y, x
    for number, weight in enumerate(weights, start=1):
        similarity, structure = ssim_maps(a, b, 1.0)
        mean = similarity.flatten(1).mean(1) if number == scales else structure[..., 5:-5, 5:-5].flatten(1).mean(1)
        total, a, b = total * mean**weight, *(torch.nn.functional.avg_pool2d(each, 2) for each in (a, b))
    torch.testing.assert_close(total, theirs, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]
    torch.testing.assert_close(ms_ssim(y, x, 1.0, weights), total, rtol=0.02, atol=0)


def test_the_number_of_scales_that_fit() -> None:
    assert [scales_that_fit((1, side, side)) for side in (8, 21, 22, 28, 44, 175, 176, 512)] == [1, 1, 2, 2, 3, 4, 5, 5]
    x, y = pair((1, 20, 20))
    one = MultiScaleSimilarity((1, 20, 20), UNIT, activation="identity")(y.unsqueeze(1), Batch(x))
    torch.testing.assert_close(
        one, StructuralSimilarity((1, 20, 20), UNIT, activation="identity")(y.unsqueeze(1), Batch(x))
    )


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
@pytest.mark.parametrize("mix", [1.0, 0.84])
def test_the_loss_is_zero_for_equal_images_and_grows_with_noise(name: str, mix: float) -> None:
    loss = build(
        "loss", {"name": name, "mix": mix, "activation": "identity"}, shape=(3, 24, 24), domain=Domain("signed")
    )
    x = torch.rand(4, 3, 24, 24) * 2 - 1
    assert loss(x.unsqueeze(1), Batch(x)).abs().max() < 0.01
    near, far = (loss((x + s * torch.randn_like(x)).unsqueeze(1), Batch(x)) for s in (0.05, 0.5))
    assert (far > near).all()
    assert loss(torch.randn(2, 4, 1, 3, 24, 24), Batch(x)).shape == (2, 4)


def test_mix_adds_the_absolute_error_over_the_range() -> None:
    x, y = pair((1, 12, 12))
    half = StructuralSimilarity((1, 12, 12), UNIT, mix=0.5, activation="identity")(y.unsqueeze(1), Batch(x))
    pure = StructuralSimilarity((1, 12, 12), UNIT, activation="identity")(y.unsqueeze(1), Batch(x))
    torch.testing.assert_close(half, 0.5 * pure + 0.5 * (x - y).abs().flatten(1).sum(1))


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_masked_pixels_are_ignored_and_several_samples_are_supported(name: str) -> None:
    loss = build("loss", {"name": name, "mix": 0.84}, shape=(1, 24, 24), domain=UNIT)
    x, y = pair((1, 24, 24))
    mask = torch.ones(3, 1, 24, 24, dtype=torch.bool)
    mask[..., 16:] = False
    other_x, other_y = x.masked_fill(~mask, torch.nan), y.masked_fill(~mask, 7.0)
    masked = loss(other_y.unsqueeze(1), Batch(other_x, mask))
    torch.testing.assert_close(masked, loss(y.unsqueeze(1), Batch(x, mask)))
    assert (masked < loss(y.unsqueeze(1), Batch(x))).all()
    several = torch.stack([y.unsqueeze(1), x.unsqueeze(1)])
    torch.testing.assert_close(loss(several, Batch(x, mask))[0], masked)
    # The loss of a sample does not depend on its batch.
    torch.testing.assert_close(loss(y[:1].unsqueeze(1), Batch(other_x[:1], mask[:1])), masked[:1])


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
@pytest.mark.parametrize("start", ["noise", "flat", "opposite in part"])
def test_gradients_decrease_the_loss_of_dissimilar_images(name: str, start: str) -> None:
    loss = build("loss", name, shape=(1, 24, 24), domain=UNIT)
    x = torch.rand(2, 1, 24, 24).round()
    starts = {"noise": torch.rand_like(x), "flat": torch.full_like(x, 0.5), "opposite in part": 0.55 - 0.1 * x}
    output = starts[start].unsqueeze(1).requires_grad_()
    loss(output, Batch(x)).sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    before = loss(output, Batch(x))
    assert (loss(output - 0.1 * output.grad.sign(), Batch(x)) < before).all()


def test_invalid_options_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        StructuralSimilarity((12,), UNIT)
    assert str(caught.value) == (
        "loss ssim compares images (C, H, W) of at least 3 x 3 pixels, found the shape (12,); choose loss=mse"
    )
    with pytest.raises(AeframeError) as caught:
        MultiScaleSimilarity((1, 28, 28), UNIT, scales=3)
    assert str(caught.value) == (
        "loss ms_ssim has windows of 11 pixels, which fit on 28 x 28 pixels at 2 scales, found scales=3; leave it at "
        "null"
    )
    with pytest.raises(AeframeError) as caught:
        MultiScaleSimilarity((1, 28, 28), UNIT, mix=1.5)
    assert str(caught.value) == "loss ms_ssim needs mix in [0, 1], found 1.5; 0.84 is usual"
