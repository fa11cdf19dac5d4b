"""The verb `anomalies` on a model of tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main

NAMES = ["a", "b", "c", "d"]


def frame_of(num: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, 1)) @ np.array([[1.0, -1, 0.5, 2]]) + 0.05 * rng.normal(size=(num, 4))
    frame = pd.DataFrame(values, columns=NAMES).round(4)
    frame.insert(0, "visit", [f"v{number}" for number in range(num)])
    return frame.assign(state=np.where(np.arange(num) % 20 == 7, "fault", "normal"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anomalies")
    frame_of(200, 0).to_csv(folder / "train.csv", index=False)
    data = {"name": "numbers", "path": str(folder / "train.csv"), "id": "visit", "label": "state"}
    options = {
        "max_epochs": 40,
        "latent": {"dim": 1},
        "pictures": False,
        "trainer": {"accelerator": "cpu", "threads": 1},
    }
    aeframe.fit(model="vae", data=data, folder=str(folder / "run"), verbose=False, **options)
    return folder / "run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame = frame_of(40, 1)
    frame.loc[frame["state"] == "fault", "c"] += 6
    frame.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def run_verb(*argv: object) -> None:
    assert main(["anomalies", *map(str, argv)]) == 0


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["anomalies", *map(str, argv)]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_anomalies_have_the_highest_scores(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "scores.csv", tmp_path / "highest.png"
    run_verb(run, file, "--batch-size", 16, "--anomalous", "fault", "--picture", picture, "-o", out)
    rows = pd.read_csv(out)
    assert list(rows.columns) == ["name", "index", "label", "score", "percentile", "anomaly", "where"]
    assert rows["name"].tolist() == [f"v{number}" for number in range(40)]
    model = aeframe.load(run)
    batch = model.modality.read(file)
    errors = model.element_errors(batch)
    assert errors is not None
    assert rows["score"].to_numpy() == pytest.approx(errors.mean(1).numpy(), rel=1e-5)
    scale = model.scales["reconstruction"]
    assert scale.num == (160, 20)
    assert rows["anomaly"].tolist() == (rows["score"] > scale.validation.at(0.99)).astype(int).tolist()
    faults = rows.nlargest(2, "score")
    assert set(faults["index"]) == {7, 27}
    assert faults["percentile"].tolist() == [100, 100]
    assert all(where.split(", ")[0] == "c" for where in faults["where"])
    printed = capsys.readouterr().out
    assert "AUROC 1.0000, average precision 1.0000 (2 of 40 samples are anomalies)" in printed
    assert f"above {scale.validation.at(0.99):.6g}, the 0.99 quantile of 20 validation samples" in printed
    assert picture.stat().st_size > 5000


def test_a_lower_quantile_flags_more(run: Path, file: Path, tmp_path: Path) -> None:
    for quantile in (0.3, 0.9):
        run_verb(run, file, "--quantile", quantile, "-o", tmp_path / f"{quantile}.npz")
    with np.load(tmp_path / "0.3.npz") as low, np.load(tmp_path / "0.9.npz") as high:
        assert low["anomaly"].sum() > high["anomaly"].sum()
        assert np.array_equal(low["score"], high["score"])


@pytest.mark.parametrize(("by", "importance"), [("bound", None), ("likelihood", 64)])
def test_other_scores_are_compared_with_the_data_of_the_run(
    run: Path, file: Path, tmp_path: Path, by: str, importance: int | None
) -> None:
    run_verb(run, file, "--by", by, "-o", tmp_path / "scores.csv")
    rows = pd.read_csv(tmp_path / "scores.csv")
    model = aeframe.load(run)
    expected = model.score(model.modality.read(file), importance=importance)
    assert rows["score"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert rows["where"].isna().all()
    assert set(rows.nlargest(2, "score")["index"]) == {7, 27}


def test_distances_say_where_they_come_from(run: Path, file: Path, tmp_path: Path) -> None:
    run_verb(run, file, "--by", "mahalanobis", "-o", tmp_path / "scores.csv")
    rows = pd.read_csv(tmp_path / "scores.csv").nlargest(2, "score")
    assert set(rows["index"]) == {7, 27}
    assert rows["where"].str.len().min() > 0
    assert rows["anomaly"].tolist() == [1, 1]


def test_a_split_of_the_run_is_scored(run: Path, tmp_path: Path) -> None:
    run_verb(run, "--split", "validation", "-o", tmp_path / "scores.csv")
    rows = pd.read_csv(tmp_path / "scores.csv")
    # One of 20 samples is above the interpolated 0.99 quantile of the 20.
    assert rows["anomaly"].sum() == 1


def test_scores_in_python(run: Path, file: Path) -> None:
    model = aeframe.load(run)
    found = model.anomalies(pd.read_csv(file))
    assert found.is_anomaly[[7, 27]].all()
    assert torch.equal(found.is_anomaly, found.score > found.threshold)
    assert all(found.where)
    scores_only = model.anomalies(pd.read_csv(file), locate=False)
    assert torch.equal(scores_only.score, found.score)
    assert not any(scores_only.where)
    with pytest.raises(
        aeframe.AeframeError, match=r"scores by reconstruction, bound, likelihood, mahalanobis, found 'bond'"
    ):
        model.anomalies(pd.read_csv(file), by="bond")
    with pytest.raises(aeframe.AeframeError, match="compute those of bound by with_scale"):
        model.anomalies(pd.read_csv(file), by="bound")
    with pytest.raises(aeframe.AeframeError, match="takes a quantile between 0 and 1, found 1"):
        model.anomalies(pd.read_csv(file), quantile=1)


def test_bad_arguments_are_refused(run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    message = error_of(capsys, run, file, "--anomalous", "falt", "-o", out)
    assert "found 'falt', did you mean 'fault'?" in message
    assert not out.exists()
    pd.read_csv(file).drop(columns="state").to_csv(tmp_path / "bare.csv", index=False)
    message = error_of(capsys, run, tmp_path / "bare.csv", "--anomalous", "fault", "-o", out)
    assert "--anomalous names labels, found samples without labels" in message
    message = error_of(capsys, run, file, "-o", tmp_path / "out.xls")
    assert "choose a name that ends in .csv" in message
    message = error_of(capsys, run, file, "-o", out, "--picture", tmp_path / "p.txt")
    assert message.endswith("--picture writes a PNG file, found 'p.txt'; use the suffix .png")
    out.write_text("mine")
    assert "exists already" in error_of(capsys, run, file, "-o", out)
    assert out.read_text() == "mine"
