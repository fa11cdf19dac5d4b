"""One registered part, with the model, data and short training run that the conformance checks test it with.

A setup is the config of a small model that contains the part, with matching data.
"""

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
from aeframe.testing.expectations import CheckFailedError, NotApplicableError
from aeframe.testing.model_outputs import all_terms, forward_pass
from aeframe.testing.options import SuiteOptions
from aeframe.testing.reference import CPU, PROGRESS, ReferenceSetup, modality_setup, synthetic_setups

if TYPE_CHECKING:
    from aeframe.testing.short_run import ShortRun

PLUGIN = "plugin"
"""The kind and id of a `PartUnderTest` that stands for the plugin as a whole."""
_REQUIRED = "???"
"""The value in a config of an option without a default."""


class PartUnderTest:
    """A registered part, or the plugin as a whole.

    The properties are computed at first use, so that all checks of a part share one model config and one training run.

    Args:
        plugin: The plugin that registers the part.
        entry: The registered name of the part; None for the plugin as a whole.
        options: The options of the suite.
        folder: An existing folder, in which the part creates a folder of its own.
    """

    def __init__(self, plugin: Plugin, entry: Entry | None, options: SuiteOptions, folder: Path) -> None:
        self.plugin, self._entry, self.options = plugin, entry, options
        self.kind = PLUGIN if entry is None else entry.kind
        self.id = PLUGIN if entry is None else _id_of(entry)
        """``"loss=mse"``, or ``"plugin"``."""
        self._folder = folder / self.id.replace("=", "-")

    @property
    def entry(self) -> Entry:
        """The registered name."""
        assert self._entry is not None
        return self._entry

    @property
    def folder(self) -> Path:
        """The folder for files of this part."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    @functools.cached_property
    def target(self) -> Any:
        """The registered object, a class or a function."""
        return self.entry.load()

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """``{"name": ..., option: value}`` with every option: its value in the suite, or else its default."""
        return config_of(self.entry, self.options)

    @functools.cached_property
    def setups(self) -> list[ReferenceSetup]:
        """All setups that may fit this part; `setup` is the first that does."""
        return list(self._candidates())

    @functools.cached_property
    def setup(self) -> ReferenceSetup:
        """The first setup in which this part can be built and its loss terms computed.

        Raises:
            CheckFailedError: There is none. The message has the first error that is not an `AeframeError`, for an
                `AeframeError` may only mean that the data do not fit the part.
        """
        errors: list[Exception] = []
        for candidate in self._candidates():
            try:
                with noise_of(CPU, 3):
                    model = candidate.model()
                    all_terms(model, forward_pass(model, candidate.batch()), PROGRESS)
            except Exception as error:  # noqa: BLE001 -- the plugin boundary: any error is a fault of the part
                errors.append(error)
            else:
                return candidate
        if not errors:
            raise CheckFailedError(f"{self.id} accepts no domain of data")
        first = next((error for error in errors if not isinstance(error, AeframeError)), errors[-1])
        raise CheckFailedError(
            f"{self.id} fails in all of {len(errors)} small models; the first error is "
            f"{type(first).__name__}: {str(first).strip().splitlines()[0] if str(first).strip() else ''}"
        ) from first

    @functools.cached_property
    def samples(self) -> Any:
        """At least 3 samples in memory of this modality, or of the modality of this dataset.

        Raises:
            NotApplicableError: The suite has none, and the modality has no default dataset to take them from.
        """
        modality = self.entry if self.kind == "modality" else registry().entry("modality", self.target.modality)
        if modality.name in self.options.samples:
            return self.options.samples[modality.name]()
        dataset = _dataset_of(modality, self.options)
        if dataset is None:
            raise NotApplicableError(
                f"modality '{modality.name}' has no default dataset that loads without options; set its samples in the "
                f"suite: samples = {{{modality.name!r}: ...}}"
            )
        config = config_of(modality, self.options)
        setup = modality_setup("modality", config, config, dataset)
        return setup.modality.restore_samples(setup.rows.nan_masked_x())

    @functools.cached_property
    def short_run(self) -> ShortRun:
        """The model of `setup` after four epochs of three batches."""
        # It imports Lightning, which the processes that only prepare data need not wait for.
        from aeframe.testing.short_run import train_shortly

        return train_shortly(self.setup, self.folder / "uninterrupted", epochs=4)

    def _candidates(self) -> Iterator[ReferenceSetup]:
        if self.kind != "modality":
            yield from synthetic_setups(self.kind, self.config)
        for modality, dataset in self._modalities():
            yield modality_setup(self.kind, self.config, modality, dataset)

    def _modalities(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield the configs of a modality and its dataset: this modality, or else all modalities of the plugin."""
        for entry in self.plugin.entries:
            # A modality is tested alone; every other part may be tested with each modality of the plugin.
            if entry.kind != "modality" or (self.kind == "modality" and entry != self._entry):
                continue
            if inspect.isabstract(entry.load()):
                # It cannot be built, which the check `postprocess` of that modality reports.
                continue
            dataset = _dataset_of(entry, self.options)
            if dataset is not None:
                yield config_of(entry, self.options), dataset
            elif self.kind == "modality":
                raise NotApplicableError(
                    f"{self.id} has no default dataset that loads without options; name one in the suite: "
                    f"datasets = {{{entry.name!r}: {{'name': ...}}}}"
                )


def _id_of(entry: Entry) -> str:
    return f"{entry.kind}={entry.name}"


def config_of(entry: Entry, options: SuiteOptions) -> dict[str, Any]:
    """Return the config of a registered part with every option.

    Raises:
        NotApplicableError: A required option has no value in the suite.
    """
    config = {**defaults(entry.kind, entry.name), **options.options.get(_id_of(entry), {})}
    for option, value in config.items():
        if value == _REQUIRED:
            raise NotApplicableError(
                f"option '{option}' has no default; set it in the suite: options = {{{_id_of(entry)!r}: "
                f"{{{option!r}: ...}}}}"
            )
    return config


def _dataset_of(modality: Entry, options: SuiteOptions) -> Mapping[str, Any] | None:
    """Return the config of a modality's dataset in the suite, or else of its default dataset.

    Options of the dataset in the suite apply in both cases. Return None if there is neither, or if the default dataset
    has required options.
    """
    if modality.name in options.datasets:
        chosen = options.datasets[modality.name]
        return {**options.options.get(f"dataset={chosen['name']}", {}), **chosen}
    name = modality.load().dataset
    if name is None:
        return None
    config = {**defaults("dataset", name), **options.options.get(f"dataset={name}", {})}
    return None if _REQUIRED in config.values() else config
