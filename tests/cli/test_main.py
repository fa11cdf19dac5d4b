import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.cli.main import main
from aeframe.version import __version__

HEAVY = ("torch", "lightning", "hydra", "omegaconf", "numpy", "pydantic", "torchmetrics", "sklearn", "matplotlib")
COMMAND = """
from aeframe import hookimpl

@hookimpl
def register_commands(register):
    register("count", "verbs_of_test_main:Count", summary="count to a number")
    register("absent", "no_such_module:Absent", summary="a verb whose module cannot be imported")
"""
VERB = '''
from aeframe.cli import Command
from aeframe.errors import AeframeError

class Count(Command):
    """Count to a number, one line each."""

    def arguments(self, parser):
        parser.add_argument("end", type=int)

    def run(self, args):
        if args.end < 0:
            raise AeframeError("count needs an end of at least 0, found -1; give a larger one")
        print(*range(args.end))
        return 7
'''


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS"):
        monkeypatch.setenv(variable, "")
    monkeypatch.chdir(tmp_path)
    registry.reset()
    yield tmp_path
    registry.reset()


@pytest.fixture
def verbs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "verbs_plugin.py").write_text(COMMAND, encoding="utf-8")
    (workplace / "verbs_of_test_main.py").write_text(VERB, encoding="utf-8")
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(workplace / "verbs_plugin.py"))


def test_help_lists_every_verb_without_importing_it(verbs: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n  absent +a verb whose module cannot be imported\n", out)
    assert re.search(r"\n  plugins +list plugins and the names that each registers\n", out)
    assert "verbs_of_test_main" not in sys.modules


def test_a_verb_is_run_with_its_arguments(verbs: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "3"]) == 7
    assert capsys.readouterr().out == "0 1 2\n"


def test_an_underscore_in_a_verb_is_a_dash_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "\n  new-plugin  " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["new-plugin", "--help"])
    assert capsys.readouterr().out.startswith("usage: aeframe new-plugin [-h] ")


def test_a_plugin_file_may_register_a_verb(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, verbs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", "")
    assert main(["--plugin", "verbs_plugin.py", "count", "1"]) == 7
    assert capsys.readouterr().out == "0\n"


def test_help_of_a_verb_begins_with_its_docstring(verbs: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["count", "--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: aeframe count [-h] end\n")
    assert "\nCount to a number, one line each.\n" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["count", "--", "-1"], "error: count needs an end of at least 0, found -1; give a larger one\n"),
        (
            ["cuont"],
            "error: unknown command 'cuont', did you mean 'count'?; known are {known}\n",
        ),
    ],
)
def test_a_user_error_is_one_line_with_exit_code_2(
    verbs: None, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main(argv) == 2
    known = ", ".join(registry.registry().names("command"))
    assert capsys.readouterr() == ("", message.format(known=known))


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "aeframe", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"aeframe {__version__}\n"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"aeframe {__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["plugins"], ["plugins", "--json"], ["evaluate", "--help"]])
def test_listings_import_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys\nfrom aeframe.cli.main import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_plugins_is_fast() -> None:
    def seconds(*argv: str) -> float:
        """Return the processor time of a process, which does not depend on other load of the machine."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *argv], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = statistics.median(seconds("-c", "pass") for _ in range(5))
    listing = statistics.median(seconds("-m", "aeframe.cli.main", "plugins") for _ in range(5))
    assert listing < bare + 0.3


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -c 'import sys; from aeframe.cli.main import main; sys.exit(main())' plugins"
    done = subprocess.run(f"{command} | true", shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
