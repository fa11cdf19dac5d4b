import inspect
import subprocess
import sys

import pytest

from aeframe.hooks import HOOKS
from aeframe.kinds import KINDS

SPECS = sorted(HOOKS)


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_documents_what_is_injected(name: str) -> None:
    doc = inspect.getdoc(HOOKS[name]) or ""
    assert doc.startswith("Register ")
    # A package of YAML has no constructor.
    if name != "register_configs":
        assert "Injected: " in doc
    assert len(doc.splitlines()[0]) <= 120


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_takes_register_and_nothing_else(name: str) -> None:
    assert list(inspect.signature(HOOKS[name]).parameters) == ["register"]


def test_there_is_one_hook_for_each_kind() -> None:
    assert set(KINDS) >= {
        "modality", "dataset", "corruption", "encoder", "decoder", "latent", "prior", "loss", "objective", "penalty",
        "critic", "activation", "schedule", "sampler", "metric", "callback", "config", "command",
    }  # fmt: skip
    assert len(set(HOOKS)) == len(KINDS)


def test_the_contract_imports_nothing_heavy() -> None:
    code = (
        "import sys, aeframe, aeframe.hooks, aeframe.registry, aeframe.factory; aeframe.registry.registry(); "
        "print([name for name in ('torch', 'lightning', 'hydra', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
