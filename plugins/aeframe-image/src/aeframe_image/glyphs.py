"""Images of printed characters in the fonts of matplotlib, and the dataset `glyphs`."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_image.pictures import RawSplits, Stack

_FILES = {
    "sans": "DejaVuSans", "sans bold": "DejaVuSans-Bold", "sans italic": "DejaVuSans-Oblique",
    "sans bold italic": "DejaVuSans-BoldOblique", "mono": "DejaVuSansMono", "mono bold": "DejaVuSansMono-Bold",
    "mono italic": "DejaVuSansMono-Oblique", "mono bold italic": "DejaVuSansMono-BoldOblique",
    "serif": "DejaVuSerif", "serif bold": "DejaVuSerif-Bold", "serif italic": "DejaVuSerif-Italic",
    "serif bold italic": "DejaVuSerif-BoldItalic", "times": "STIXGeneral", "times bold": "STIXGeneralBol",
    "times italic": "STIXGeneralItalic", "times bold italic": "STIXGeneralBolIta", "roman": "cmr10",
    "roman bold": "cmb10", "gothic": "cmss10", "typewriter": "cmtt10",
}  # fmt: skip
FACES = tuple(_FILES)
"""Names of the fonts: DejaVu (sans, mono, serif), STIX (times) and Computer Modern (roman, gothic, typewriter)."""
CHARACTERS = string.digits + string.ascii_letters
_SIZE = 96
"""Height and width of a character before it is scaled."""
_ROTATION, _SLANT, _STRETCH = np.pi / 15, 0.2, 0.2
"""Largest rotation (12 degrees), slant (a fifth of the height), and logarithm of the ratio of width and height."""
_SCALES = (0.6, 0.75)
"""Range of the longer side of a character, in widths of the image."""
_CHUNK = 1024
"""Number of images that are drawn at a time."""


def outlines(characters: str, faces: Sequence[str] = FACES) -> NDArray[np.uint8]:
    """Return each character in each font, white on black and centred ``(characters, faces, 96, 96)``.

    The longer side of each character has 72 pixels.
    """
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(get_data_path()) / "fonts" / "ttf"
    pictures = np.zeros((len(characters), len(faces), _SIZE, _SIZE), np.uint8)
    for column, face in enumerate(faces):
        font = ImageFont.truetype(str(folder / f"{_FILES[face]}.ttf"), 200)
        for row, character in enumerate(characters):
            drawn = Image.new("L", (600, 600))
            ImageDraw.Draw(drawn).text((200, 150), character, fill=255, font=font)
            # The box of the font includes the space beside the character.
            drawn = drawn.crop(drawn.getbbox())
            ratio = 0.75 * _SIZE / max(drawn.size)
            width, height = (max(1, round(ratio * side)) for side in drawn.size)
            small = np.asarray(drawn.resize((width, height), Image.Resampling.BOX))
            x, y = (_SIZE - width) // 2, (_SIZE - height) // 2
            pictures[row, column, y : y + height, x : x + width] = small
    return pictures


def draw(
    pictures: NDArray[np.uint8], size: int, random: np.random.Generator, chosen: NDArray[np.int64] | None = None
) -> Tensor:
    """Return pictures that are rotated, slanted, stretched, scaled and moved at random ``(N, size, size)``.

    Rotations are up to 12 degrees, slants up to a fifth of the height, the ratio of width and height is 0.82 to 1.22,
    and the longer side is 0.6 to 0.75 widths of the image. Grey levels are means over 2 x 2 points of a pixel; uint8.

    Args:
        pictures: White characters on black ``(P, 96, 96)``.
        size: Height and width of an image.
        random: Generator of what is drawn.
        chosen: The picture ``(N,)`` of each image, by its number; by default each picture once, in order.
    """
    chosen = np.arange(len(pictures)) if chosen is None else chosen
    images = torch.empty(len(chosen), size, size, dtype=torch.uint8)
    for start in range(0, len(chosen), _CHUNK):
        chunk = torch.from_numpy(pictures[chosen[start : start + _CHUNK]])
        num = len(chunk)
        turn, slant = random.uniform(-_ROTATION, _ROTATION, num), random.uniform(-_SLANT, _SLANT, num)
        stretch = np.exp(random.uniform(-_STRETCH, _STRETCH, num) / 2)
        scale, shift = random.uniform(*_SCALES, num) / 0.75, random.uniform(-0.06, 0.06, (num, 2))
        cos, sin = np.cos(turn), np.sin(turn)
        # From a point of the image to a point of the picture, both with coordinates in [-1, 1].
        matrix = np.stack(
            [
                np.stack([(cos + slant * sin) / stretch, (slant * cos - sin) / stretch, shift[:, 0]], 1),
                np.stack([sin * stretch, cos * stretch, shift[:, 1]], 1),
            ],
            1,
        )
        matrix[:, :, :2] /= scale[:, None, None]
        grid = F.affine_grid(torch.from_numpy(matrix).float(), [num, 1, 2 * size, 2 * size], align_corners=False)
        points = F.grid_sample(chunk.unsqueeze(1).float(), grid, align_corners=False)
        images[start : start + _CHUNK] = F.avg_pool2d(points, 2).squeeze(1).round().to(torch.uint8)
    return images


class Glyphs(Dataset):
    """Grey images of printed characters in 20 fonts that come with matplotlib; nothing is downloaded.

    Each image is one character in one font, at random rotation, slant, width, size and position
    (`aeframe_image.glyphs.draw`). ``extras["label"]`` is the character, ``extras["factors"]`` the numbers of character
    and font.

    Args:
        images: Number of images.
        size: Height and width of an image.
        characters: The characters that are drawn, of ASCII digits and letters; each equally often.
        validation: Fraction of the images for validation.
        test: Fraction of the images for testing.
        seed: Seed of the images and of the random splits.
    """

    modality = "image"
    factor_names = ("character", "font")

    def __init__(
        self,
        *,
        images: int = 10_000,
        size: int = 28,
        characters: str = string.digits,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
    ) -> None:
        if images < 3 or size < 8:
            raise AeframeError(
                f"dataset 'glyphs' requires at least 3 images and size of at least 8, found {images} and {size}"
            )
        unknown = sorted(set(characters) - set(CHARACTERS))
        if unknown or not characters or len(set(characters)) < len(characters):
            found = f"'{unknown[0]}'" if unknown else "no character" if not characters else f"'{characters}'"
            raise AeframeError(
                f"dataset 'glyphs' requires characters=... of different digits and letters of ASCII, found {found}"
            )
        self.images, self.size, self.characters, self.seed = images, size, characters, seed
        self.label_names = tuple(characters)
        self.splitter = RandomSplit("dataset 'glyphs'", "images", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": (1, self.size, self.size)}

    def load(self) -> RawSplits:
        random = np.random.default_rng(self.seed)
        character = random.permutation(np.arange(self.images) % len(self.characters))
        face = random.integers(len(FACES), size=self.images)
        pictures = outlines(self.characters).reshape(-1, _SIZE, _SIZE)
        # Pictures are larger than images: they are repeated chunk by chunk.
        pixels = draw(pictures, self.size, random, character * len(FACES) + face).unsqueeze(1)
        factors = torch.from_numpy(np.stack([character, face], 1).astype(np.int64))
        stack = Stack(pixels, factors[:, 0].clone(), factors=factors)
        # `split_record`, inherited from `Dataset`, stores the drawn split, so that later runs use the same.
        return self.splitter.complete({"train": stack}, self.split_record)
