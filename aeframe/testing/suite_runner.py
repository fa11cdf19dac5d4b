"""An examination: every check of every part of one plugin, each done once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import defaults
from aeframe.registry import Plugin, registry
from aeframe.testing.check import Check, NotApplicableError, Outcome
from aeframe.testing.checks import CHECKS
from aeframe.testing.part_under_test import PartUnderTest


class SuiteRunner:
    """The checks of one plugin.

    Args:
        plugin: Its name, as ``aeframe plugins`` lists it.
        not_applicable: ``{"check name": why}`` or ``{"check name:kind=name": why}``.
        options: ``{"kind=name": {option: value}}`` for parts that cannot be built from their defaults alone, or
            should be smaller than those.
        datasets: ``{modality: {"name": ..., options}}``, where a modality's own data will not do.
        formats: ``{modality: ["samples.xyz", ...]}``: the names of files, or folders, that its `write` can write.

    Raises:
        AeframeError: An unknown plugin, check or part, or a why that is empty.
    """

    def __init__(
        self,
        plugin: str,
        *,
        not_applicable: Mapping[str, str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        datasets: Mapping[str, Mapping[str, Any]] | None = None,
        formats: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.plugin = _found(plugin)
        self.not_applicable = dict(not_applicable or {})
        self.options = dict(options or {})
        self.datasets = dict(datasets or {})
        self.formats = dict(formats or {})
        self._parts = [PartUnderTest(self, self.plugin, None)]
        self._parts += [PartUnderTest(self, self.plugin, entry) for entry in self.plugin.entries]
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._shared: dict[str, Any] = {}
        self._folder: Path | None = None
        self._refuse_unknown()

    @property
    def folder(self) -> Path:
        """A temporary folder, removed with the examination."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="aeframe-check-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    @property
    def shared(self) -> dict[str, Any]:
        """What checks keep for one another, such as the answers of a process that was asked of all parts at once."""
        return self._shared

    def cases(self) -> Iterator[tuple[Check, PartUnderTest]]:
        """Yield every check with every part it is for, part by part."""
        for tested in self._parts:
            for check in CHECKS:
                if tested.kind in check.kinds:
                    yield check, tested

    def tested_by(self, check: Check) -> list[PartUnderTest]:
        """Return the parts that a check is for."""
        return [tested for tested in self._parts if tested.kind in check.kinds]

    def tested(self, part: str) -> PartUnderTest:
        """Return the part with an id such as ``"loss=mse"``."""
        return next(tested for tested in self._parts if tested.id == part)

    def outcomes(self) -> list[Outcome]:
        """Do every check."""
        return [self.outcome(check, tested) for check, tested in self.cases()]

    def outcome(self, check: Check, tested: PartUnderTest) -> Outcome:
        """Return what comes of one check of one part."""
        key = (check.name, tested.id)
        if key not in self._outcomes:
            self._outcomes[key] = self._examine(check, tested)
        return self._outcomes[key]

    def ready(self, check: Check, tested: PartUnderTest) -> str | None:
        """Return why a check is not to be done: declared so, or another has not passed that it builds on."""
        for key in (check.name, f"{check.name}:{tested.id}"):
            if key in self.not_applicable:
                return self.not_applicable[key]
        for each in CHECKS:
            if each.name in check.after and tested.kind in each.kinds:
                before = self.outcome(each, tested)
                if before.state != "ok":
                    return f"'{each.name}' comes first, and is {before.state}"
        return None

    def dataset_of(self, modality: PartUnderTest) -> Mapping[str, Any] | None:
        """Return a data set of a modality: the suite's, or its own; None where that cannot be had without options."""
        name = modality.entry.name
        if name in self.datasets:
            return self.datasets[name]
        own = modality.target.dataset
        if own is None:
            return None
        config = defaults("dataset", own)
        return None if "???" in config.values() else config

    def _examine(self, check: Check, tested: PartUnderTest) -> Outcome:
        why = self.ready(check, tested)
        if why is not None:
            return Outcome(check, tested.id, "not applicable", why)
        try:
            check.function(tested)
        except NotApplicableError as error:
            return Outcome(check, tested.id, "not applicable", str(error))
        except AssertionError as error:
            return Outcome(check, tested.id, "failed", str(error), error)
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: whatever it raises is the part's fault
            return Outcome(check, tested.id, "failed", f"{type(error).__name__}: {error}", error)
        return Outcome(check, tested.id, "ok")

    def _refuse_unknown(self) -> None:
        names = [check.name for check in CHECKS]
        parts = [tested.id for tested in self._parts]
        for key, why in self.not_applicable.items():
            name, _, part = key.partition(":")
            if name not in names:
                raise AeframeError(
                    f"not_applicable names an unknown check '{name}'{did_you_mean(name, names)}; checks are "
                    f"{', '.join(names)}"
                )
            if part and part not in parts:
                raise AeframeError(
                    f"not_applicable names '{part}', which plugin '{self.plugin.name}' does not register"
                    f"{did_you_mean(part, parts)}"
                )
            if not why.strip():
                raise AeframeError(f"not_applicable says nothing of '{key}'; say why it does not apply")
        for part in self.options:
            if part not in parts:
                raise AeframeError(
                    f"options are given to '{part}', which plugin '{self.plugin.name}' does not register"
                    f"{did_you_mean(part, parts)}"
                )


def _found(name: str) -> Plugin:
    plugins = {plugin.name: plugin for plugin in registry().plugins}
    if name not in plugins:
        raise AeframeError(
            f"there is no plugin '{name}'{did_you_mean(name, plugins)}; installed are {', '.join(plugins)}"
        )
    return plugins[name]
