import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.errors import AeframeError
from aeframe.experiment import help as help_module
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main
from aeframe.experiment.schema import GROUPS, RunSettings
from aeframe.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], int | None]]:
    """Put a workflow in place that only notes what it is asked for; the real one has tests of its own."""
    calls: list[tuple[dict[str, Any], int | None]] = []

    def train(config: dict[str, Any], *, job: int | None = None, asked: list[str]) -> None:
        del asked
        calls.append((config, job))
        if config["seed"] == 13:
            raise AeframeError("seed 13 brings no luck")
        if config["seed"] == 14:
            raise RuntimeError("a mistake in the code")

    module = types.ModuleType("aeframe.experiment.workflow")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aeframe.experiment.workflow", module)
    return calls


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *argv], capture_output=True, text=True, check=False, cwd=os.getcwd()
    )


# -- one run ---------------------------------------------------------------------------------------------------------


def test_a_run_is_trained_from_the_composed_config_and_nothing_is_written(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path
) -> None:
    assert main(["model=vae", "latent.dim=3"]) == 0
    assert trained == [(compose(["model=vae", "latent.dim=3"]), None)]
    assert list(workplace.iterdir()) == []


def test_a_refusal_is_one_line_and_code_2(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latent.dmi=3"]) == 2
    assert main(["seed=13"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: latent 'point' has no option 'dmi', did you mean 'dim'?; its options are dim, spatial, activation",
        "error: seed 13 brings no luck",
    ]
    assert list(workplace.iterdir()) == []


def test_a_mistake_in_the_code_keeps_its_traceback(trained: list[tuple[dict[str, Any], int | None]]) -> None:
    with pytest.raises(RuntimeError, match="a mistake in the code"):
        main(["seed=14"])


def test_the_command_exits_with_2_and_one_line(workplace: Path) -> None:
    done = run("latnt.dim=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a run has no setting and no part 'latnt', did you mean 'latent'?\n"
    assert list(workplace.iterdir()) == []


def test_the_config_of_a_run_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model=vae", "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == compose(["model=vae"])


def test_a_warning_of_the_house_is_one_line_and_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    from aeframe.experiment.checks import SuspiciousConfigWarning

    before = warnings.formatwarning
    try:
        assert main(["--version"]) == 0
        assert (
            warnings.formatwarning(SuspiciousConfigWarning("odd"), SuspiciousConfigWarning, "f", 1) == "warning: odd\n"
        )
        assert warnings.formatwarning(UserWarning("x"), UserWarning, "f", 1) == "f:1: UserWarning: x\n"
    finally:
        warnings.formatwarning = before
    assert capsys.readouterr().out == f"aeframe {__version__}\n"


@pytest.mark.parametrize("flag", ["--config-path", "--config-name"])
def test_flags_that_mean_nothing_here_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag, "x"]) == 2
    assert capsys.readouterr().err == (
        "error: --config-path and --config-name have no meaning here, since options are looked for in several places; "
        "give your folder with --config-dir, and choose in it with experiment=NAME\n"
    )


def test_a_plugin_file_is_loaded_before_anything_is_composed(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path
) -> None:
    (workplace / "mine.py").write_text(
        "from aeframe import hookimpl\n\n@hookimpl\ndef register_activations(register):\n"
        "    register('mine', 'torch.nn:ReLU')\n",
        encoding="utf-8",
    )
    assert main(["--plugin", "mine.py", "activation=mine"]) == 0
    assert trained[0][0]["activation"]["name"] == "mine"


def test_the_users_folder_is_taken_from_the_command_line(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path
) -> None:
    (workplace / "own" / "experiment").mkdir(parents=True)
    (workplace / "own" / "experiment" / "e.yaml").write_text("# @package _global_\nseed: 5\n", encoding="utf-8")
    assert main(["--config-dir", "own", "experiment=e"]) == 0
    assert trained[0][0]["seed"] == 5


# -- a sweep ---------------------------------------------------------------------------------------------------------


def test_a_sweep_numbers_its_points_and_each_chooses_its_data(
    trained: list[tuple[dict[str, Any], int | None]], grid: Path
) -> None:
    assert main(["-m", "modality=vector,grid", "seed=1,2"]) == 0
    found = [(config["data"]["name"], config["seed"], number) for config, number in trained]
    assert found == [("breast_cancer", 1, 0), ("breast_cancer", 2, 1), ("squares", 1, 2), ("squares", 2, 3)]


def test_a_point_that_is_refused_names_itself_and_the_others_go_on(
    trained: list[tuple[dict[str, Any], int | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "seed=12,13,15"]) == 2
    assert [config["seed"] for config, _ in trained] == [12, 13, 15]
    assert capsys.readouterr().err == "error: the point seed=13: seed 13 brings no luck\n"


def test_a_sweep_that_cannot_be_composed_writes_nothing(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "loss=mse,mea"]) == 2
    assert capsys.readouterr().err.startswith("error: the point loss=mea: unknown loss 'mea', did you mean 'mse'?")
    assert trained == []
    assert list(workplace.iterdir()) == []


def test_what_a_sweep_writes_lies_below_root(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "now")
    assert main(["-m", "seed=1,2", "root=mine"]) == 0
    written = [path.relative_to(workplace).as_posix() for path in sorted(workplace.rglob("*")) if path.is_file()]
    assert written == ["mine/sweeps/now/multirun.yaml"]


# -- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_group_and_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = help_module.help_text()
    for group in (*GROUPS, "model", "trainer"):
        assert f"\n  {group:<11} " in text
    for setting in RunSettings.__dataclass_fields__:
        assert setting == "trainer" or f"\n  {setting:<20} " in text
    assert "\n  batch_size           int, default 64. Samples in a batch, over all devices together.\n" in text
    assert "breast_cancer" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['train.py', '--help']\n"
        "from aeframe.experiment.main import main\n"
        "assert main() == 0\n"
        "print([name for name in ('torch', 'lightning', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: aeframe-train ")
    assert done.stderr == "[]\n"
