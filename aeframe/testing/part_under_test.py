"""One part under test, with what the checks need of it; made when it is first asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.factory import defaults
from aeframe.noise import noise_of
from aeframe.registry import Entry, Plugin, registry
from aeframe.testing.check import PLUGIN, CheckFailedError, NotApplicableError

if TYPE_CHECKING:
    from aeframe.testing.reference import Reference
    from aeframe.testing.short_run import ShortRun
    from aeframe.testing.suite_runner import SuiteRunner


class PartUnderTest:
    """A registered name (or the plugin itself, where `entry` is None) as the checks see it."""

    def __init__(self, runner: SuiteRunner, plugin: Plugin, entry: Entry | None) -> None:
        self.runner, self.plugin, self._entry = runner, plugin, entry
        self.kind = PLUGIN if entry is None else entry.kind
        self.id = PLUGIN if entry is None else f"{entry.kind}={entry.name}"

    @property
    def entry(self) -> Entry:
        """The registered name."""
        assert self._entry is not None
        return self._entry

    @property
    def folder(self) -> Path:
        """A folder for what this part writes."""
        path = self.runner.folder / self.id.replace("=", "-")
        path.mkdir(parents=True, exist_ok=True)
        return path

    @functools.cached_property
    def target(self) -> Any:
        """The object that is registered."""
        return self.entry.load()

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """``{name, options}`` with every option present: the defaults, and what the suite gives."""
        config = {**defaults(self.entry.kind, self.entry.name), **self.runner.options.get(self.id, {})}
        for option, value in config.items():
            if value == "???":
                raise NotApplicableError(f"'{option}' has no default; give the suite one: options[{self.id!r}]")
        return config

    @functools.cached_property
    def references(self) -> list[Reference]:
        """The models that may be made around this part; the first that works is `reference`."""
        return list(self._candidates())

    @functools.cached_property
    def reference(self) -> Reference:
        """A small model around this part, on data that it accepts.

        Raises:
            CheckFailedError: There is none; the sentence is that of the first error that is not about what fits.
        """
        from aeframe.testing.reference import CPU, PROGRESS
        from aeframe.testing.terms import all_terms, passed

        errors: list[Exception] = []
        for candidate in self._candidates():
            try:
                with noise_of(CPU, 3):
                    model = candidate.model()
                    all_terms(model, passed(model, candidate.batch()), PROGRESS)
            except Exception as error:  # noqa: BLE001 -- the plugin boundary: whatever it raises is the part's fault
                errors.append(error)
            else:
                return candidate
        if not errors:
            raise CheckFailedError(f"{self.id} accepts no domain that data can have")
        first = next((error for error in errors if not isinstance(error, AeframeError)), errors[-1])
        raise CheckFailedError(
            f"{self.id} works in none of {len(errors)} small models; the first error is "
            f"{type(first).__name__}: {str(first).strip().splitlines()[0] if str(first).strip() else ''}"
        ) from first

    def _candidates(self) -> Iterator[Reference]:
        from aeframe.testing.reference import modality_reference, synthetic_references

        if self.kind != "modality":
            yield from synthetic_references(self.kind, self.config)
        for modality, dataset in self._own_data():
            yield modality_reference(self.kind, self.config, modality, dataset)

    def _own_data(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield this modality and its data; for another part, every modality of its plugin."""
        for entry in self.plugin.entries:
            if entry.kind == "modality" and (self.kind != "modality" or entry == self._entry):
                tested = self.runner.tested(f"modality={entry.name}")
                if inspect.isabstract(tested.target):
                    # It cannot be made, as its own check says.
                    continue
                dataset = self.runner.dataset_of(tested)
                if dataset is not None:
                    yield tested.config, dataset
                elif self.kind == "modality":
                    raise NotApplicableError(
                        f"{self.id} names no data set that needs no options; give the suite one: "
                        f"datasets = {{{entry.name!r}: {{'name': ...}}}}"
                    )

    @functools.cached_property
    def short_run(self) -> ShortRun:
        """The reference model after four tiny epochs."""
        from aeframe.testing.short_run import train_shortly

        return train_shortly(self.reference, self.folder / "whole", epochs=4)

    def has(self, kind: str) -> bool:
        """Say whether this is a part of `kind`."""
        return self.kind == kind

    def known(self, kind: str) -> list[str]:
        """Return the registered names of a kind."""
        return registry().names(kind)
