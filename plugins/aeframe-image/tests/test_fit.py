"""Conversion to a size and a number of channels, compared with Pillow and with results computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aeframe import AeframeError
from aeframe_image.fit import Fit

RNG = np.random.default_rng(0)


def test_scaling_down_is_pillows_antialiased_bilinear() -> None:
    image = RNG.integers(0, 256, (30, 40), dtype=np.uint8)
    ours = Fit((12, 10), "resize")(torch.from_numpy(image)[None, None])[0, 0]
    theirs = np.asarray(Image.fromarray(image).resize((10, 12), Image.Resampling.BILINEAR))
    # Rounding to whole numbers may differ by one.
    assert (ours.int() - torch.tensor(theirs).int()).abs().max() <= 1


def test_crop_takes_the_centre_without_distortion() -> None:
    # Each pixel's value is its column.
    image = torch.arange(12, dtype=torch.uint8).expand(1, 1, 4, 12)
    assert Fit((4, 4), "crop")(image)[0, 0, 0].tolist() == [4, 5, 6, 7]
    tall = image.transpose(2, 3).contiguous()
    assert Fit((4, 4), "crop")(tall)[0, 0, :, 0].tolist() == [4, 5, 6, 7]


def test_resize_scales_the_full_image() -> None:
    image = torch.arange(12, dtype=torch.uint8).mul(10).expand(1, 1, 4, 12)
    row = Fit((4, 4), "resize")(image)[0, 0, 0].tolist()
    assert row[0] < 20
    assert row[-1] > 90


@pytest.mark.parametrize("floats", [True, False])
def test_pad_centres_the_full_undistorted_image(floats: bool) -> None:
    # 4 x 8 into 6 x 4: scaled by one half, with two rows of padding above and below.
    image = torch.arange(0, 256, 8, dtype=torch.uint8).reshape(1, 1, 4, 8)
    image = image / 255 if floats else image
    requires_fit = Fit((6, 4), "pad", padding=0.5)(image)
    assert requires_fit.dtype == image.dtype
    assert torch.equal(requires_fit[:, :, 2:4], Fit((2, 4), "resize")(image))
    grey = 0.5 if floats else 128
    assert (requires_fit[:, :, [0, 1, 4, 5]] == grey).all()
    # 2 x 1 into 4 x 6: scaled by two, which fills two columns of six.
    tall = Fit((4, 6), "pad")(image[:, :, :2, :1])
    assert torch.equal(tall[..., 2:4], Fit((4, 2), "resize")(image[:, :, :2, :1]))
    assert (tall[..., [0, 1, 4, 5]] == 0).all()


@pytest.mark.parametrize("padding", [-0.1, 255.0])
def test_a_padding_outside_0_to_1_is_refused(padding: float) -> None:
    with pytest.raises(AeframeError) as caught:
        Fit((4, 4), "pad", padding=padding)
    assert str(caught.value) == (
        "modality.padding is the brightness of the pixels that fit=pad adds and must be from 0 (black) to 1, found "
        f"{padding:g}"
    )


def test_grey_conversion_equals_pillows() -> None:
    image = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    ours = Fit(channels=1)(torch.from_numpy(image).permute(2, 0, 1)[None])[0, 0]
    theirs = np.asarray(Image.fromarray(image).convert("L"))
    assert (ours.int() - torch.tensor(theirs).int()).abs().max() <= 1


def test_colour_conversion_repeats_grey() -> None:
    image = torch.from_numpy(RNG.integers(0, 256, (2, 1, 3, 3), dtype=np.uint8))
    assert torch.equal(Fit(channels=3)(image), image.expand(-1, 3, -1, -1))


def test_images_of_the_right_shape_are_unchanged() -> None:
    image = torch.rand(2, 3, 5, 4)
    assert Fit((5, 4), "crop", 3)(image) is image
    assert Fit()(image) is image


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    how=st.sampled_from(["crop", "resize", "pad"]),
    channels=st.sampled_from([1, 3, None]),
    floats=st.booleans(),
)
def test_the_result_has_the_predicted_shape_and_range(shape, size, how, channels, floats) -> None:  # type: ignore[no-untyped-def]
    fit = Fit(size, how, channels)
    x = torch.rand(2, *shape)
    requires_fit = fit(x if floats else (x * 255).to(torch.uint8))
    assert requires_fit.shape == (2, *fit.shape(shape))
    assert requires_fit.dtype == (torch.float32 if floats else torch.uint8)
    assert 0 <= requires_fit.min() <= requires_fit.max() <= (1 if floats else 255)


@pytest.mark.parametrize("floats", [True, False])
def test_a_constant_image_stays_constant(floats: bool) -> None:
    x = torch.full((1, 3, 9, 7), 0.5) if floats else torch.full((1, 3, 9, 7), 77, dtype=torch.uint8)
    requires_fit = Fit((4, 4), "crop", 1)(x)
    assert torch.allclose(requires_fit.float(), x[:, :1, :4, :4].float(), atol=1e-6)


def test_the_result_does_not_depend_on_chunks() -> None:
    x = torch.from_numpy(RNG.integers(0, 256, (1030, 1, 3, 3), dtype=np.uint8))
    requires_fit = Fit((2, 2), "resize")(x)
    assert torch.equal(requires_fit[1029:], Fit((2, 2), "resize")(x[1029:]))
    assert len(requires_fit) == 1030
