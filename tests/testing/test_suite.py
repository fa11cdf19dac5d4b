"""The conformance suite itself: what it asks, what it may be told, and what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe import registry
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe.kinds import KINDS
from aeframe.testing.check import Outcome
from aeframe.testing.checks import CHECKS
from aeframe.testing.suite_runner import SuiteRunner

torch.set_num_threads(1)

WRONG = Path(__file__).parent / "wrong"


@pytest.fixture(autouse=True)
def plugin_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "broken_plugin.py").write_text("import no_such_module", encoding="utf-8")
    files = [WRONG / "wrong_entry.py", WRONG / "wrong_small.py", tmp_path / "broken_plugin.py"]
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", ":".join(map(str, files)))
    monkeypatch.setenv("AEFRAME_DISABLE", "")
    registry.reset()
    yield
    registry.reset()


def outcome(runner: SuiteRunner, check: str, part: str) -> Outcome:
    return next(runner.outcome(c, s) for c, s in runner.cases() if (c.name, s.id) == (check, part))


def test_every_check_has_a_name_of_its_own_a_reason_of_one_line_and_checks_before_it_that_exist() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for check in CHECKS:
        assert check.reason
        assert "\n" not in check.reason
        assert ":" not in check.name
        assert set(check.after) <= set(names[: names.index(check.name)]), check.name
        assert check.kinds <= {"plugin", *KINDS}, check.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"not_applicable": {"batch invarianse": "why not"}},
            "not_applicable names an unknown check 'batch invarianse', did you mean 'batch invariance'?; checks are "
            + ", ".join(check.name for check in CHECKS),
        ),
        (
            {"not_applicable": {"builds:loss=log_cos": "why not"}},
            "not_applicable names 'loss=log_cos', which plugin 'wrong_entry' does not register, "
            "did you mean 'loss=cauchy'?",
        ),
        (
            {"not_applicable": {"builds:loss=cauchy": " "}},
            "not_applicable says nothing of 'builds:loss=cauchy'; say why it does not apply",
        ),
        (
            {"options": {"loss=log_cos": {}}},
            "options are given to 'loss=log_cos', which plugin 'wrong_entry' does not register, "
            "did you mean 'loss=cauchy'?",
        ),
    ],
)
def test_what_a_suite_is_told_must_be_about_something(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        SuiteRunner("wrong_entry", **settings)
    assert str(caught.value) == message


def test_an_unknown_plugin_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        AeframeError, match=r"^there is no plugin 'wrong_entri', did you mean 'wrong_entry'\?; installed"
    ):
        SuiteRunner("wrong_entri")


def test_a_plugin_that_cannot_be_loaded_fails_with_its_reason(tmp_path: Path) -> None:
    runner = SuiteRunner("broken_plugin")
    found = outcome(runner, "loads", "plugin")
    assert (found.state, found.sentence) == (
        "failed",
        f"plugin 'broken_plugin' of {tmp_path / 'broken_plugin.py'} is failed: its import failed with "
        "ModuleNotFoundError: No module named 'no_such_module'",
    )
    waiting = outcome(runner, "hook names", "plugin")
    assert (waiting.state, waiting.sentence) == ("not applicable", "'loads' comes first, and is failed")


def test_an_entry_point_that_imports_torch_is_caught() -> None:
    found = outcome(SuiteRunner("wrong_entry"), "light entry point", "plugin")
    assert found.state == "failed"
    assert found.sentence.startswith("loading plugin 'wrong_entry' imports torch, ")


def test_a_misspelt_hook_is_caught_though_it_is_not_marked() -> None:
    found = outcome(SuiteRunner("wrong_entry"), "hook names", "plugin")
    assert (found.state, found.sentence) == (
        "failed",
        "there is no hook 'register_loses', did you mean 'register_losses'?",
    )


def test_what_is_declared_not_applicable_is_not_tried_and_says_why() -> None:
    why = "it is wrong on purpose"
    runner = SuiteRunner("wrong_small", not_applicable={"batch invariance:loss=averaging_again": why})
    found = outcome(runner, "batch invariance", "loss=averaging_again")
    assert (found.state, found.sentence) == ("not applicable", why)
    everywhere = SuiteRunner("wrong_small", not_applicable={"batch invariance": why})
    assert outcome(everywhere, "batch invariance", "loss=averaging_again").sentence == why


def test_a_part_without_a_default_says_what_the_suite_must_be_given() -> None:
    found = outcome(SuiteRunner("core"), "schedule", "schedule=constant")
    assert (found.state, found.sentence) == (
        "not applicable",
        "'value' has no default; give the suite one: options['schedule=constant']",
    )
    given = SuiteRunner("core", options={"schedule=constant": {"value": 2.0}})
    assert outcome(given, "schedule", "schedule=constant").state == "ok"


def test_a_failure_says_what_is_wrong_in_one_sentence() -> None:
    found = outcome(SuiteRunner("wrong_small"), "batch invariance", "loss=averaging_again")
    assert found.state == "failed"
    assert found.sentence.startswith(
        "loss=averaging_again: the term 'reconstruction' changes in evaluation, when other samples are in its batch, "
        "by up to "
    )


def test_under_pytest_each_check_of_each_part_is_a_test(tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(
        "import torch\nfrom aeframe.testing import PluginSuite\ntorch.set_num_threads(1)\n\n"
        "class TestSmall(PluginSuite):\n    plugin = 'wrong_small'\n"
        "    not_applicable = {'two processes': 'tried elsewhere', 'saved model': 'tried elsewhere'}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rfs", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    assert len(failed) == 1
    assert failed[0].startswith(
        "FAILED test_small.py::TestSmall::test_conformance[batch invariance:loss=averaging_again]"
    )
    assert any(line.startswith("SKIPPED") and line.endswith(": tried elsewhere") for line in lines)
    assert "(batch invariance: a sample's terms are its own, whatever it is batched with)" in lines


SUITE = """
from aeframe.testing import PluginSuite

class TestSmall(PluginSuite):
    plugin = "wrong_small"
    not_applicable = {"per-sample terms": "so that little is tried"}
"""


def test_the_command_reports_every_check_and_fails_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "test_entry.py").write_text(SUITE.replace("wrong_small", "wrong_entry"), encoding="utf-8")
    assert main(["check-plugin", "wrong_entry", "--suite", str(tmp_path / "test_entry.py")]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[:2] == ["part check state", "plugin loads ok"]
    assert "hook names failed there is no hook 'register_loses', did you mean 'register_losses'?" in lines
    assert "per-sample terms not applicable so that little is tried" in lines
    assert lines[-1].startswith("plugin 'wrong_entry': ")
    assert ", 2 failed, " in lines[-1]


def test_the_command_shows_failures_alone_when_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(SUITE, encoding="utf-8")
    words = ["check-plugin", "wrong_small", "--suite", str(tmp_path / "test_small.py"), "--failed"]
    assert main(words) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line)
    assert line.startswith("plugin 'wrong_small': ")
    assert ", 0 failed, " in line


def test_the_command_answers_a_wrong_suite_in_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check-plugin", "wrong_small", "--suite", "absent.py"]) == 2
    assert capsys.readouterr().err == (
        "error: --suite expects a Python file, found 'absent.py'; give the path of the plugin's test file\n"
    )
    file = tmp_path / "test_other.py"
    file.write_text(SUITE, encoding="utf-8")
    assert main(["check-plugin", "wrong_entry", "--suite", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"error: '{file}' has no PluginSuite with plugin = 'wrong_entry'; write one, or leave out --suite\n"
    )
