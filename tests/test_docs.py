"""The documentation is run: how-to pages do what they say, and the reference is the code's own."""

import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from aeframe import registry
from aeframe.cli.main import main as aeframe
from aeframe.experiment.main import main as aeframe_train
from aeframe.hooks import HOOKS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("how-to", "explanation")
PAGES_RUN = sorted(path for folder in PAGES for path in (DOCS / folder).glob("*.md") if path.name != "README.md")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_script(words: list[str]) -> int:
    """Run a file of the page, with the page's other files importable."""
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_path(words[0], run_name="__main__")
    return 0


def train(words: list[str]) -> int:
    """Train in this process; on several devices in another one, which Lightning starts again for each."""
    if not any(word.startswith("trainer.devices=") for word in words):
        return aeframe_train([*words, "pictures=false"])
    return run_outside("-m", "aeframe.experiment.main", *words, "pictures=false")


def torchrun(words: list[str]) -> int:
    """Start a command of this environment by torchrun."""
    return run_outside("-m", "torch.distributed.run", *words)


def export(words: list[str]) -> int:
    """Set environment variables; the fixture `folder` restores those that pages set."""
    os.environ.update(word.split("=", 1) for word in words)  # type: ignore[arg-type]
    return 0


def run_outside(*words: str) -> int:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run([sys.executable, *words], env={**os.environ, "PATH": path}, check=False).returncode


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "aeframe": aeframe,
    "aeframe-train": train,
    "python": run_script,
    "torchrun": torchrun,
    "export": export,
}


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    torch.set_num_threads(1)
    for variable in (
        "AEFRAME_PLUGIN_FILES",
        "AEFRAME_DISABLE",
        "AEFRAME_STRICT_PLUGINS",
        "AEFRAME_RUN_ID",
        "AEFRAME_ZOO",
    ):
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("AEFRAME_ARCHIVES", str(tmp_path_factory.mktemp("archives")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    # Parts that a page registers are no parts of other tests.
    monkeypatch.setattr(registry, "_registered", {})
    registry.reset()
    yield tmp_path
    registry.reset()
    for module in [name for name in sys.modules if name.startswith("my_") and name not in before]:
        del sys.modules[module]


@pytest.mark.parametrize("page", PAGES_RUN, ids=[page.stem for page in PAGES_RUN])
def test_a_page_does_what_it_says(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for _, name, text in blocks:
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    lines = [line for language, _, text in blocks if language == "sh" for line in text.splitlines()]
    assert lines, "a page without a command shows nothing"
    for line in lines:
        command, *words = shlex.split(line)
        assert COMMANDS[command](words) == 0, f"{line}\n{capsys.readouterr().err}"


def forget(package: str) -> None:
    """Let the next command import a plugin and its files as they are now, as a new process would."""
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[module]
    importlib.invalidate_caches()
    registry.reset()


@pytest.mark.slow
def test_the_tutorial_builds_a_plugin_that_passes_its_tests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As an editable install would have it: the code where it is, its metadata where Python looks for them.
    found = [str(folder / each) for each in ("aeframe-starlight/src", "site")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found), "OMP_NUM_THREADS": "1"}
    offline = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site"]
    commands = {**COMMANDS, "aeframe-train": aeframe_train}
    sys.path[:0] = found
    for language, name, text in BLOCK.findall((DOCS / "tutorial" / "README.md").read_text(encoding="utf-8")):
        if name:
            (folder / name).write_text(text, encoding="utf-8")
            continue
        assert language == "sh"
        for line in text.splitlines():
            command, *words = shlex.split(line)
            if command == "pip" or words[:1] == ["-m"]:
                words = [*offline, f"./{words[-1]}"] if command == "pip" else words
                done = subprocess.run(
                    [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            else:
                forget("aeframe_starlight")
                assert commands[command](words) == 0, f"{line}\n{capsys.readouterr().err}"
    forget("aeframe_starlight")
    assert len((folder / "new.csv").read_text(encoding="utf-8").splitlines()) == 8


def test_every_how_to_page_is_in_the_list() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "how-to" / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [page.name for page in PAGES_RUN if page.parent.name == "how-to"]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    text = HOOKS[hook].__doc__ or ""
    assert text.startswith("Register ")
    if hook not in ("register_configs",):
        assert "Injected: " in text


@pytest.mark.parametrize("name", ["checks", "contracts", "hooks", "models"])
def test_a_page_of_the_reference_is_up_to_date(name: str, folder: Path) -> None:
    path = DOCS / "reference" / f"generate_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert written == module.page(), f"{name}.md is stale; run python docs/reference/generate_{name}.py"


def test_every_base_class_named_by_a_hook_has_its_contract() -> None:
    page = (DOCS / "reference" / "contracts.md").read_text(encoding="utf-8")
    for hook in HOOKS:
        for place in re.findall(r"`(aeframe\.[\w.]*[A-Z]\w*)`", HOOKS[hook].__doc__ or ""):
            module, _, name = place.rpartition(".")
            assert f"## {name}\n\n`from {module} import {name}`\n" in page, hook


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
