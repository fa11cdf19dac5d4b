"""Train the models of the zoo: ``python zoo/build.py FOLDER [NAME...]``.

``models.yaml`` lists them. FOLDER receives a folder for each model, with its card, and ``index.json`` with the hashes
of all files, the metric of each model and the licence of its data. ``aeframe.load("zoo:NAME")`` opens a model from
there where ``AEFRAME_ZOO`` names FOLDER. A model that misses its expected metric, or is larger than 1 MB, is an error
and is not saved; those of earlier builds stay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

import aeframe
from aeframe.errors import AeframeError, did_you_mean
from aeframe.model_store.zoo import add_to_index

MODELS = Path(__file__).with_name("models.yaml")
MAX_BYTES = 1_000_000
"""The largest size of the files of a model."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of ``models.yaml``."""

    summary: str
    overrides: list[str]
    metric: str
    expected: float
    tolerance: float
    license: str
    data: str


def main(argv: list[str] | None = None) -> int:
    """Train models; return 1 if one is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the models are saved")
    parser.add_argument("names", nargs="*", metavar="NAME", help="names in models.yaml; all without any")
    parser.add_argument("--models", type=Path, default=MODELS, help="another list of models")
    parser.add_argument("--runs", type=Path, help="keep the runs with their pictures in this folder")
    args = parser.parse_args(argv)
    entries = {
        name: Entry(**values) for name, values in yaml.safe_load(args.models.read_text(encoding="utf-8")).items()
    }
    for name in args.names:
        if name not in entries:
            parser.error(f"there is no model '{name}'{did_you_mean(name, entries)} in '{args.models}'")
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.names or entries:
            runs = args.runs or Path(temporary)
            try:
                print(build(name, entries[name], args.folder, runs / name, pictures=args.runs is not None), flush=True)
            except AeframeError as error:
                failed = True
                print(f"error: {name}: {error}", file=sys.stderr, flush=True)
    return int(failed)


def build(name: str, entry: Entry, folder: Path, run_folder: Path, *, pictures: bool) -> str:
    """Train a model, save it in the zoo, and return a line about it.

    Raises:
        AeframeError: Its metric is not as expected, or it is too large.
    """
    run = aeframe.fit(
        overrides=[
            *entry.overrides,
            f"folder={run_folder}",
            f"pictures={str(pictures).lower()}",
            "seed=0",
            "verbose=false",
            "progress=false",
            "trainer.threads=1",
            "trainer.accelerator=cpu",
        ]
    )
    return save(name, entry, folder, run.folder, run.metrics)


def save(name: str, entry: Entry, folder: Path, run_folder: Path, metrics: Mapping[str, float]) -> str:
    """Save the model of a finished run in the zoo if it is as expected, and return a line about it.

    Raises:
        AeframeError: Its metric is not as expected, or it is too large.
    """
    value = metrics.get(entry.metric)
    if value is None:
        raise AeframeError(
            f"the test has no metric '{entry.metric}'{did_you_mean(entry.metric, metrics)}; its metrics are "
            f"{', '.join(metrics)}"
        )
    size = sum(path.stat().st_size for path in (run_folder / "model").iterdir())
    line = f"{name}: {entry.metric} {value:.4g}, {size / 1000:.0f} kB"
    if not abs(value - entry.expected) <= entry.tolerance:
        raise AeframeError(f"{line}; expected {entry.expected:g} +- {entry.tolerance:g}")
    if size > MAX_BYTES:
        raise AeframeError(f"{line}; expected at most {MAX_BYTES / 1000:.0f} kB")
    aeframe.push(run_folder, folder / name, license=entry.license, overwrite=True)
    add_to_index(folder, name, summary=entry.summary, data=entry.data, metrics={entry.metric: value})
    return line


if __name__ == "__main__":
    sys.exit(main())
