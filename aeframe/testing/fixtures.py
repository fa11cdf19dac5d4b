"""Files of real data for tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
