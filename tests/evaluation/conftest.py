"""Tiny models, and a modality of grey images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.modality import Dataset, Modality, Splits
from aeframe.data.sample_batches import SampleBatches
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain


class Grey(Modality):
    """Grey images of any size; only `render` is implemented."""

    def spec(self, dataset: Dataset) -> DataSpec:
        raise AssertionError

    def apply(self, raw: Any) -> Splits:
        raise AssertionError

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        raise AssertionError

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        raise AssertionError

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        if len(panels) == 1:
            ((title, images),) = panels.items()
            panels = {f"{title} {row}": part for row, part in enumerate(images.split(8))}
        figure = Figure(figsize=(6, len(panels)), layout="constrained")
        for row, (title, images) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, row + 1)
            axes.imshow(torch.cat(list(images[:, 0]), dim=1).numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
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
