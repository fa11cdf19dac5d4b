"""Train on a file, and score and flag anomalies with the command line."""

from __future__ import annotations

import csv as csv_module
import gzip
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from series_files import csv, hours

import aeframe
from aeframe.cli.main import main
from aeframe.model_store.integrity import file_hashes
from aeframe.model_store.tensors import write_tensors
from aeframe_series.modality import Series
from aeframe_series.simulated import simulate


def waves(num: int = 400) -> np.ndarray:
    return simulate(rows=num, columns=3, waves=1, seed=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run on one sine wave in three columns."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("series")
    data = {"name": "series_file", "path": str(csv(folder, waves()))}
    options = {
        "encoder": {"name": "mlp", "hidden": [16]},
        "latent": {"dim": 4},
        "batch_size": 16,
        "max_epochs": 12,
        "optimizer": {"lr": 1e-2},
        "pictures": False,
    }
    aeframe.fit(
        model="ae",
        modality={"name": "series", "window": 16, "stride": 2},
        data=data,
        folder=str(folder / "run"),
        **options,
    )
    return folder / "run"


def modality_of(run: Path) -> Series:
    modality = aeframe.load(run).modality
    assert isinstance(modality, Series)
    return modality


def quantiles_in(run: Path) -> np.ndarray:
    quantiles: np.ndarray = modality_of(run).state()["point_quantiles"].numpy()
    return quantiles


def table(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        rows = list(csv_module.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_errors_of_held_out_time_steps_are_stored_in_the_saved_model(run: Path) -> None:
    # All 80 time steps of the validation split, and none of the other splits.
    assert len(quantiles_in(run)) == 80


def test_a_spike_is_found(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = waves()
    rows[200, 1] += 8.0
    path = csv(tmp_path, rows)
    picture = tmp_path / "scores.png"
    out = tmp_path / "scores.csv"
    assert main(["anomalies", str(run), str(path), "-o", str(out), "--picture", str(picture)]) == 0
    rows_written = table(out)
    assert list(rows_written) == [
        "row", "date", "score", "percentile", "anomaly", "a reconstruction", "a error", "b reconstruction", "b error",
        "c reconstruction", "c error",
    ]  # fmt: skip
    assert rows_written["date"] == hours(400)
    assert rows_written["row"] == [str(row) for row in range(400)]
    scores = np.array(rows_written["score"], float)
    assert int(scores.argmax()) == 200
    assert rows_written["anomaly"][200] == "1"
    errors = np.array([[float(rows_written[f"{name} error"][row]) for name in "abc"] for row in range(400)])
    assert int(errors[200].argmax()) == 1
    assert errors.mean(1) == pytest.approx(scores)
    threshold = np.quantile(quantiles_in(run), 0.99)
    flagged = scores > threshold
    assert [flag == "1" for flag in rows_written["anomaly"]] == flagged.tolist()
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [str(out), str(picture)]
    assert printed[2] == (
        f"{flagged.sum()} of 400 time steps are above {threshold:.6g}, the 0.99 quantile of the validation split"
    )
    assert picture.stat().st_size > 10_000


def test_reconstructions_are_unscaled(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.npz"
    path = csv(tmp_path, waves())
    assert main(["anomalies", str(run), str(path), "-o", str(out)]) == 0
    with np.load(out, allow_pickle=False) as file:
        reconstruction = np.stack([file[f"{name} reconstruction"] for name in "abc"], 1)
        assert file["date"][0] == "2016-07-01 00:00:00"
    # The mean over overlapping windows.
    assert np.square(reconstruction - waves()).mean() < 0.25 * waves().var()
    again = tmp_path / "again.csv"
    assert main(["reconstruct", str(run), str(path), "-o", str(again)]) == 0
    written = table(again)
    assert list(written) == ["date", "a", "b", "c"]
    assert written["date"] == hours(400)
    rows = np.array([written[name] for name in "abc"], float).T
    assert np.square(rows - waves()).mean() < 0.3 * waves().var()


def test_scores_of_windows_with_another_quantile(run: Path, tmp_path: Path) -> None:
    path, out = csv(tmp_path, waves(31)), tmp_path / "scores.csv.gz"
    assert main(["anomalies", str(run), str(path), "--samples", "--quantile", "0.5", "-o", str(out)]) == 0
    lines = list(csv_module.DictReader(io.StringIO(gzip.decompress(out.read_bytes()).decode())))
    assert [line["row"] for line in lines] == ["0", "16"]
    model = aeframe.load(run)
    batch = model.modality.read(path)
    assert batch.mask is not None
    errors = (model.reconstruct(batch) - batch.masked_x()).square() * batch.mask
    expected = errors.flatten(1).sum(1) / batch.mask.flatten(1).sum(1)
    scores = np.array([float(line["score"]) for line in lines])
    assert scores == pytest.approx(expected.numpy(), rel=1e-5)
    threshold = model.scales["reconstruction"].validation.at(0.5)
    assert [line["anomaly"] == "1" for line in lines] == (scores > threshold).tolist()
    assert all(line["where"].startswith(("a, step", "b, step", "c, step")) for line in lines)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_errors(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv(tmp_path, waves(50))
    out = tmp_path / "out.csv"
    out.write_text("mine")
    message = refusal(capsys, "anomalies", str(run), str(path), "-o", str(out))
    assert "exists already; choose another path with --output" in message
    assert out.read_text() == "mine"
    message = refusal(capsys, "anomalies", str(run), str(path), "-o", str(tmp_path / "out.xls"))
    assert message.endswith("choose a name that ends in .csv")
    new = str(tmp_path / "new.csv")
    message = refusal(capsys, "anomalies", str(run), str(path), "-o", new, "--picture", str(tmp_path / "p.txt"))
    assert message.endswith("--picture writes a PNG file, found 'p.txt'; use the suffix .png")
    # A model without stored thresholds.
    old = tmp_path / "old"
    shutil.copytree(run / "model", old)
    modality = modality_of(run)
    state = {name: value for name, value in modality.state().items() if not name.endswith("quantiles")}
    write_tensors(old / "modality.safetensors", {name: state[name] for name in ("offset", "factor")})
    config = yaml.safe_load((old / "config.yaml").read_text())
    (old / "config.yaml").write_text(yaml.safe_dump({**config, "sha256": file_hashes(old)}))
    message = refusal(capsys, "anomalies", str(old), str(path), "-o", str(tmp_path / "new.csv"))
    assert "modality 'series' knows no errors of held-out time steps" in message
    with pytest.raises(SystemExit):
        main(["anomalies", str(run), str(path), "-o", str(tmp_path / "new.csv"), "--quantile", "2"])
    assert "expected a number between 0 and 1, found '2'" in " ".join(capsys.readouterr().err.split())
