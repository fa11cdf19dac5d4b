"""Check a sweep whose points Hydra's Optuna sweeper chooses (``hydra/sweeper=optuna``) before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from omegaconf import ListConfig

from aeframe.errors import AeframeError

_DIRECTIONS = {"min": "minimize", "max": "maximize"}


def first_point(parsed: Iterable[Override]) -> list[str]:
    """Return overrides with the first value of each sweep: a point that a sweeper could choose."""
    point = []
    for override in parsed:
        if not override.is_sweep_override():
            point.append(str(override.input_line))
            continue
        value = override.value()
        first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_iterator(Transformer.encode))
        point.append(f"{override.get_key_element()}={first}")
    return point


def check_direction(sweeper: Any, config: Mapping[str, Any]) -> None:
    """Check that a sweeper optimizes the monitored metric in the direction in which it improves.

    Args:
        sweeper: The config of the sweeper; those without ``direction`` are not checked.
        config: The config of a point.

    Raises:
        AeframeError: The sweeper would search for the worst point, or expects several objectives.
    """
    direction = sweeper.get("direction")
    if direction is None:
        return
    if isinstance(direction, ListConfig):
        raise AeframeError(
            f"a run returns one objective, its monitored metric, but hydra.sweeper.direction has {len(direction)}; "
            "set hydra.sweeper.direction=minimize or maximize"
        )
    # Imports Lightning, which takes seconds.
    from aeframe.experiment.run_setup import monitor_mode

    mode = monitor_mode(config)
    found, expected = getattr(direction, "name", str(direction)), _DIRECTIONS[mode]
    if found != expected:
        raise AeframeError(
            f"the sweeper would {found} monitor '{config['monitor']}', whose best value is the "
            f"{'highest' if mode == 'max' else 'lowest'}; set hydra.sweeper.direction={expected}"
        )
