"""Open saved models in a process that has never seen them: ``python -m aeframe.testing.reload THREADS FOLDER...``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.reader import load
from aeframe.testing.reference import SAMPLES
from aeframe.testing.subprocess_io import answer, unpack
from aeframe.testing.terms import undrawn
from aeframe.types import Batch


def numbers(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return what a model says of a batch in evaluation, with nothing drawn."""
    with evaluation_mode(model), torch.no_grad():
        p = undrawn(model, batch)
        found = {
            "embedding": p.latent.mean,
            "reconstruction": model.loss.mean(p.output),
            "reconstruction term": p.reconstruction,
        }
    return {name: value.clone().contiguous() for name, value in found.items()}


def reopen(folder: Path) -> None:
    """Open the model and the parcel in a folder, and write what the one says of the other beside them."""
    try:
        batch = unpack(folder / "parcel.pt").batch(SAMPLES)
        answer(folder / "answer.pt", numbers(load(folder).model, batch))
    except Exception as error:  # noqa: BLE001 -- the plugin boundary: whatever it raises is the answer
        answer(folder / "answer.pt", f"{type(error).__name__}: {error}")


def main() -> None:
    """Answer each folder, which holds a run's model and a parcel with its data."""
    torch.set_num_threads(int(sys.argv[1]))
    for folder in sys.argv[2:]:
        reopen(Path(folder))


if __name__ == "__main__":
    main()
