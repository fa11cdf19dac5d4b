"""The conformance test of a plugin, for pytest."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aeframe.testing.options import SuiteOptions

if TYPE_CHECKING:
    import pytest

    from aeframe.testing.check import Check
    from aeframe.testing.part_under_test import PartUnderTest
    from aeframe.testing.suite_runner import SuiteRunner


class PluginSuite:
    """Test everything that a plugin registers (its parts): one test for each check of each part.

    ```python
    class TestSpectra(PluginSuite):
        plugin = "spectra"
    ```

    ``aeframe check-plugin spectra`` runs the same checks without pytest. Each part is tested inside a small model, on
    synthetic data of a domain that the part accepts. A modality is tested with its default parts on its own data.

    Attributes:
        plugin: The plugin's name, as listed by ``aeframe plugins``.
        not_applicable: Checks to skip, with the reason: ``{"check name": reason}`` for all parts, or
            ``{"check name:kind=name": reason}`` for one part.
        options: ``{"kind=name": {option: value}}`` for parts that have required options, or are slow with their
            defaults.
        datasets: ``{modality: {"name": dataset, option: value}}``, for a modality without a suitable default dataset.
        formats: ``{modality: ["samples.xyz"]}``: names of files or folders that the modality can write.
        samples: ``{modality: function}``: returns samples in memory, as `aeframe.fit` takes them. By default they are
            those of the modality's dataset, restored by `Modality.restore_samples`.
    """

    plugin: ClassVar[str]
    not_applicable: ClassVar[Mapping[str, str]] = {}
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    datasets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    formats: ClassVar[Mapping[str, Sequence[str]]] = {}
    samples: ClassVar[Mapping[str, Callable[[], Any]]] = {}

    @classmethod
    def runner(cls) -> SuiteRunner:
        """Return a new runner of the plugin's checks."""
        # The checks import Lightning and Hydra. Tests that import only `RowNoise` need not wait for that.
        from aeframe.testing.suite_runner import SuiteRunner

        options = SuiteOptions(cls.plugin, cls.not_applicable, cls.options, cls.datasets, cls.formats, cls.samples)
        return SuiteRunner(options)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Generate one test for each check of each part."""
        if "case" in metafunc.fixturenames:
            runner = type(self).runner()
            cases = list(runner.cases())
            ids = [f"{check.name}:{part.id}" for check, part in cases]
            metafunc.parametrize("case", [(runner, check, part) for check, part in cases], ids=ids)

    def test_conformance(self, case: tuple[SuiteRunner, Check, PartUnderTest]) -> None:
        """Run one check of one part."""
        # `aeframe check-plugin` works without pytest.
        import pytest

        runner, check, part = case
        outcome = runner.outcome(check, part)
        if outcome.state == "not applicable":
            pytest.skip(outcome.message)
        if outcome.state == "failed":
            error = outcome.error
            # The message of a check is complete. An error that the part raised is located by its traceback.
            trace = [] if isinstance(error, AssertionError) else traceback.format_exception(error)
            pytest.fail("".join([*trace, f"{outcome.message}\n({check.name}: {check.reason})"]), pytrace=False)


__all__ = ["PluginSuite"]
