"""Measure the time to compose and check the points of a sweep, as a ratio to composing each point by itself.

A sweep composes all of its points before anything is written. What they have in common is composed once; a `Loader`
of its own for each point composes it anew. Both are timed alternately in one process, in CPU time.

    python benchmarks/sweep_composition.py [--points 1000] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

from hydra.types import RunMode

from aeframe.experiment.compose import resolve
from aeframe.experiment.composition.hydra_internals import global_state
from aeframe.experiment.composition.loader import CONFIG, Loader
from aeframe.experiment.jobs import check_sweep

COMMON = ["model=vae", "data=breast_cancer"]


def seconds_of_sweep(points: int) -> float:
    """Return the CPU seconds that a sweep of this many points takes until its first point could begin."""
    overrides = [*COMMON, f"latent.dim=range(2,{2 + points // 2})", "seed=0,1", "hydra.mode=MULTIRUN"]
    start = time.process_time()
    check_sweep(Loader(), overrides)
    return time.process_time() - start


def seconds_alone(dim: int) -> float:
    """Return the CPU seconds that one point takes by itself."""
    overrides = [*COMMON, f"latent.dim={dim}", "seed=0"]
    start = time.process_time()
    loader = Loader()
    resolve(loader.load_configuration(CONFIG, overrides, RunMode.RUN), overrides, loader)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=20, help="points that are composed by themselves")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with global_state(CONFIG):
        seconds_alone(1)
        alone = [seconds_alone(dim) for dim in range(2, 2 + args.alone // 2)]
        sweep = seconds_of_sweep(args.points)
        alone += [seconds_alone(dim) for dim in range(2, 2 + args.alone // 2)]
    each = statistics.median(alone)
    result = {
        "points": args.points,
        "seconds_of_sweep": round(sweep, 2),
        "seconds_of_a_point_alone": round(each, 4),
        "ratio": round(each * args.points / sweep, 1),
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(result, indent=2))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
