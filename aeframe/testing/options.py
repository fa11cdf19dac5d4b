"""The options of a conformance suite, which tests the parts that one plugin registers (``kind=name``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SuiteOptions:
    """The plugin that a suite tests, and what its author declares about the plugin's parts."""

    plugin: str
    """The plugin's name, as listed by ``aeframe plugins``."""
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    """The checks to skip, with the reason: ``{"check name": reason}`` for all parts, or
    ``{"check name:kind=name": reason}`` for one part."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``{"kind=name": {option: value}}``: required options of a part, or values that make it smaller."""
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``{modality: {"name": dataset, option: value}}``: data to use in place of the modality's default dataset."""
    formats: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """``{modality: ["samples.xyz"]}``: names of files or folders that the modality can write."""
    samples: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """``{modality: function}``, which returns samples in memory to use in place of those that the modality restores."""
