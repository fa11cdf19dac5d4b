"""Write the config of a run as an experiment file, so that ``aeframe-train experiment=NAME`` repeats it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from aeframe.errors import AeframeError, in_one_line
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.loader import CONFIG, Loader, task_config
from aeframe.experiment.dotted_keys import ABSENT, get_value
from aeframe.kinds import LABELLED
from aeframe.model_store.files import write_text
from aeframe.runs.comparison import IGNORED

MARK = "# Written by aeframe tune"
"""The first comment of the files that are written here; others are never replaced."""
_NOT_IN_NAMES = re.compile(r"[^\w-]", re.ASCII)
_PACKAGE = "# @package _global_"


def experiment_file(name: str, config_dir: Path | None = None) -> Path:
    """Return the path of an experiment file in a folder of option files, by default ``configs``.

    Characters of `name` that an option of Hydra cannot have become ``_``.

    Raises:
        AeframeError: There is a file that was not written by aeframe tune.
    """
    path = (config_dir or Path("configs")) / "experiment" / f"{_NOT_IN_NAMES.sub('_', name)}.yaml"
    if path.exists() and not path.read_text(encoding="utf-8").startswith(f"{_PACKAGE}\n{MARK}"):
        raise AeframeError(
            f"the best point is written to '{path}', which exists and was not written by aeframe tune; rename that "
            "file, or choose another name with --study"
        )
    return path


def write_experiment(path: Path, overrides: Sequence[str], comment: str, config_dir: Path | None = None) -> None:
    """Write an experiment file with the config of `overrides`, and check that it composes to the same.

    Settings without an influence on the result, such as ``root`` and ``verbose``, are left out.

    Args:
        path: As `experiment_file` returns it.
        overrides: The overrides of a run.
        comment: What the file says of its origin, in one line.
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.

    Raises:
        AeframeError: The config cannot be written as a file.
    """
    expected = _relevant(compose(overrides, config_dir=config_dir))
    choices = Loader(config_dir).choices(overrides)
    recipe = [f"{group}={choices[group]}" for group in ("model", "data") if choices.get(group) is not None]
    implied = Loader(config_dir).choices(recipe)
    chosen = {
        group: name
        for group, name in choices.items()
        if group not in ("experiment", "logger") and (name != implied.get(group) or group in ("model", "data"))
    }
    base = _composed([f"{group}={'null' if name is None else name}" for group, name in chosen.items()], config_dir)
    defaults = [{f"override /{group}": name} for group, name in chosen.items()]
    # Interpolations were resolved, so what looks like one is text.
    values = OmegaConf.create(_escaped(_difference(base, expected)))
    text = (
        f"{_PACKAGE}\n{MARK}: {in_one_line(comment)}\n{OmegaConf.to_yaml(OmegaConf.create({'defaults': defaults}))}\n"
    )
    text += OmegaConf.to_yaml(values) if len(values) else ""
    previous = path.read_text(encoding="utf-8") if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    try:
        found = _relevant(compose([f"experiment={path.stem}"], config_dir=config_dir))
        wrong = next((key for key in expected if found.get(key) != expected[key]), None)
        if wrong is not None:
            raise AeframeError(
                f"'{wrong}' of the best point cannot be written to an experiment file; use its overrides"
            )
    except AeframeError:
        path.unlink()
        if previous is not None:
            write_text(path, previous)
        raise


def _relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in IGNORED}


def _composed(overrides: list[str], config_dir: Path | None) -> dict[str, Any]:
    """Return a composed config that is not validated: values that a run has to set stay ``???``."""
    return task_config(Loader(config_dir).load_configuration(CONFIG, overrides, RunMode.RUN))


def _difference(base: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested values that change `base` to `expected`; null removes a labelled part."""
    found = dict(_changes(base, expected))
    for key in LABELLED:
        removed = [label for label in base.get(key) or {} if label not in expected.get(key, {})]
        if removed and key not in IGNORED:
            found[key] = {**found.get(key, {}), **dict.fromkeys(removed)}
    return found


def _changes(base: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in expected.items():
        previous = get_value(base, key) if "." not in key else base.get(key, ABSENT)
        if isinstance(value, Mapping) and isinstance(previous, Mapping):
            inner = dict(_changes(previous, value))
            if inner:
                yield key, inner
        elif previous is ABSENT or previous != value or type(previous) is not type(value):
            yield key, value


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
