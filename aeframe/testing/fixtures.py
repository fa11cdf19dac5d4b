"""Real data, for tests that are worth little without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[3] / "shared" / "data"


def real_file(name: str) -> Path:
    """Return a file of real data, such as ``image/mnist.npz``; skip the test where it is not on this machine.

    Args:
        name: Below the folder that ``AEFRAME_TEST_DATA`` names, or else ``shared/data`` beside the checkout.
    """
    path = Path(os.environ.get("AEFRAME_TEST_DATA", _BESIDE)) / name
    if not path.is_file():
        pytest.skip(f"no {name} below AEFRAME_TEST_DATA, nor beside the checkout in shared/data")
    return path
