from __future__ import annotations

import subprocess
import sys

import pytest

import aeframe.data


def test_opening_data_imports_no_trainer_and_no_plotting() -> None:
    code = "import sys, aeframe.data.vector; print(*sorted({'lightning', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_public_names_are_there() -> None:
    assert all(hasattr(aeframe.data, name) for name in aeframe.data.__all__)
    with pytest.raises(AttributeError, match=r"^module 'aeframe\.data' has no attribute 'DataModul'$"):
        aeframe.data.DataModul  # noqa: B018
