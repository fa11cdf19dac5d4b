"""How the test run is arranged: what it leaves to the garbage collector, and which files start first."""

from __future__ import annotations

import gc

import hypothesis
import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first, so that none is left for one of several processes at the end."""
    slow = {item.path for item in items if _is_slow(item)}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Exempt from garbage collection what lives as long as the process: torch, Lightning, and all collected tests.

    These are millions of objects, which each full collection visits, and which a forked process copies when they are
    visited. They take an eighth of the time of the tests.
    """
    _register_generators_with_hypothesis()
    gc.collect()
    gc.freeze()


@hypothesis.settings(max_examples=1, database=None)
@hypothesis.given(hypothesis.strategies.none())
def _register_generators_with_hypothesis(_: None) -> None:
    """Let hypothesis find the global random generators, as in its first test, before they are exempt."""


def _is_slow(item: pytest.Item) -> bool:
    # It imports torch, which the process that only distributes the tests does not need.
    from aeframe.testing import PluginSuite

    of_suite = isinstance(item, pytest.Function) and item.cls is not None and issubclass(item.cls, PluginSuite)
    return of_suite or item.get_closest_marker("slow") is not None
