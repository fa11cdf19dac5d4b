"""The conformance suite: its checks, options, outcomes and command."""

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
from aeframe.testing.options import SuiteOptions
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


def runner(plugin: str, **options: Any) -> SuiteRunner:
    return SuiteRunner(SuiteOptions(plugin, **options))


def outcome(runner: SuiteRunner, check_name: str, part_id: str) -> Outcome:
    return next(
        runner.outcome(check, part) for check, part in runner.cases() if (check.name, part.id) == (check_name, part_id)
    )


def test_checks_have_unique_names_a_reason_of_one_line_and_depend_on_earlier_checks() -> None:
    names = [check.name for check in CHECKS]
    assert all(check.function.__doc__ for check in CHECKS), "the page docs/reference/checks.md prints the docstrings"
    assert len(set(names)) == len(names)
    for check in CHECKS:
        assert check.reason
        assert "\n" not in check.reason
        assert ":" not in check.name
        assert set(check.depends_on) <= set(names[: names.index(check.name)]), check.name
        assert check.kinds <= {"plugin", *KINDS}, check.name


@pytest.mark.parametrize(
    ("options", "message"),
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
            "not_applicable has no reason for 'builds:loss=cauchy'; write why the check does not apply",
        ),
        (
            {"options": {"loss=log_cos": {}}},
            "options names 'loss=log_cos', which plugin 'wrong_entry' does not register, did you mean 'loss=cauchy'?",
        ),
    ],
)
def test_options_for_unknown_checks_and_parts_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        runner("wrong_entry", **options)
    assert str(caught.value) == message


def test_the_error_for_an_unknown_plugin_has_the_nearest_name() -> None:
    with pytest.raises(
        AeframeError, match=r"^there is no plugin 'wrong_entri', did you mean 'wrong_entry'\?; installed"
    ):
        runner("wrong_entri")


def test_a_plugin_that_cannot_be_loaded_fails_with_its_reason(tmp_path: Path) -> None:
    broken = runner("broken_plugin")
    result = outcome(broken, "loads", "plugin")
    assert (result.state, result.message) == (
        "failed",
        f"plugin 'broken_plugin' of {tmp_path / 'broken_plugin.py'} has the state 'failed': its import failed with "
        "ModuleNotFoundError: No module named 'no_such_module'",
    )
    dependent = outcome(broken, "hook names", "plugin")
    assert (dependent.state, dependent.message) == (
        "not applicable",
        "it depends on the check 'loads', with the outcome 'failed'",
    )


def test_an_entry_point_that_imports_torch_fails() -> None:
    result = outcome(runner("wrong_entry"), "light entry point", "plugin")
    assert result.state == "failed"
    assert result.message.startswith("loading plugin 'wrong_entry' imports torch, ")


def test_a_misspelt_hook_without_a_marker_fails() -> None:
    result = outcome(runner("wrong_entry"), "hook names", "plugin")
    assert (result.state, result.message) == (
        "failed",
        "there is no hook 'register_loses', did you mean 'register_losses'?",
    )


def test_a_check_that_is_declared_not_applicable_has_its_reason() -> None:
    why = "it is wrong on purpose"
    for_one_part = runner("wrong_small", not_applicable={"batch invariance:loss=averaging_again": why})
    result = outcome(for_one_part, "batch invariance", "loss=averaging_again")
    assert (result.state, result.message) == ("not applicable", why)
    for_all_parts = runner("wrong_small", not_applicable={"batch invariance": why})
    assert outcome(for_all_parts, "batch invariance", "loss=averaging_again").message == why


def test_a_required_option_must_be_set_in_the_suite() -> None:
    result = outcome(runner("core"), "schedule", "schedule=constant")
    assert (result.state, result.message) == (
        "not applicable",
        "option 'value' has no default; set it in the suite: options = {'schedule=constant': {'value': ...}}",
    )
    with_value = runner("core", options={"schedule=constant": {"value": 2.0}})
    assert outcome(with_value, "schedule", "schedule=constant").state == "ok"


def test_a_failure_has_a_message_of_one_sentence() -> None:
    result = outcome(runner("wrong_small"), "batch invariance", "loss=averaging_again")
    assert result.state == "failed"
    assert result.message.startswith(
        "loss=averaging_again: the term 'reconstruction' changes in evaluation, when other samples are added to the "
        "batch, by up to "
    )


def test_under_pytest_each_check_of_each_part_is_a_test(tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(
        "import torch\nfrom aeframe.testing import PluginSuite\ntorch.set_num_threads(1)\n\n"
        "class TestSmall(PluginSuite):\n    plugin = 'wrong_small'\n"
        "    not_applicable = {'two processes': 'tested elsewhere', 'saved model': 'tested elsewhere'}\n",
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
    assert any(line.startswith("SKIPPED") and line.endswith(": tested elsewhere") for line in lines)
    assert "(batch invariance: the terms of a sample must not depend on the other samples of its batch)" in lines


SUITE = """
from aeframe.testing import PluginSuite

class TestSmall(PluginSuite):
    plugin = "wrong_small"
    not_applicable = {"per-sample terms": "to keep the test short"}
"""


def test_the_command_reports_every_check_and_fails_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A pipe has no width: lines are complete.
    monkeypatch.setenv("COLUMNS", "20")
    (tmp_path / "test_entry.py").write_text(SUITE.replace("wrong_small", "wrong_entry"), encoding="utf-8")
    assert main(["check-plugin", "wrong_entry", "--suite", str(tmp_path / "test_entry.py")]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[:2] == ["part check state", "plugin loads ok"]
    assert (
        lines[lines.index("hook names failed") + 1]
        == "there is no hook 'register_loses', did you mean 'register_losses'?"
    )
    assert lines[lines.index("per-sample terms not applicable") + 1] == "to keep the test short"
    assert lines[-1].startswith("plugin 'wrong_entry': ")
    assert ", 2 failed, " in lines[-1]


def test_the_command_shows_failures_only_with_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(SUITE, encoding="utf-8")
    arguments = ["check-plugin", "wrong_small", "--suite", str(tmp_path / "test_small.py"), "--failed"]
    assert main(arguments) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line)
    assert line.startswith("plugin 'wrong_small': ")
    assert ", 0 failed, " in line


def test_the_command_rejects_a_wrong_suite_in_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check-plugin", "wrong_small", "--suite", "absent.py"]) == 2
    assert capsys.readouterr().err == (
        "error: --suite expects a Python file, found 'absent.py'; give the path of the plugin's test file\n"
    )
    file = tmp_path / "test_other.py"
    file.write_text(SUITE, encoding="utf-8")
    assert main(["check-plugin", "wrong_entry", "--suite", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"error: '{file}' has no PluginSuite with plugin = 'wrong_entry'; write one, or omit --suite\n"
    )
