"""`aeframe.fit` and `aeframe.build`: a run from Python."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.interruption import Interrupted
from aeframe.kinds import LOGGER
from aeframe.runs.run_id import exported_run_id

if TYPE_CHECKING:
    from aeframe.data.datamodule import DataModule
    from aeframe.experiment.workflow import Run
    from aeframe.training.module import AutoencoderModule

# Backslashes before an interpolation are an escape of OmegaConf; any other backslash is a character.
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_KEY = re.compile(r"[A-Za-z_][\w-]*")


def fit(*, overrides: Sequence[str] = (), **settings: Any) -> Run:
    """Compose a run and train it.

    Args:
        overrides: As on the command line: ``["latent.dim=8", "loss=mse"]``.
        settings: The same as keywords: a name (``model="vae"``) or a mapping of options (``latent={"dim": 8}``) for a
            group, a value for a setting (``max_epochs=20``). Strings are literal: ``${...}`` is no interpolation.

    Raises:
        AeframeError: An error that the user can correct.
        KeyboardInterrupt: After Ctrl-C, with a checkpoint written; after another signal, SystemExit with 128 + n.

    Example:
        >>> import aeframe
        >>> run = aeframe.fit(model="vae", data="digits", max_epochs=20)  # doctest: +SKIP
        >>> model = aeframe.load(run.folder)  # doctest: +SKIP
    """
    lines = [*as_overrides(settings), *overrides]
    config = compose(lines)
    # Imports Lightning, which takes seconds: a misspelt setting is reported before that.
    from aeframe.experiment.workflow import train

    try:
        with exported_run_id():
            return train(config, overrides=lines)
    except Interrupted as ended:
        print(ended, file=sys.stderr)
        # The program's own handler, which is installed again, raises KeyboardInterrupt after Ctrl-C.
        if signal.getsignal(ended.number) is not signal.SIG_DFL:
            signal.raise_signal(ended.number)
        raise SystemExit(ended.exit_code) from None


def build(*, overrides: Sequence[str] = (), **settings: Any) -> tuple[AutoencoderModule, DataModule]:
    """Return the `LightningModule` and the `LightningDataModule` of a run, for a Trainer of your own.

    The module adds its metrics as a callback. Settings that belong to a Trainer (``max_epochs``, ``ema``,
    ``patience``, ``trainer``, ``callbacks``, ``logger``) have no effect here.

    Args:
        overrides: As on the command line.
        settings: As for `fit`.

    Example:
        >>> import aeframe
        >>> import lightning.pytorch as L
        >>> module, data = aeframe.build(model="vae", data="digits")  # doctest: +SKIP
        >>> L.Trainer(max_epochs=20).fit(module, data)  # doctest: +SKIP
    """
    config = compose([*as_overrides(settings), *overrides])
    # Imports Lightning, which takes seconds: a misspelt setting is reported before that.
    from aeframe.experiment.run_setup import build_run
    from aeframe.training.process_state import restored_generators

    with restored_generators():
        setup = build_run(config)
    return setup.module, setup.data


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return keywords as overrides in Hydra's grammar; a mapping's ``name`` chooses the group's option.

    Raises:
        AeframeError: A key or a value that a config cannot hold.
    """
    lines = []
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            lines.append(f"{key}={_choice(key, value)}")
            continue
        options = dict(value)
        prefix = f"{key}."
        if isinstance(name := options.get("name"), str):
            del options["name"]
            lines.append(f"{key}={_text(key, name)}")
            prefix = f"{key}.{name}." if key == LOGGER else prefix
        lines += [f"{prefix}{path}={_text(prefix + path, each)}" for path, each in _flat(key, options)]
        if not value:
            lines.append(f"{key}={{}}")
    return lines


def _flat(key: str, options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return options by dotted key; a mapping with a ``name`` of its own is one value."""
    flat: list[tuple[str, Any]] = []
    for name, value in options.items():
        if isinstance(value, Mapping) and value and "name" not in value:
            flat += _flat(key, value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", value))
    return flat


def _choice(key: str, value: Any) -> str:
    """Return the value of a top-level keyword; a list of names is a choice of several options."""
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return "[" + ",".join(_text(key, each) for each in value) + "]"
    return _text(key, value)


def _text(key: str, value: Any) -> str:
    """Return a value in Hydra's grammar, which reads it as the same value again."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        for name in value:
            if not (isinstance(name, str) and _KEY.fullmatch(name)):
                raise AeframeError(f"{key} has a key {name!r}, which a config cannot hold; use letters, digits and _")
        return "{" + ",".join(f"{name}:{_text(f'{key}.{name}', each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_text(key, each) for each in value) + "]"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return _quoted(value)
    if hasattr(value, "item"):
        # A number of NumPy or torch.
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return str(value)
    raise AeframeError(
        f"{key} expects a value that a config can hold, found {type(value).__name__}; use a number, a string, a list "
        "or a mapping of these"
    )


def _quoted(text: str) -> str:
    """Return a string that Hydra and OmegaConf read as `text`: quoted, and with interpolations escaped."""
    escaped = _INTERPOLATION.sub(lambda found: found.group(1) * 2 + "\\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()
