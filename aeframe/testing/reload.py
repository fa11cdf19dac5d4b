"""Load saved models in a new process and compute their outputs: ``python -m aeframe.testing.reload THREADS FOLDER...``.

Each folder holds a saved model, and ``setup.pt`` with its data. The outputs are written to ``outputs.pt``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.reader import load
from aeframe.testing.model_outputs import deterministic_forward_pass
from aeframe.testing.own_modules import own_modules
from aeframe.testing.reference import BATCH_SIZE
from aeframe.testing.subprocess_io import read_setup, write_result
from aeframe.types import Batch

SETUP, OUTPUTS = "setup.pt", "outputs.pt"


def evaluation_outputs(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return the embedding (the mean code), the reconstruction and the reconstruction loss of a batch.

    The model is in evaluation mode, and z is not sampled.
    """
    with evaluation_mode(model), torch.no_grad():
        out = deterministic_forward_pass(model, batch)
        outputs = {
            "embedding": out.latent.mean,
            "reconstruction": model.loss.mean(out.output),
            "reconstruction term": out.reconstruction,
        }
    return {name: value.clone().contiguous() for name, value in outputs.items()}


def write_outputs(folder: Path) -> None:
    """Load the model and the data in a folder, and write the outputs, or the error message, to the folder."""
    try:
        setup = read_setup(folder / SETUP)
        model = load(folder, **own_modules(setup.config)).model
        write_result(folder / OUTPUTS, evaluation_outputs(model, setup.batch(BATCH_SIZE)))
    except Exception as error:  # noqa: BLE001 -- the plugin boundary: any error is a result
        write_result(folder / OUTPUTS, f"{type(error).__name__}: {error}")


def main() -> None:
    """Write the outputs of the model in each folder of the command line."""
    torch.set_num_threads(int(sys.argv[1]))
    for folder in sys.argv[2:]:
        write_outputs(Path(folder))


if __name__ == "__main__":
    main()
