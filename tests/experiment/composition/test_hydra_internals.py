"""Hydra's undocumented parts are used in one file, written for one version."""

import re
from pathlib import Path

import hydra

ROOT = Path(__file__).parents[3]


def test_the_installed_hydra_is_the_one_this_was_written_for() -> None:
    assert hydra.__version__.startswith("1.3."), "check composition/hydra_internals.py against this version"


def test_one_file_imports_what_hydra_does_not_document() -> None:
    files = [*ROOT.glob("aeframe/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    using = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if re.search(r"hydra\._internal|hydra\.version|_resolvers\b", path.read_text(encoding="utf-8"))
    ]
    assert using == ["aeframe/experiment/composition/hydra_internals.py"]
