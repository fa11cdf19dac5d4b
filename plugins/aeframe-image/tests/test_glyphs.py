"""Images of printed characters: what is drawn, which factors they have, and which options are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.types import FACTORS
from aeframe_image.glyphs import CHARACTERS, FACES, Glyphs, draw, outlines
from aeframe_image.modality import Image


def test_each_font_draws_each_character_in_its_own_way() -> None:
    pictures = outlines(CHARACTERS)
    assert pictures.shape == (62, 20, 96, 96)
    # A box that a font draws for a character that it lacks would be the same for two characters.
    for face in range(len(FACES)):
        assert len(np.unique(pictures[:, face].reshape(62, -1), axis=0)) == 62, FACES[face]
    assert len(np.unique(pictures[CHARACTERS.index("a")].reshape(20, -1), axis=0)) == 20
    # The longer side has 72 pixels, and the character is in the middle.
    ink, longer = pictures > 0, np.zeros((62, 20))
    for line in (ink.any(3), ink.any(2)):
        first, last = line.argmax(2), 95 - line[..., ::-1].argmax(2)
        assert np.abs(first + last - 95).max() <= 2
        longer = np.maximum(longer, last - first + 1)
    assert longer.min() >= 71
    assert longer.max() == 72


class Fixed:
    """A generator of which each draw is in the middle of its range, but for draws that are named by their number."""

    def __init__(self, **draws: float) -> None:
        self.draws, self.number = draws, 0

    def uniform(self, low: float, high: float, shape: Any) -> Any:
        self.number += 1
        return np.full(shape, self.draws.get(f"draw{self.number}", (low + high) / 2))


def ratio_of(image: torch.Tensor) -> float:
    """Return width by height of what is drawn."""
    return float((image > 128).any(0).sum() / (image > 128).any(1).sum())


def test_a_rotation_turns_the_picture_and_no_draw_cuts_it_off() -> None:
    picture = outlines("L", ["sans"])[:, 0]
    as_drawn = draw(picture, 96, Fixed(draw4=0.75))[0].float()  # type: ignore[arg-type]
    assert (as_drawn - torch.from_numpy(picture[0].astype(np.float32))).abs().mean() < 4
    turned = draw(picture, 96, Fixed(draw1=np.pi / 2, draw4=0.75))[0].float()  # type: ignore[arg-type]
    assert min((torch.rot90(as_drawn, turns) - turned).abs().mean() for turns in (1, 3)) < 4
    wide = draw(picture, 96, Fixed(draw3=0.2, draw4=0.75))[0].float()  # type: ignore[arg-type]
    ratio = ratio_of(wide) / ratio_of(as_drawn)
    assert ratio == pytest.approx(np.exp(0.2), rel=0.05)
    images = draw(outlines(CHARACTERS).reshape(-1, 96, 96), 28, np.random.default_rng(0)).float()
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert (border > 100).any(1).float().mean() < 0.05


def test_labels_and_factors_reach_the_batch_and_repeat_with_the_seed() -> None:
    splits = Image().prepare(Glyphs(images=200, characters="aB7", seed=1))
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [160, 20, 20]
    assert splits.factor_names == ("character", "font")
    batch = splits.train.batch(torch.arange(160))
    assert batch.x.shape == (160, 1, 28, 28)
    assert torch.equal(batch.extras["label"], batch.extras[FACTORS][:, 0])
    assert batch.extras["label"].bincount().min() > 40
    assert batch.extras[FACTORS][:, 1].max() == 19
    again, other = (
        Image().prepare(Glyphs(images=200, characters="aB7", seed=seed)).train.batch(torch.arange(9)).x
        for seed in (1, 2)
    )
    assert torch.equal(again, batch.x[:9])
    assert not torch.equal(other, batch.x[:9])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"characters": "aä"}, "characters=... of different digits and letters of ASCII, found 'ä'"),
        ({"characters": "aba"}, "found 'aba'"),
        ({"characters": ""}, "found no character"),
        ({"images": 2}, "requires at least 3 images and size of at least 8, found 2 and 28"),
        ({"size": 4}, "found 10000 and 4"),
    ],
)  # fmt: skip
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        Glyphs(**options)
    assert message in str(caught.value)
