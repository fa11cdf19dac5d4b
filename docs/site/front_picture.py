"""The picture of the README: ``python docs/site/front_picture.py RUN [-o docs/assets/front.png]``.

It shows a trained model of ``experiment=glyphs_quick``: the left half has new samples, the right half interpolations
between four images, which are in its corners.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image as Picture
from torch import Tensor

import aeframe
from aeframe_image.glyphs import Glyphs
from aeframe_image.modality import Image

ROOT = Path(__file__).parents[2]
_ROWS = 6
"""Rows and columns of each half."""
_ZOOM, _GAP = 2, 4


def halves(run: Path) -> tuple[Tensor, Tensor]:
    """Return 36 new samples and 36 interpolated images of a run ``(36, 1, H, W)``, in [0, 1]."""
    model = aeframe.load(run)
    torch.manual_seed(0)
    samples = model.sample(_ROWS**2)
    # With another seed, these images are not those of training.
    others = Image().prepare(Glyphs(images=500, seed=1)).test.batch(torch.arange(50))
    labels = others.extras["label"]
    corners = torch.stack([others.x[(labels == label).nonzero()[0, 0]] for label in (7, 2, 5, 3)])
    left, right = (model.interpolate(corners[i : i + 1], corners[i + 2 : i + 3], steps=_ROWS) for i in (0, 1))
    rows = [model.interpolate(a, b, steps=_ROWS)[0] for a, b in zip(left[0].split(1), right[0].split(1), strict=True)]
    return samples, torch.cat(rows)


def canvas(samples: Tensor, interpolated: Tensor) -> Picture.Image:
    """Return both halves side by side, enlarged."""
    grids = []
    for images in (samples, interpolated):
        height, width = images.shape[-2:]
        grid = images[:, 0].reshape(_ROWS, _ROWS, height, width).permute(0, 2, 1, 3)
        grids.append(grid.reshape(_ROWS * height, _ROWS * width))
    gap = torch.ones(grids[0].shape[0], _GAP)
    pixels = (torch.cat([grids[0], gap, grids[1]], 1).clamp(0, 1) * 255).round().to(torch.uint8)
    picture = Picture.fromarray(pixels.cpu().numpy())
    return picture.resize((_ZOOM * picture.width, _ZOOM * picture.height), Picture.Resampling.NEAREST)


def main() -> int:
    """Write the picture of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "assets" / "front.png")
    args = parser.parse_args()
    canvas(*halves(args.run)).save(args.output, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
