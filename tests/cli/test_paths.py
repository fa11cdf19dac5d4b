"""The verbs `interpolate` and `traverse` on a model of tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.factory import build

MIXING = np.array([[1.0, -0.5, 0.2, 0.8], [0.3, 0.9, -1.0, 0.1]])


def write_rows(path: Path, num: int) -> Path:
    rng = np.random.default_rng(num)
    rng = np.random.default_rng(num)
    frame = pd.DataFrame(rng.normal(size=(num, 2)) @ MIXING, columns=list("abcd")).round(4)
    frame.insert(0, "visit", [f"v{number % (num - 1)}" for number in range(num)])
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    data = {"name": "numbers", "path": str(write_rows(folder / "train.csv", 90)), "id": "visit"}
    trainer = {"accelerator": "cpu", "threads": 1}
    options = {"max_epochs": 2, "latent": {"dim": 3}, "pictures": False, "verbose": False}
    aeframe.fit(model="vae", data=data, folder=str(folder / "run"), trainer=trainer, **options)
    return folder / "run"


def run_verb(*argv: object) -> None:
    assert main([str(word) for word in argv]) == 0


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(word) for word in argv]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_path_leads_from_a_name_to_a_number(run: Path, tmp_path: Path) -> None:
    file, out = write_rows(tmp_path / "new.csv", 9), tmp_path / "path.csv"
    picture = tmp_path / "path.png"
    run_verb("interpolate", run, file, "--from", "v2", "--to", 5, "--steps", 11, "-o", out, "--picture", picture)
    frame = pd.read_csv(out, dtype={"visit": str})
    model = aeframe.load(run)
    batch = model.modality.read(file)
    ends = model.restore(model.decode(model.encode(batch)[[2, 5]]))
    assert np.allclose(frame[list("abcd")].iloc[[0, -1]], ends, atol=1e-4)
    middle = model.restore(model.decode(model.encode(batch)[[2, 5]].mean(0, keepdim=True)))
    assert np.allclose(frame[list("abcd")].iloc[5], middle.iloc[0], atol=1e-4)
    assert frame["visit"].tolist() == [f"{number:02}" for number in range(11)]
    assert picture.stat().st_size > 1000


def test_samples_are_found_or_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = write_rows(tmp_path / "new.csv", 9), tmp_path / "path.csv"
    start = ("interpolate", run, file, "-o", out, "--to", "v3", "--from")
    assert "there is no sample 'w3', did you mean 'v3'?" in error_of(capsys, *start, "w3")
    assert "there is no sample '9'; samples have names such as 'v0', and numbers from 0, of which 9" in error_of(
        capsys, *start, "9"
    )
    # The first and the last row have the same name.
    assert "2 samples have the name 'v0'; give the number of one" in error_of(capsys, *start, "v0")
    assert not out.exists()


@pytest.mark.parametrize("along", ["principal", "numbers"])
def test_directions_are_those_of_the_training_codes(run: Path, tmp_path: Path, along: str) -> None:
    out = tmp_path / "rows.csv"
    run_verb("traverse", run, "--along", along, "--directions", "1,0", "--steps", 5, "--range", 2, "-o", out)
    frame = pd.read_csv(out)
    model = aeframe.load(run)
    train = model.modality.prepare(build("dataset", model.config["data"]), learn=False).train
    codes = model.encode(train.batch(torch.arange(len(train)))).double().numpy()
    centre, spread = codes.mean(0), codes - codes.mean(0)
    if along == "numbers":
        directions, scales = np.eye(3), codes.std(0, ddof=1)
    else:
        variances, vectors = np.linalg.eigh(spread.T @ spread / (len(codes) - 1))
        directions, scales = vectors.T[::-1], np.sqrt(variances[::-1])
    written = model.encode(model.prepare(frame[list("abcd")]))
    assert written.shape == (10, 3)
    for row, number in enumerate((1, 0)):
        z = centre + np.linspace(-2, 2, 5)[:, None] * scales[number] * directions[number]
        expected = model.restore(model.decode(torch.from_numpy(z).float()))
        found = frame[list("abcd")].iloc[5 * row : 5 * row + 5].to_numpy()
        # The sign of a principal direction is arbitrary.
        assert any(np.allclose(found, each, atol=1e-3) for each in (expected.to_numpy(), expected.to_numpy()[::-1]))
        assert frame["visit"][5 * row] == f"{along}_{number}_-2.00"


def test_a_row_goes_through_the_code_of_a_sample(run: Path, tmp_path: Path) -> None:
    file, out = write_rows(tmp_path / "new.csv", 9), tmp_path / "rows.csv"
    picture = tmp_path / "rows.png"
    words = ("--sample", "v4", "--steps", 3, "--data", run.parent / "train.csv", "--picture", picture)
    # FILE may stand after options.
    run_verb("traverse", run, *words, file, "-o", out)
    frame = pd.read_csv(out)
    model = aeframe.load(run)
    expected = model.restore(model.decode(model.encode(model.modality.read(file))[[4]]))
    for middle in (1, 4, 7):
        assert np.allclose(frame[list("abcd")].iloc[middle], expected.iloc[0], atol=1e-4)
    assert picture.stat().st_size > 1000


def test_what_cannot_be_traversed_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    assert "the code has the directions 0 to 2, found 7" in error_of(
        capsys, "traverse", run, "--directions", "0,7", "-o", out
    )
    assert "takes --sample together with FILE or --split" in error_of(
        capsys, "traverse", run, "--sample", "3", "-o", out
    )
    trainer = {"accelerator": "cpu", "threads": 1}
    data = {"name": "numbers", "path": str(run.parent / "train.csv"), "id": "visit"}
    for model, words in (("vqvae", "of integer codes"), ("svae", "of sphere space")):
        options = {"max_batches": 1, "pictures": False, "verbose": False, "folder": str(tmp_path / model)}
        aeframe.fit(model=model, data=data, trainer=trainer, **options)
        assert words in error_of(capsys, "traverse", tmp_path / model, "-o", out)
    assert not out.exists()
