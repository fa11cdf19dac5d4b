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
from aeframe.experiment.jobs import UserError
from aeframe.experiment.main import main
from aeframe.experiment.schema import RunSettings
from aeframe.interruption import Interrupted
from aeframe.kinds import GROUPS
from aeframe.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], int | None]]:
    """Replace the workflow with one that records its config; the real one has tests of its own."""
    calls: list[tuple[dict[str, Any], int | None]] = []

    def train(
        config: dict[str, Any], *, job: int | None = None, overrides: list[str], hidden_options: list[str]
    ) -> types.SimpleNamespace:
        del overrides, hidden_options
        calls.append((config, job))
        if config["seed"] == 13:
            raise AeframeError("seed 13 brings no luck")
        if config["seed"] == 14:
            raise RuntimeError("a mistake in the code")
        return types.SimpleNamespace(monitored=config["seed"] / 2, folder=Path("nowhere"))

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


def test_an_error_of_the_user_is_one_line_and_code_2(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latent.dmi=3"]) == 2
    assert main(["seed=13"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: latent 'point' has no option 'dmi', did you mean 'dim'?; its options are dim, spatial, "
        "activation, noise, noise_scale",
        "error: seed 13 brings no luck",
    ]
    assert list(workplace.iterdir()) == []


def test_a_programming_error_keeps_its_traceback(trained: list[tuple[dict[str, Any], int | None]]) -> None:
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


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aeframe {__version__}\n"


def test_a_warning_of_aeframe_is_one_line_and_others_stay(
    trained: list[tuple[dict[str, Any], int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    class OwnWarning(UserWarning):
        __module__ = "aeframe.somewhere"

    shown = []
    workflow = sys.modules["aeframe.experiment.workflow"]

    def train(config: dict[str, Any], **_: Any) -> types.SimpleNamespace:
        shown.append(warnings.formatwarning(OwnWarning("odd"), OwnWarning, "f", 1))
        shown.append(warnings.formatwarning(UserWarning("x"), UserWarning, "f", 1))
        return types.SimpleNamespace(monitored=0.0)

    monkeypatch.setattr(workflow, "train", train)
    assert main([]) == 0
    assert shown == ["warning: odd\n", "f:1: UserWarning: x\n"]


def test_the_state_of_the_process_is_restored(
    trained: list[tuple[dict[str, Any], int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import JobRuntime

    monkeypatch.delenv("AEFRAME_RUN_ID")
    application = object()
    monkeypatch.setattr(GlobalHydra.instance(), "hydra", application)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    JobRuntime.instance().set("name", "my_own_app")
    before = warnings.formatwarning
    assert main(["seed=3"]) == 0
    assert [config["seed"] for config, _ in trained] == [3]
    assert JobRuntime.instance().get("name") == "my_own_app"
    assert GlobalHydra.instance().hydra is application
    assert HydraConfig.instance().cfg is None
    assert warnings.formatwarning is before
    assert "AEFRAME_RUN_ID" not in os.environ


def test_a_signal_ends_the_whole_sweep_with_its_number(
    trained: list[tuple[dict[str, Any], int | None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seeds = []

    def train(config: dict[str, Any], **_: Any) -> types.SimpleNamespace:
        seeds.append(config["seed"])
        raise Interrupted(15, "ended by SIGTERM: the run keeps its checkpoint")

    monkeypatch.setattr(sys.modules["aeframe.experiment.workflow"], "train", train)
    assert main(["-m", "seed=3,4"]) == 143
    assert seeds == [3]
    assert capsys.readouterr().err == "ended by SIGTERM: the run keeps its checkpoint\n"


def test_a_job_returns_the_monitored_number(
    trained: list[tuple[dict[str, Any], int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aeframe.experiment import main as module

    returned: list[Any] = []

    def exit_code(jobs: Any) -> int:
        returned.extend(each.return_value for batch in jobs for each in batch)
        return 0

    monkeypatch.setattr(module, "_exit_code", exit_code)
    assert main(["-m", "seed=3,13,4"]) == 0
    assert returned == [1.5, UserError("point 1 (seed=13): seed 13 brings no luck"), 2.0]


@pytest.mark.parametrize("flag", ["--config-path", "--config-name"])
def test_unsupported_flags_are_errors(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag, "x"]) == 2
    assert capsys.readouterr().err == (
        "error: --config-path and --config-name have no effect, since options have several sources; "
        "use --config-dir for your folder, and choose in it with experiment=NAME\n"
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


def test_an_error_names_its_point_and_the_other_points_are_trained(
    trained: list[tuple[dict[str, Any], int | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "seed=12,13,15"]) == 2
    assert [config["seed"] for config, _ in trained] == [12, 13, 15]
    assert capsys.readouterr().err == "error: point 1 (seed=13): seed 13 brings no luck\n"


def test_a_sweep_that_cannot_be_composed_writes_nothing(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "loss=mse,mea"]) == 2
    assert capsys.readouterr().err.startswith("error: the point loss=mea: unknown loss 'mea', did you mean 'mse'?")
    assert trained == []
    assert list(workplace.iterdir()) == []


def test_a_sweep_writes_below_root(
    trained: list[tuple[dict[str, Any], int | None]], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "now")
    assert main(["-m", "seed=1,2", "root=mine"]) == 0
    written = [path.relative_to(workplace).as_posix() for path in sorted(workplace.rglob("*")) if path.is_file()]
    assert written == [
        f"mine/sweeps/now/{name}"
        for name in ("multirun.yaml", "plan.json", "points/0.json", "points/1.json", "sweep.csv", "sweep.html")
    ]
    assert [config["folder"] for config, _ in trained] == [
        "mine/sweeps/now/0-ae-breast_cancer",
        "mine/sweeps/now/1-ae-breast_cancer",
    ]


# -- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_group_and_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = help_module.help_text()
    for group in (*GROUPS, "logger", "model", "trainer"):
        assert f"\n  {group:<11} " in text
    for setting in RunSettings.__dataclass_fields__:
        assert setting == "trainer" or f"\n  {setting:<20} " in text
    assert (
        "\n  batch_size           int | auto | null, default null. Samples in a batch, over all devices together; "
        in text
    )
    assert "\n  steps_per_call       int | auto, default auto." in text
    assert "\n  trainer.devices      int | auto | list[int] | null, default null." in text
    assert "\n  trainer.ARGUMENT     any other argument of lightning.pytorch.Trainer" in text
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
