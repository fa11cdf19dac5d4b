from __future__ import annotations

import csv
import importlib
import json
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.pruners import BasePruner

import aeframe
import aeframe.experiment.tuning
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe.experiment.tuning import search
from aeframe.experiment.tuning.result import TuneResult
from aeframe.interruption import Interrupted
from aeframe.runs.comparison import IGNORED
from aeframe.runs.lock import run_lock

Fake = Callable[[Callable[[int], float]], list[int]]
SPACE = {"latent.dim": {"low": 2, "high": 40}}


def tuned(**arguments: Any) -> TuneResult:
    return aeframe.tune(SPACE, **{"study": "study.db", "trials": 3, **arguments})


def error_of(**arguments: Any) -> str:
    with pytest.raises(AeframeError) as error:
        tuned(**arguments)
    return str(error.value)


def rows() -> list[tuple[str, str, str]]:
    with Path("runs/studies/study/sweep.csv").open(encoding="utf-8") as file:
        return [(row["point"], row["status"], row["error"]) for row in csv.DictReader(file)]


def test_the_command_searches_continues_and_writes_the_best_as_an_experiment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("beta.yaml").write_text("objective.beta: {low: 0.1, high: 4, log: true}\nlatent.dim: [2, 4]\n")
    words = ["tune", "beta.yaml", "model=vae", "max_epochs=1", "encoder.hidden=[8]", "latent.dim=4"]
    # Trials have two settings; one of them is also set to one value.
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "error: 'latent.dim' is set to one value and searched; leave out latent.dim=4, or the search of latent.dim\n"
    )
    assert not Path("runs").exists()
    assert main([*words[:-1], "--trials", "1"]) == 0
    assert main([*words[:-1], "--trials", "2"]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("trial")] == ["trial 0", "trial 1"]
    assert out.endswith(
        "study: runs/studies/beta.db\n"
        "configs/experiment/beta.yaml: repeat the best trial by aeframe-train experiment=beta\n"
    )
    table = Path("runs/studies/beta/sweep.csv").read_text(encoding="utf-8")
    with Path("runs/studies/beta/sweep.csv").open(encoding="utf-8") as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["val/bound"]))
    assert table.count("finished") == 2
    stored = yaml.safe_load(Path(best["run"], "config.yaml").read_text(encoding="utf-8"))
    assert float(best["objective.beta"]) == stored["objective"]["beta"]
    again = aeframe.fit(overrides=["experiment=beta", "verbose=false", "pictures=false"])
    repeated = yaml.safe_load((again.folder / "config.yaml").read_text(encoding="utf-8"))
    assert {key: repeated[key] for key in repeated if key not in IGNORED} == {
        key: stored[key] for key in stored if key not in IGNORED
    }
    assert again.monitored == float(best["val/bound"])


def test_the_first_trial_is_the_run_without_a_search(fake_training: Fake) -> None:
    trained = fake_training(float)
    result = tuned()
    assert trained[0] == 16
    assert len(set(trained)) == 3
    assert result.best.value == min(trained)
    assert result.best.settings == {"latent.dim": min(trained)}
    assert list(result.table["val/bound"]) == [float(dim) for dim in trained]
    assert list(result.table["status"]) == ["complete"] * 3
    assert result.best.folder == Path(f"runs/studies/study/{result.best.number}-ae-breast_cancer")


def test_the_highest_value_is_best_where_the_metric_improves_so(fake_training: Fake) -> None:
    trained = fake_training(float)
    assert tuned(monitor="r2").best.value == max(trained)


def test_a_study_in_two_processes_or_continued_tries_the_same_points(fake_training: Fake) -> None:
    trained = fake_training(float)
    tuned(trials=5)
    at_once = [*trained]
    trained.clear()
    for trials in (2, 5, 5):
        tuned(trials=trials, study="parts.db")
    assert trained == at_once
    trained.clear()
    tuned(trials=3, study="seed.db", seed=1)
    assert trained[:1] == at_once[:1]
    assert trained[1:] != at_once[1:3]


