"""`aeframe.fit`: the same run from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aeframe.experiment.compose import compose
from aeframe.experiment.resume import continued, resumes
from aeframe.experiment.workflow import Run, train


def fit(*, overrides: Sequence[str] = (), **settings: Any) -> Run:
    """Compose a run and train it.

    Args:
        overrides: As on the command line: ``["latent.dim=8", "loss=mse"]``.
        settings: The same as keywords: a group takes a name (``model="vae"``) or a mapping of options
            (``latent={"dim": 8}``), a setting takes its value (``max_epochs=20``).

    Example:
        >>> import aeframe
        >>> run = aeframe.fit(model="vae", data="digits", max_epochs=20)  # doctest: +SKIP
        >>> model = aeframe.load(run.folder)  # doctest: +SKIP
    """
    words = [*_as_overrides(settings), *overrides]
    return train(continued(words) if resumes(words) else compose(words), asked=words)


def _as_overrides(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Write keywords as overrides; a mapping's ``name`` chooses the group's option."""
    made = []
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rest = dict(value)
            if "name" in rest and not prefix:
                made.append(f"{path}={rest.pop('name')}")
            made += _as_overrides(rest, f"{path}.")
        else:
            made.append(f"{path}={_plain(value)}")
    return made


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_plain(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_plain(v) for v in value) + "]"
    if isinstance(value, str) and not value.replace("_", "").replace("-", "").isalnum():
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return str(value)
