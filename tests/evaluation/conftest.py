"""Tiny models, and a modality that is no plugin's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.assembly import assemble
from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, DataSpec, Domain
from aeframe.data.modality import Dataset, Modality, Splits


class Grey(Modality):
    """Grey images of any size, drawn and nothing else."""

    def spec(self, dataset: Dataset) -> DataSpec:
        raise AssertionError

    def prepare(self, dataset: Dataset) -> Splits:
        raise AssertionError

    def read(self, path: Path) -> Batch:
        raise AssertionError

    def write(self, x: Tensor, path: Path) -> list[Path]:
        raise AssertionError

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        tiles = {title: list(x[:, 0]) for title, x in panels.items()}
        if len(tiles) == 1:
            ((title, images),) = tiles.items()
            tiles = {f"{title} {row}": images[8 * row : 8 * row + 8] for row in range(-(-len(images) // 8))}
        width = max(len(images) for images in tiles.values())
        figure = Figure(figsize=(width, 1.2 * len(tiles)), layout="constrained")
        for row, (title, images) in enumerate(tiles.items()):
            for column, image in enumerate(images):
                axes = figure.add_subplot(len(tiles), width, row * width + column + 1)
                axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
                axes.set_axis_off()
                if column == 0:
                    axes.set_title(title, fontsize=7, loc="left")
        return figure


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_model() -> Any:
    """Build a model from changes to a small autoencoder: ``make_model((1, 4, 4), "unit", latent=...)``."""

    def make(shape: tuple[int, ...] = (6,), domain: str = "real", condition: int = 0, **parts: Any) -> Autoencoder:
        torch.manual_seed(1)
        config: dict[str, Any] = {
            "encoder": {"name": "mlp", "hidden": [16]},
            "latent": {"name": "point", "dim": 3},
            "loss": "mse",
            **parts,
        }
        return assemble(config, DataSpec(shape, Domain.parse(domain), condition))

    return make


@pytest.fixture
def modality() -> Grey:
    return Grey()
