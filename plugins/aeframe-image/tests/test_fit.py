"""Size and channels, against Pillow and by hand."""

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
    # Both are of whole numbers; they may round one step apart.
    assert (ours.int() - torch.tensor(theirs).int()).abs().max() <= 1


def test_crop_takes_the_centre_without_distortion() -> None:
    # Columns 0, 1, 2, ... so that a pixel says where it came from.
    image = torch.arange(12, dtype=torch.uint8).expand(1, 1, 4, 12)
    assert Fit((4, 4), "crop")(image)[0, 0, 0].tolist() == [4, 5, 6, 7]
    tall = image.transpose(2, 3).contiguous()
    assert Fit((4, 4), "crop")(tall)[0, 0, :, 0].tolist() == [4, 5, 6, 7]


def test_resize_squeezes_the_whole() -> None:
    image = torch.arange(12, dtype=torch.uint8).mul(10).expand(1, 1, 4, 12)
    row = Fit((4, 4), "resize")(image)[0, 0, 0].tolist()
    assert row[0] < 20
    assert row[-1] > 90


@pytest.mark.parametrize("floats", [True, False])
def test_pad_keeps_the_whole_undistorted_in_the_middle(floats: bool) -> None:
    # 4 x 8 into 6 x 4: half as large, with two rows above and two below.
    image = torch.arange(0, 256, 8, dtype=torch.uint8).reshape(1, 1, 4, 8)
    image = image / 255 if floats else image
    fitted = Fit((6, 4), "pad", padding=0.5)(image)
    assert fitted.dtype == image.dtype
    assert torch.equal(fitted[:, :, 2:4], Fit((2, 4), "resize")(image))
    grey = 0.5 if floats else 128
    assert (fitted[:, :, [0, 1, 4, 5]] == grey).all()
    # Upright, and larger: 2 x 1 into 4 x 6 fills two columns of six.
    tall = Fit((4, 6), "pad")(image[:, :, :2, :1])
    assert torch.equal(tall[..., 2:4], Fit((4, 2), "resize")(image[:, :, :2, :1]))
    assert (tall[..., [0, 1, 4, 5]] == 0).all()


@pytest.mark.parametrize("padding", [-0.1, 255.0])
def test_a_padding_that_is_no_brightness(padding: float) -> None:
    with pytest.raises(AeframeError) as caught:
        Fit((4, 4), "pad", padding=padding)
    assert str(caught.value) == (
        f"modality.padding is the brightness of what fit=pad adds, from 0 (black) to 1, found {padding:g}"
    )


def test_grey_of_colour_is_pillows() -> None:
    image = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    ours = Fit(channels=1)(torch.from_numpy(image).permute(2, 0, 1)[None])[0, 0]
    theirs = np.asarray(Image.fromarray(image).convert("L"))
    assert (ours.int() - torch.tensor(theirs).int()).abs().max() <= 1


def test_colour_of_grey_repeats_it() -> None:
    image = torch.from_numpy(RNG.integers(0, 256, (2, 1, 3, 3), dtype=np.uint8))
    assert torch.equal(Fit(channels=3)(image), image.expand(-1, 3, -1, -1))


def test_what_fits_is_left_as_it_is() -> None:
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
def test_the_shape_is_the_one_promised_and_values_stay_in_range(shape, size, how, channels, floats) -> None:  # type: ignore[no-untyped-def]
    fit = Fit(size, how, channels)
    x = torch.rand(2, *shape)
    fitted = fit(x if floats else (x * 255).to(torch.uint8))
    assert fitted.shape == (2, *fit.shape(shape))
    assert fitted.dtype == (torch.float32 if floats else torch.uint8)
    assert 0 <= fitted.min() <= fitted.max() <= (1 if floats else 255)


@pytest.mark.parametrize("floats", [True, False])
def test_a_flat_image_stays_flat(floats: bool) -> None:
    x = torch.full((1, 3, 9, 7), 0.5) if floats else torch.full((1, 3, 9, 7), 77, dtype=torch.uint8)
    fitted = Fit((4, 4), "crop", 1)(x)
    assert torch.allclose(fitted.float(), x[:, :1, :4, :4].float(), atol=1e-6)


def test_many_images_are_fitted_as_each_alone() -> None:
    x = torch.from_numpy(RNG.integers(0, 256, (1030, 1, 3, 3), dtype=np.uint8))
    fitted = Fit((2, 2), "resize")(x)
    assert torch.equal(fitted[1029:], Fit((2, 2), "resize")(x[1029:]))
    assert len(fitted) == 1030
