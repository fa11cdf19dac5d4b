"""`aeframe.fit` and `aeframe.build`: train a run, or build its Lightning module and data, from Python."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.hidden import hidden_options
from aeframe.experiment.composition.shared_loader import shared_loader
from aeframe.experiment.dotted_keys import flat
from aeframe.experiment.received import received
from aeframe.interruption import Interrupted
from aeframe.kinds import LOGGER
from aeframe.runs.run_id import exported_run_id

if TYPE_CHECKING:
    from aeframe.data.datamodule import DataModule
    from aeframe.experiment.finished_run import Run
    from aeframe.training.module import AutoencoderModule

# OmegaConf reads backslashes before `${` as an escape, and every other backslash literally.
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
# Hydra reads these as values even where they are the key of a mapping.
_CONSTANTS = frozenset({"true", "false", "null", "nan", "inf"})
_PATH = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)


@user_errors()
def fit(
    x: Any = None,
    *,
    y: Any = None,
    condition: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    factors: Any = None,
    validation: Any = None,
    test: Any = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Compose the config of a run, and train it.

    Args:
        x: The samples: an array or tensor ``(N, ...)``, also memory-mapped, a data frame of pandas or polars, a sparse
            matrix, an AnnData, a list of strings, of pictures or of arrays, a dataset of torch or of the library
            ``datasets``, a `Source`, or `aeframe.Samples`. Their type selects the modality, unless ``modality=``
            names it. None takes the dataset that ``data=`` names.
        y: The labels ``(N,)``, or the name of a column of x.
        condition: The condition ``(N, C)``, categories ``(N,)``, or the names of columns of x.
        sample_weight: The weight ``(N,)`` of each sample's loss in training, or the name of a column of x.
        groups: The group ``(N,)`` of each sample, or the name of a column of x; no group is in two splits.
        factors: The known factors of variation ``(N, F)`` as categories, or the names of columns of x, for metrics such
            as ``mig``.
        validation: Samples like `x`, a pair ``(x, y)``, or the fraction of x that is held out (0.1 by default). The
            name of a column of x whose values are ``train``, ``validation`` and ``test`` defines the splits.
        test: Samples like `x`, a pair ``(x, y)``, or the fraction of x that is held out (0.1 by default).
        overrides: As on the command line: ``["latent.dim=8", "loss=mse"]``. They take precedence over `settings`.
        settings: The name of a recipe, part or dataset (``model="vae"``), a mapping of options (``latent={"dim": 8}``),
            or the value of a setting (``max_epochs=20``). Strings are literal: ``${...}`` is no interpolation.
            ``encoder`` and ``decoder`` also take a `torch.nn.Module`, of which a copy is trained, ``loss`` a function
            of the reconstruction and x, ``callbacks`` a list of Lightning callbacks, ``logger`` a Lightning logger
            or a list of them, and ``init`` a run or a trained model.

    Raises:
        AeframeError: An error that the user can correct.
        KeyboardInterrupt: Ctrl-C ended the run, after its checkpoint was written.
        SystemExit: Another signal n ended the run; the exit code is 128 + n.

    Example:
        >>> import aeframe
        >>> run = aeframe.fit(x, model="vae", max_epochs=20)  # doctest: +SKIP
        >>> codes = run.model.encode(run.model.prepare(x))  # doctest: +SKIP
    """
    columns = {"y": y, "condition": condition, "sample_weight": sample_weight, "groups": groups, "factors": factors}
    objects = received(x, columns, {"validation": validation, "test": test}, settings)
    all_overrides = [*as_overrides(settings), *overrides]
    config = compose(all_overrides)
    hidden = hidden_options(shared_loader(None, tuple(all_overrides)), all_overrides)
    # Importing Lightning takes seconds, so errors in the config are raised first.
    from aeframe.experiment.workflow import train

    with interruptible(), exported_run_id():
        return train(config, overrides=all_overrides, objects=objects, hidden_options=hidden)