def test_failed_trials_are_listed_and_the_search_continues(
    fake_training: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    def value(dim: int) -> float:
        if len(trained) == 2:
            raise AeframeError("the loss is nan; lower optimizer.lr")
        if len(trained) == 3:
            raise ValueError("a bug\nof a part")
        return math.nan if len(trained) == 4 else dim

    trained = fake_training(value)
    result = tuned(trials=5)
    assert [trial.status for trial in result.trials] == ["complete", "failed", "failed", "failed", "complete"]
    assert rows()[1:4] == [
        ("1", "failed", "the loss is nan; lower optimizer.lr"),
        ("2", "failed", "ValueError: a bug of a part"),
        ("3", "failed", "val/bound was never finite"),
    ]
    assert "Traceback" in capsys.readouterr().err
    # They are trials of the study, and are not tried again.
    assert len(tuned(trials=5).trials) == 5


def test_a_search_whose_first_trials_all_fail_ends(fake_training: Fake) -> None:
    trained = fake_training(lambda _: math.nan)
    assert error_of(trials=9) == "the first 3 trials failed, the last one with: val/bound was never finite"
    assert len(trained) == 3


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_trial_is_marked_and_its_point_tried_again(
    fake_training: Fake, signal_number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def value(dim: int) -> float:
        if len(trained) == 2:
            raise Interrupted(signal_number)
        return dim

    trained = fake_training(value)
    with pytest.raises(KeyboardInterrupt if signal_number == signal.SIGINT else SystemExit):
        tuned()
    assert "study 'study.db' was interrupted; the same command continues it\n" in capsys.readouterr().err
    assert rows()[1][:2] == ("1", "unfinished")
    result = tuned()
    assert [trial.status for trial in result.trials] == ["complete", "interrupted", "complete", "complete"]
    assert trained[2] == trained[1]


def test_a_trial_of_a_killed_process_is_marked_and_its_point_tried_again(fake_training: Fake) -> None:
    fake_training(float)
    tuned(trials=1)
    # A process that was killed leaves a running trial and a lock file that no process holds.
    study = optuna.load_study(study_name="study", storage="sqlite:///study.db")
    for name in ("killed", "alive"):
        trial = study.ask()
        trial.suggest_int("latent.dim", 2, 40)
        trial.set_user_attr("worker", name)
        Path(f"runs/studies/study/workers/{name}").mkdir(parents=True)
    Path("runs/studies/study/workers/killed/.lock").touch()
    with run_lock(Path("runs/studies/study/workers/alive")):
        result = tuned(trials=3)
    assert [trial.status for trial in result.trials] == ["complete", "interrupted", "running", "complete"]
    assert result.trials[3].settings == result.trials[1].settings


def test_another_search_in_the_same_study_is_refused(fake_training: Fake) -> None:
    fake_training(float)
    tuned(trials=1)
    assert error_of(max_epochs=3) == (
        'study \'study.db\' was begun with max_epochs "None", found max_epochs "3"; choose another file with --study, '
        "or use the same search space and settings"
    )
    with pytest.raises(AeframeError, match=r'begun with the search of latent.dim {"low": 2, "high": 40}, found the'):
        aeframe.tune({"latent.dim": [2, 3]}, study="study.db")
    # Settings without an influence on the result may differ.
    tuned(trials=2, workers=1)


def test_a_file_that_is_no_study_is_refused_and_kept(fake_training: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_training(float)
    Path("study.db").write_text("my notes on the study, long enough to be no empty database" * 20, encoding="utf-8")
    assert error_of().startswith("'study.db' cannot be opened as a study of Optuna (")
    assert Path("study.db").read_text(encoding="utf-8").startswith("my notes")
    Path("study.db").unlink()
    optuna.create_study(study_name="study", storage="sqlite:///study.db").ask()
    assert error_of() == "'study.db' is a study of another program; choose another file with --study"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"latent.dmi": [2, 3]},
            "the search has the point latent.dmi=2, which is refused: latent 'point' has no option 'dmi', did you mean "
            "'dim'?; its options are dim, spatial",
        ),
        (
            {"laten": ["point", "gaussian"]},
            "the search has the point laten=point, which is refused: a run has no setting and no part 'laten', did you "
            "mean 'latent'?",
        ),
        (
            {"latent.dim": [2, "many"]},
            "the search has the point latent.dim=many, which is refused: latent 'point': option 'dim' expects",
        ),
    ],
)
def test_a_setting_that_a_run_refuses_is_refused_before_anything_is_written(space: Any, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        aeframe.tune(space, study="study.db")
    assert str(error.value).startswith(message)
    assert list(Path().iterdir()) == []


def test_settings_that_trials_cannot_share_are_refused() -> None:
    assert error_of(folder="x") == (
        "tune makes a folder for each trial, found folder='x'; set root=PATH, or continue a study with --study"
    )
    assert error_of(trainer={"devices": 2}) == (
        "tune trains each trial on one device, found several; set trainer.devices=1, and run the same command once for "
        "each device"
    )
    assert error_of(trials=0) == "tune expects at least 1 trial, found 0; set trials higher"


def test_optuna_is_required_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(AeframeError, match=r"^tune requires optuna; run pip install 'aeframe\[tune\]'$"):
        importlib.reload(aeframe.experiment.tuning)


class PruneOddTrials(BasePruner):
    """Prune every second trial at its first validation."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number % 2 == 1


def test_a_pruned_trial_keeps_its_folder_and_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MedianPruner", lambda **_: PruneOddTrials())
    result = tuned(trials=2, prune=True, max_epochs=3, encoder={"hidden": [8]})
    assert [trial.status for trial in result.trials] == ["complete", "pruned"]
    assert rows() == [("0", "finished", ""), ("1", "pruned", "pruned after 1 validations")]
    pruned = result.trials[1].folder
    assert pruned is not None
    assert json.loads((pruned / "state.json").read_text(encoding="utf-8")) == {"status": "pruned"}
    assert aeframe.fit(resume=pruned, verbose=False, pictures=False).folder == pruned


def test_samples_in_memory_are_searched_with_their_objects(fake_training: Fake) -> None:
    import torch

    fake_training(float)
    result = aeframe.tune(SPACE, torch.rand(40, 6), trials=1, study="study.db")
    assert result.best.value == 16
    with pytest.raises(AeframeError, match=r"no file can name; pass best.settings to aeframe.fit instead$"):
        result.write_experiment()
