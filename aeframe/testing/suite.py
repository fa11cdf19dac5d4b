"""The whole test of a plugin, for pytest."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pytest

    from aeframe.testing.check import Check
    from aeframe.testing.part_under_test import PartUnderTest
    from aeframe.testing.suite_runner import SuiteRunner


class PluginSuite:
    """Try everything that a plugin registers: one test for each check of each part.

    ```python
    class TestSpectra(PluginSuite):
        plugin = "spectra"
    ```

    ``aeframe check-plugin spectra`` does the same without pytest. A part is put into a small model on made-up data of a
    domain that it accepts; a modality is tried with its own defaults on its own data.

    Attributes:
        plugin: The plugin's name, as ``aeframe plugins`` lists it.
        not_applicable: What cannot be asked of it, and why: ``{"check name": why}``, or
            ``{"check name:kind=name": why}`` for one part.
        options: ``{"kind=name": {option: value}}`` for parts that have options without a default, or that should be
            smaller than by default.
        datasets: ``{modality: {"name": ..., options}}`` where a modality's own data set will not do.
        formats: ``{modality: ["samples.xyz"]}``: names of files or folders that the modality can write.
    """

    plugin: ClassVar[str]
    not_applicable: ClassVar[Mapping[str, str]] = {}
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    datasets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    formats: ClassVar[Mapping[str, Sequence[str]]] = {}

    @classmethod
    def runner(cls) -> SuiteRunner:
        """Return a new examination of the plugin."""
        from aeframe.testing.suite_runner import SuiteRunner

        return SuiteRunner(
            cls.plugin,
            not_applicable=cls.not_applicable,
            options=cls.options,
            datasets=cls.datasets,
            formats=cls.formats,
        )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each check of each part."""
        if "case" in metafunc.fixturenames:
            runner = type(self).runner()
            cases = list(runner.cases())
            metafunc.parametrize("case", cases, ids=[f"{check.name}:{tested.id}" for check, tested in cases])

    def test_conformance(self, case: tuple[Check, PartUnderTest]) -> None:
        """Do one check of one part."""
        import pytest

        check, tested = case
        outcome = tested.runner.outcome(check, tested)
        if outcome.state == "not applicable":
            pytest.skip(outcome.sentence)
        if outcome.state == "failed":
            error = outcome.error
            # A sentence of a check says it all; what a part raised by itself is looked for where it was raised.
            trace = [] if isinstance(error, AssertionError) else traceback.format_exception(error)
            pytest.fail("".join([*trace, f"{outcome.sentence}\n({check.name}: {check.reason})"]), pytrace=False)


__all__ = ["PluginSuite"]