@user_errors()
def build(
    x: Any = None,
    *,
    y: Any = None,
    condition: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    factors: Any = None,
    validation: Any = None,
    test: Any = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> tuple[AutoencoderModule, DataModule]:
    """Return the `LightningModule` and the `LightningDataModule` of a run, for a Trainer of your own.

    The module adds its metrics as a callback. Settings that belong to a Trainer (``max_epochs``, ``ema``,
    ``patience``, ``trainer``, ``callbacks``, ``logger``) have no effect here.

    Args:
        x: As for `fit`, like all that follow.
        y: The labels.
        condition: The condition.
        sample_weight: The weight of each sample's loss in training.
        groups: The group of each sample.
        factors: The known factors of variation.
        validation: Samples, or a fraction.
        test: Samples, or a fraction.
        overrides: As on the command line.
        settings: Names of recipes and parts, options and settings.

    Example:
        >>> import aeframe
        >>> import lightning.pytorch as L
        >>> module, data = aeframe.build(model="vae", data="digits")  # doctest: +SKIP
        >>> L.Trainer(max_epochs=20).fit(module, data)  # doctest: +SKIP
    """
    columns = {"y": y, "condition": condition, "sample_weight": sample_weight, "groups": groups, "factors": factors}
    objects = received(x, columns, {"validation": validation, "test": test}, settings)
    config = compose([*as_overrides(settings), *overrides])
    # Importing Lightning takes seconds, so errors in the config are raised first.
    from aeframe.experiment.run_setup import build_run
    from aeframe.training.process_state import restored_generators

    with restored_generators():
        setup = build_run(config, objects=objects)
    return setup.module, setup.data


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the end of a run by a signal into what the calling program does after that signal, or into SystemExit."""
    try:
        yield
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        # The handlers of the calling program are installed again; Python's own raises KeyboardInterrupt after Ctrl-C.
        if signal.getsignal(interruption.number) is not signal.SIG_DFL:
            signal.raise_signal(interruption.number)
        raise SystemExit(interruption.exit_code) from None


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return keyword arguments as overrides in Hydra's grammar.

    ``loss={"name": "huber", "delta": 2}`` becomes ``loss=huber`` and ``loss.delta=2``.

    Raises:
        AeframeError: A key or a value that a config cannot hold.
    """
    overrides = []
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            overrides.append(f"{key}={_override_value(key, value)}")
            continue
        options = dict(value)
        prefix = f"{key}."
        name = options.get("name")
        name = name.value if isinstance(name, Enum) else name
        if isinstance(name, str):
            del options["name"]
            overrides.append(f"{key}={_override_value(key, name)}")
            # Loggers are stored by label, and a chosen one has its name as label.
            prefix = f"{key}.{name}." if key == LOGGER else prefix
        for path, option in flat(options, prefix):
            if not _PATH.fullmatch(path):
                raise AeframeError(f"'{path}' is a key that a config cannot hold; use letters, digits, _ and -")
            overrides.append(f"{path}={_override_value(path, option)}")
        if not value:
            overrides.append(f"{key}={{}}")
    return overrides


def _override_value(key: str, value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides, so that Hydra parses it to the same value."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        for name in value:
            if not (isinstance(name, str) and _KEY.fullmatch(name)) or name.lower() in _CONSTANTS:
                raise AeframeError(f"{key} has a key {name!r}, which a config cannot hold; use letters, digits and _")
        return "{" + ",".join(f"{name}:{_override_value(f'{key}.{name}', item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_override_value(key, item) for item in value) + "]"
    if isinstance(value, Set):
        raise AeframeError(f"{key} is a {type(value).__name__}, whose values have no order; use a list")
    if isinstance(value, Enum):
        return _override_value(key, value.value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return _quoted(key, value)
    if getattr(value, "ndim", 0):
        raise AeframeError(
            f"{key} is an array of shape {tuple(value.shape)}, which a config does not hold; save data to a file, and "
            "convert a few values by .tolist()"
        )
    if hasattr(value, "item"):
        # A scalar of NumPy or torch.
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return str(value)
    raise AeframeError(
        f"{key} expects a value that a config can hold, found {type(value).__name__}; use a number, a string, a list "
        "or a mapping of these"
    )


def _quoted(key: str, text: str) -> str:
    """Return `text` quoted for Hydra, and with interpolations escaped for OmegaConf."""
    if text == "???":
        raise AeframeError(f"{key} is '???', which marks a missing value in a config; use another string")
    if "\0" in text:
        raise AeframeError(f"{key} is {text[:80]!r}, which has a NUL character that no path can contain; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AeframeError(
            f"{key} is {text[:80]!r}, which cannot be written as UTF-8; rename the file, or use another string"
        ) from None
    escaped = _INTERPOLATION.sub(lambda match: match.group(1) * 2 + "\\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()
