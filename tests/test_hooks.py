import inspect
import subprocess
import sys

import pytest

from aeframe import hooks
from aeframe.registry import HOOKS, KINDS

SPECS = sorted(HOOKS.values())


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_documented_and_says_what_its_kind_is_given(name: str) -> None:
    doc = inspect.getdoc(getattr(hooks, name)) or ""
    assert doc.startswith("Register ")
    # A package of YAML is not built, so nothing is given to it.
    if name != "register_configs":
        assert "Given: " in doc
    assert len(doc.splitlines()[0]) <= 120


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_takes_register_and_nothing_else(name: str) -> None:
    assert list(inspect.signature(getattr(hooks, name)).parameters) == ["register"]


def test_there_is_one_hook_for_each_kind() -> None:
    assert set(KINDS) >= {
        "modality", "dataset", "corruption", "encoder", "decoder", "latent", "prior", "loss", "objective", "penalty",
        "critic", "activation", "schedule", "sampler", "metric", "callback", "config", "command",
    }  # fmt: skip
    assert len(set(HOOKS.values())) == len(KINDS)


def test_the_contract_imports_nothing_heavy() -> None:
    code = (
        "import sys, aeframe, aeframe.hooks, aeframe.registry, aeframe.factory; aeframe.registry.registry(); "
        "print([name for name in ('torch', 'lightning', 'hydra', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
