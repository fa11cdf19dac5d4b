"""Hydra's undocumented parts are used in one file, written for one version."""

import re
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra._internal import defaults_list

from aeframe.experiment.compose import compose
from aeframe.experiment.composition import hydra_internals

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


def test_a_name_in_a_defaults_list_may_refer_to_another_choice(option: Callable[[str, str], Path]) -> None:
    for model, dim in (("narrow", 3), ("wide", 5)):
        option(f"model/{model}", "# @package _global_\ndefaults:\n  - /scale/of@_global_: ${model}\n")
        option(f"scale/of/{model}", f"# @package _global_\nlatent:\n  dim: {dim}\n")
    assert [compose([f"model={model}"])["latent"]["dim"] for model in ("narrow", "wide")] == [3, 5]


def test_hydra_is_unchanged_after_a_composition() -> None:
    compose([])
    assert defaults_list._create_interpolation_map is hydra_internals._interpolation_map
