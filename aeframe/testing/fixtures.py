"""Files for tests: real data, and the weights of a pretrained encoder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

_DEFAULT_FOLDER = Path(__file__).parents[3] / "shared" / "data"


def real_file(name: str) -> Path:
    """Return the path of a data file, such as ``image/mnist.npz``; skip the test if this machine does not have it.

    Args:
        name: Path relative to the folder in the environment variable ``AEFRAME_TEST_DATA``. The default folder is
            ``shared/data`` next to the checkout.
    """
    path = Path(os.environ.get("AEFRAME_TEST_DATA", _DEFAULT_FOLDER)) / name
    if not path.is_file():
        pytest.skip(f"no {name} in AEFRAME_TEST_DATA, nor in shared/data next to the checkout")
    return path


def pretrained_mlp(folder: Path) -> dict[str, Any]:
    """Write the weights of an MLP for data of 12 numbers, and return the options of the encoder ``pretrained``."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "layers.0.weight": torch.randn(4, 12, generator=generator),
        "layers.0.bias": torch.randn(4, generator=generator),
    }
    content = save(weights)
    path = folder / "mlp.safetensors"
    path.write_bytes(content)
    architecture = {"name": "mlp", "hidden": [4]}
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "architecture": architecture}
