"""Saved models of earlier versions that are kept with the tests, and must open in every later version.

A kept model is the folder of a saved model with ``samples.npz``, a few samples in the form of the training data, and
``expected.safetensors``, what the model returned for them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aeframe.model_store.layout import FORMAT
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.testing.expectations import expect

_SAMPLES, _EXPECTED = "samples.npz", "expected.safetensors"
_TOLERANCE = 1e-4
"""Largest relative and absolute difference: processors round differently."""


def kept_models(folder: Path) -> list[Path]:
    """Return the kept models in a folder, ``FORMAT/NAME``, sorted."""
    return sorted(path.parent for path in folder.glob(f"*/*/{_EXPECTED}"))


def write_kept_model(model: Path, folder: Path, name: str, samples: Any) -> Path:
    """Keep a saved model under the current format, and return its folder; a kept model of that name is replaced.

    Args:
        model: The folder of the saved model.
        folder: The folder of the kept models.
        name: The name of the model.
        samples: Samples as `TrainedModel.prepare` takes them: an array, or a list of strings.
    """
    kept = folder / str(FORMAT) / name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(model, kept)
    np.savez_compressed(kept / _SAMPLES, x=np.asarray(samples))
    save_file(_results(load(kept), samples), kept / _EXPECTED)
    return kept


def check_kept_model(folder: Path) -> None:
    """Open a kept model, and expect the results of the version that saved it.

    Raises:
        AeframeError: The model cannot be opened.
        CheckFailedError: It returns other values.
    """
    x = np.load(folder / _SAMPLES)["x"]
    found = _results(load(folder), x.tolist() if x.dtype.kind == "U" else x)
    for name, expected in load_file(folder / _EXPECTED).items():
        same = found[name].shape == expected.shape and torch.allclose(
            found[name].double(), expected.double(), rtol=_TOLERANCE, atol=_TOLERANCE
        )
        expect(same, f"the kept model '{folder.parent.name}/{folder.name}' returns other values of {name}")


def _results(model: TrainedModel, samples: Any) -> dict[str, Tensor]:
    batch = model.prepare(samples)
    z = model.encode(batch)
    return {
        "x": batch.x.contiguous(),
        "z": z.contiguous(),
        "reconstruction": model.reconstruct(batch).contiguous(),
        "decoded": model.decode(z).contiguous(),
        "bound": model.score(batch).contiguous(),
        "anomaly": model.anomalies(batch).score.contiguous(),
    }
