"""One cluster for all tests of this folder, which one worker runs one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .one_machine import Cluster, StartError, missing, one_machine_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = missing()
    if reason is not None:
        pytest.skip(f"needs Slurm: {reason}")
    # The path of munge's socket is limited to 108 characters.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm")))
        try:
            running = stack.enter_context(one_machine_cluster(folder))
        except StartError as error:
            pytest.skip(f"needs Slurm: {error}")
        yield running
