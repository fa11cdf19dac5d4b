"""The verbs that load a saved model, on a model of tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.data.file_samples import FileSamples
from aeframe.data.fingerprint import DataRecord
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Modality
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, metrics_of
from aeframe.evaluation.reconstruction import PROTOCOL
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.model_store.writer import save_model
from aeframe.types import Batch, TrainingProgress

CONFIG: dict[str, Any] = {
    "model": {"name": "vae"},
    "encoder": {"name": "mlp", "hidden": [8]},
    "latent": {"name": "gaussian", "dim": 3},
    "loss": "mse",
    "objective": {"name": "elbo", "beta": {"name": "linear", "end": 2.0}},
    "sampler": "prior",
    "modality": {"name": "vector"},
    "data": {"name": "breast_cancer"},
    "metrics": {"mae": None},
    "seed": 3,
    "batch_size": 20,
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(record: DataRecord | None = None, **changes: Any) -> Path:
        torch.set_num_threads(1)
        config = {**CONFIG, **changes}
        modality, dataset = build("modality", config["modality"]), build("dataset", config["data"])
        modality.prepare(dataset)
        torch.manual_seed(0)
        model = assemble(config, modality.spec(dataset))
        sampler = build("sampler", config["sampler"], model=model)
        folder = tmp_path / "run"
        save_model(
            folder / "model",
            model,
            modality,
            config,
            sampler,
            metrics={},
            progress=TrainingProgress(batch=9, planned=9),
            data=record,
        )
        return folder

    return make


@pytest.fixture
def table(make_run: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path, TrainedModel]:
    """Return a run, a file of samples in original units, and the model."""
    run = make_run()
    model = load(run)
    path = tmp_path / "new.csv"
    model.modality.write(torch.randn(7, 30), path)
    return run, path, model


def error_of(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def run_verb(*argv: object) -> None:
    assert main([str(argument) for argument in argv]) == 0


def test_evaluate_computes_the_metrics_of_the_run(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "numbers.json"
    before = sorted(run.rglob("*"))
    run_verb("evaluate", run, "--split", "validation", "-o", out)
    metrics = json.loads(out.read_text())["validation"]
    printed = capsys.readouterr().out
    assert "vae, validation split" in printed
    assert all(name in printed for name in metrics)
    saved = load(run)
    splits = saved.modality.prepare(build("dataset", CONFIG["data"]))
    source = splits.validation
    evaluator = Evaluator(saved.model, metrics_of(saved.modality.metrics, CONFIG["metrics"]), seed=3)
    evaluator.observe_training_samples(splits.train, torch.device("cpu"))
    for index, rows in enumerate(torch.arange(len(source)).split(20)):
        evaluator.update(source.batch(rows), TrainingProgress(batch=9, planned=9), index)
    assert metrics.pop("mse_of_pca") > 0
    assert metrics == evaluator.compute()
    assert "mae" not in metrics
    assert "active_units" in metrics
    run_verb("evaluate", run / "model", "--batch-size", 5)
    assert sorted(run.rglob("*")) == before


def test_evaluate_computes_the_length_of_codes(tmp_path: Path) -> None:
    short = ["max_batches=2", "sampler=codes", "pictures=false", "verbose=false"]
    run = aeframe.fit(
        overrides=["model=vqvae", "data=breast_cancer", "loss=gaussian", "latent.codebook_size=4", *short],
        folder=str(tmp_path / "run"),
        trainer={"threads": 1, "accelerator": "cpu"},
    )
    run_verb("evaluate", tmp_path / "run", "-o", tmp_path / "numbers.json")
    metrics = json.loads((tmp_path / "numbers.json").read_text())["test"]
    for name in ("code_nll", "nll_with_codes"):
        assert metrics[name] == pytest.approx(run.metrics[name], rel=1e-5)


def test_evaluate_computes_further_metrics(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(loss={"name": "gaussian", "scale": 1.0}), tmp_path / "numbers.json"
    run_verb("evaluate", run, "metrics.nll.samples=3", "metrics.nll.chunk=50", "--metrics", "nll,mae", "-o", out)
    written = json.loads(out.read_text())
    metrics = written["test"]
    assert written["protocol"]["nll"] == "3 importance samples of z for each sample, seed 0"
    source = load(run).modality.prepare(build("dataset", CONFIG["data"])).test
    batch = source.batch(torch.arange(len(source)))
    assert metrics["nll"] == pytest.approx(float(load(run).score(batch, importance=3).mean()), rel=1e-5)
    assert "mae" in metrics
    capsys.readouterr()
    for arguments, message in (
        (["--metrics", "nil"], "unknown metric 'nil', did you mean 'nll'?"),
        (["metrics.nll=3"], "expected metrics.NAME.OPTION=VALUE or features.NAME.OPTION=VALUE, found 'metrics.nll=3'"),
        (["--metrics", "codebook"], "metric 'codebook' is not defined for model 'vae'"),
        (["metrics.nll.samples=0"], "metric nll takes samples and chunk of at least 1, found 0 and 4096"),
    ):
        assert message in error_of(capsys, "evaluate", run, *arguments)


def test_evaluate_states_how_it_has_measured(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "numbers.json"
    run_verb("evaluate", run, "--split", "train", "--metrics", "probe,mig", "metrics.probe.samples=200", "-o", out)
    written, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert "mig" not in written["train"]
    assert written["protocol"].pop("mse_of_pca").startswith("PCA of 3 numbers, fitted to")
    assert written["protocol"].pop("mse") == PROTOCOL
    assert written["protocol"].pop("r2") == f"mse_of_mean predicts the mean of 455 training samples; {PROTOCOL}"
    assert written["protocol"] == {
        "active_units": "posterior means of 455 training samples",
        "prior_gap": "codes of 455 samples, moments of those of 455 training samples",
        "aggregate_posterior": "455 samples, seed 0",
        "mig": "not measured: the samples have no known factors of variation",
        "probe": "200 samples with a label, 5-fold cross-validation, seed 0",
    }
    assert "probe: 200 samples with a label, 5-fold" in printed
    assert "mig: not measured: the samples have no" in printed
    assert "factors:" not in printed


def test_evaluate_compares_new_samples_with_held_out_ones(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "numbers.json"
    options = ["--features", "pca", "features.pca.components=2", "-n", "12", "--split", "train"]
    run_verb("evaluate", run, *options, "-o", out)
    measured = json.loads(out.read_text())
    assert set(measured) == {"train", "protocol", "samples"}
    (pca,) = measured["samples"].values()
    assert list(measured["samples"]) == ["pca-2"]
    assert (pca["num"], pca["num_features"]) == (12, 2)
    assert set(pca["samples"]) == set(pca["floor"]) == {"frechet", "precision", "recall", "density", "coverage"}
    printed = capsys.readouterr().out
    assert pca["protocol"] in printed
    assert pca["protocol"].startswith("12 of each, compared with 12 held-out samples in feature space pca-2, 2 numbers")
    for arguments, message in (
        (["--features", "pcaa"], "unknown feature_space 'pcaa', did you mean 'pca'?"),
        (["--features", "pca", "-n", "3"], "feature space pca compares at least 10 samples with as many others"),
        (["features.pca.components=0"], "a feature space takes at least 1 of components, found 0"),
    ):
        assert message in error_of(capsys, "evaluate", run, *arguments)


def test_encode_writes_z(table: tuple[Path, Path, TrainedModel], tmp_path: Path) -> None:
    run, file, model = table
    run_verb("encode", run, file, "-o", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as written:
        assert written.files == ["z", "index"]
        assert written["index"].tolist() == list(range(7))
        assert np.array_equal(written["z"], model.encode(model.modality.read(file), batch_size=20).numpy())


@pytest.fixture
def named(table: tuple[Path, Path, TrainedModel], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, TrainedModel]:
    """The fixture `table`, whose samples have names, labels and times; sample 2 of the file is bad."""
    batch = table[2].modality.read(table[1])

    def open_file(self: Modality, path: Path, on_error: str) -> FileSamples:
        if on_error == "raise":
            raise AeframeError(f"'{path.name}', row 2: bad")
        self.notes.add("1 of 7 labels is missing")
        kept = torch.tensor([0, 1, 3, 4, 5, 6])
        columns = {"name": np.array([f"row {i}" for i in kept], object), "time": np.arange(6) * 0.5}
        labels = {"label": torch.tensor([0, 1, -1, 1, 0, 0])}
        source = TensorSource(batch.x[kept], index=kept, extras=labels, columns=columns)
        return FileSamples(source, ["row 2: bad \x1b[2J"])

    monkeypatch.setattr(Vector, "open", open_file)
    return table


def test_codes_keep_the_identity_of_their_samples(
    named: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file, _ = named
    assert error_of(capsys, "encode", run, file, "-o", tmp_path / "z.npz") == f"error: '{file.name}', row 2: bad\n"
    assert not (tmp_path / "z.npz").exists()
    for name in ("z.npz", "z.parquet"):
        run_verb("encode", run, file, "--on-error", "skip", "--batch-size", 4, "-o", tmp_path / name)
    printed = capsys.readouterr().err
    assert printed == 2 * "note: 1 of 7 labels is missing\nskipped: row 2: bad \\x1b[2J\n"
    frame = pd.read_parquet(tmp_path / "z.parquet")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as written:
        assert written["index"].tolist() == frame["index"].tolist() == [0, 1, 3, 4, 5, 6]
        assert written["name"].tolist() == frame["name"].tolist() == [f"row {i}" for i in (0, 1, 3, 4, 5, 6)]
        assert written["label"].tolist() == frame["label"].tolist() == [0, 1, -1, 1, 0, 0]
        assert written["time"].tolist() == frame["time"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert np.array_equal(written["z"], frame[["z0", "z1", "z2"]].to_numpy())


def test_codes_of_a_part_of_the_samples_are_not_left_behind(
    named: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    run, file, _ = named
    whole = TensorSource.batch

    def damaged(self: TensorSource, index: torch.Tensor) -> Batch:
        if int(index[0]) > 0:
            raise AeframeError("sample 4 cannot be decoded")
        return whole(self, index)

    monkeypatch.setattr(TensorSource, "batch", damaged)
    for name in ("z.npz", "z.parquet"):
        arguments = ("--on-error", "skip", "--batch-size", 4, "-o", tmp_path / name)
        assert "sample 4 cannot be decoded" in error_of(capsys, "encode", run, file, *arguments)
        assert not (tmp_path / name).exists()


def test_labels_are_written_by_name(
    named: tuple[Path, Path, TrainedModel], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    _, file, _ = named
    run = make_run(DataRecord({"name": "numbers"}, label_names=("benign", "malignant")))
    run_verb("encode", run, file, "--on-error", "skip", "-o", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as written:
        assert written["label"].tolist() == ["benign", "malignant", "", "malignant", "benign", "benign"]


@pytest.mark.parametrize("name", ["z.npz", "z.parquet"])
def test_codes_are_decoded_as_they_were_encoded(
    named: tuple[Path, Path, TrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run, file, model = named
    run_verb("encode", run, file, "--on-error", "skip", "-o", tmp_path / name)
    written: list[Any] = []
    monkeypatch.setattr(Vector, "write", lambda self, x, path: written.append((x.tensor(), x.names)) or [])
    run_verb("decode", run, tmp_path / name, "-o", tmp_path / "x.csv")
    (x, names), batch = written[0], model.modality.read(file, on_error="skip")
    assert torch.allclose(x, model.decode(model.encode(batch)), atol=1e-6)
    assert names == [f"row {i}" for i in (0, 1, 3, 4, 5, 6)]


def test_what_is_no_file_of_codes_is_refused(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = table[0]
    np.savez(tmp_path / "wide.npz", z=np.zeros((4, 5)))
    np.savez(tmp_path / "other.npz", x=np.zeros((4, 3)))
    pd.DataFrame({"z0": [0.0], "z1": [1.0]}).to_parquet(tmp_path / "narrow.parquet")
    (tmp_path / "broken.npz").write_bytes(b"PK no zip")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for name, found in (
        ("wide.npz", "'wide.npz' has z (4, 5), expected codes z of shape (N, 3)"),
        ("other.npz", "'other.npz' has the arrays x, expected codes z of shape (N, 3)"),
        ("narrow.parquet", "'narrow.parquet' has the columns z0, z1, expected codes z of shape (N, 3)"),
        ("broken.npz", "broken.npz' cannot be read as NPZ"),
        ("broken.parquet", "broken.parquet' cannot be read as Parquet"),
        ("wyde.npz", "wyde.npz', did you mean 'wide.npz'?"),
        ("z.csv", "codes are stored as NPZ or Parquet"),
    ):
        assert found in error_of(capsys, "decode", run, tmp_path / name, "-o", tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["near.csv", "near.parquet"])
def test_neighbours_are_the_samples_with_the_nearest_codes(
    named: tuple[Path, Path, TrainedModel], tmp_path: Path, name: str
) -> None:
    run, file, model = named
    out = tmp_path / name
    run_verb("neighbours", run, file, "-k", 2, "--on-error", "skip", "--batch-size", 4, "-o", out)
    frame = pd.read_csv(out) if name.endswith("csv") else pd.read_parquet(out)
    train = model.modality.prepare(build("dataset", CONFIG["data"])).train
    known = train.batch(torch.arange(len(train)))
    queries = model.modality.read(file, on_error="skip")
    distance = torch.cdist(model.encode(queries), model.encode(known))
    expected = distance.argsort(1)[:, :2]
    assert frame["name"].tolist() == [f"row {i}" for i in (0, 1, 3, 4, 5, 6) for _ in range(2)]
    assert frame["rank"].tolist() == [1, 2] * 6
    assert frame["neighbour_index"].tolist() == known.index[expected].flatten().tolist()
    assert frame["neighbour_label"].tolist() == known.extras["label"][expected].flatten().tolist()
    assert np.allclose(frame["distance"], distance.gather(1, expected).flatten(), atol=1e-4)


def test_samples_of_a_file_are_searched(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file, _ = table
    run_verb("neighbours", run, file, "--among-file", file, "-k", 1, "-o", tmp_path / "near.csv")
    frame = pd.read_csv(tmp_path / "near.csv")
    assert frame["neighbour_index"].tolist() == frame["index"].tolist() == list(range(7))
    assert frame["distance"].max() < 1e-5
    capsys.readouterr()
    assert "-k 9 is more than the 7 samples that are searched" in error_of(
        capsys, "neighbours", run, file, "--among-file", file, "-k", 9, "-o", tmp_path / "more.csv"
    )
    assert "rows are written as .csv" in error_of(capsys, "neighbours", run, file, "-o", tmp_path / "z.txt")


def test_unusual_samples_are_read_with_other_options_where_the_modality_allows_it(
    table: tuple[Path, Path, TrainedModel],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, file, _ = table
    text = file.read_text().splitlines()
    text[3] = "," + text[3].partition(",")[2]
    file.write_text("\n".join(text) + "\n")
    out = tmp_path / "z.npz"
    assert "the value is missing" in error_of(capsys, "encode", run, file, "-o", out)
    for option, message in (
        ("missing=mask", "model 'vae' reads files as in training, and 'missing' cannot differ"),
        ("missing", "--option expects NAME=VALUE, found 'missing'"),
    ):
        assert message in error_of(capsys, "encode", run, file, "--option", option, "-o", out)
    monkeypatch.setattr(Vector, "reading_options", ("missing",))
    run_verb("encode", run, file, "--option", "missing=mask", "-o", out)
    with np.load(out) as written:
        assert len(written["z"]) == 7


def test_reconstruct_passes_the_names_to_the_modality(
    named: tuple[Path, Path, TrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(Vector, "write", lambda self, x, path: written.append((len([*x]), x.names)) or [])
    run_verb("reconstruct", named[0], named[1], "--on-error", "skip", "--batch-size", 4, "-o", tmp_path / "x.csv")
    assert written == [(2, [f"row {i}" for i in (0, 1, 3, 4, 5, 6)])]


def test_a_split_of_the_run_is_read_instead_of_a_file(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    for split in ("validation", "test"):
        run_verb("encode", run, "--split", split, "-o", tmp_path / f"{split}.npz")
    source = load(run).modality.prepare(build("dataset", CONFIG["data"])).test
    with np.load(tmp_path / "test.npz") as test, np.load(tmp_path / "validation.npz") as validation:
        assert not {*test["index"]} & {*validation["index"]}
        batch = source.batch(torch.arange(len(source)))
        assert test["index"].tolist() == batch.index.tolist()
        assert test["label"].tolist() == batch.extras["label"].tolist()
    capsys.readouterr()
    for arguments in ((), (tmp_path / "a.csv", "--split", "test")):
        assert "encode reads either FILE or --split of the run's data, found " in error_of(
            capsys, "encode", run, *arguments, "-o", tmp_path / "z.npz"
        )


def test_encode_adds_the_codes_of_a_quantised_latent(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(latent={"name": "fsq", "levels": [3, 3], "tokens": 4}, objective="deterministic", sampler="codes")
    load(run).modality.write(torch.randn(7, 30), tmp_path / "new.csv")
    run_verb("encode", run, tmp_path / "new.csv", "-o", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as written:
        assert written["codes"].shape == (7, 4, 1)
        assert written["codes"].max() < 9


def test_reconstruct_writes_a_format_of_the_modality(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file, model = table
    out = tmp_path / "out.csv"
    run_verb("reconstruct", run, file, "-o", out)
    assert capsys.readouterr().out == f"{out}\n"
    expected = model.reconstruct(model.modality.read(file))
    assert torch.allclose(model.modality.read(out).x, expected, atol=1e-4)


def test_generate_is_a_function_of_the_seed(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _, model = table
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_verb("generate", run, "-n", 5, "--seed", seed, "-o", tmp_path / f"{name}.npy")
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert a.shape == (5, 30)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    capsys.readouterr()
    # The loss is a distance, which has no noise to draw.
    for arguments in (("generate", run, "-n", 5), ("reconstruct", run, "--split", "test")):
        error = error_of(capsys, *arguments, "--draw", "-o", tmp_path / "d.npy")
        assert "train with loss=gaussian loss.variance=shared" in error
    assert not (tmp_path / "d.npy").exists()
    assert torch.allclose(model.modality.read(tmp_path / "a.npy").x, model.sample(5, seed=1), atol=1e-4)


def test_generate_with_another_sampler_than_that_of_the_run(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _, model = table
    arguments = ("generate", run, "sampler=gmm", "sampler.components=2", "-n", 5, "--seed", 1, "-o")
    for name in "ab":
        run_verb(*arguments, tmp_path / f"{name}.npy")
    a, b = (np.load(tmp_path / f"{name}.npy") for name in "ab")
    assert np.array_equal(a, b)
    train = model.modality.prepare(build("dataset", CONFIG["data"])).train
    fitted = model.with_sampler({"name": "gmm", "components": 2}, train.batch(torch.arange(len(train))), seed=3)
    assert torch.allclose(model.modality.read(tmp_path / "a.npy").x, fitted.sample(5, seed=1), atol=1e-4)
    assert model.config["sampler"] == "prior"
    capsys.readouterr()
    for override, message in {
        "gmm": "expected sampler=NAME or sampler.OPTION=VALUE, found 'gmm'",
        "sampler.components=2": "options of a sampler require its name; add sampler=NAME",
        "sampler=codes": "sampler 'codes' requires a latent that provides codes, which the one of model 'vae' does not",
    }.items():
        stderr = error_of(capsys, "generate", run, override, "-o", tmp_path / "c.npy")
        assert stderr.splitlines()[-1] == f"error: {message}"
    with pytest.raises(AeframeError, match="sampler 'gmm' is fitted to codes, found no x; pass samples as x"):
        model.with_sampler("gmm")


@pytest.mark.parametrize("verb", ["encode", "decode", "reconstruct", "generate", "evaluate"])
def test_no_output_is_overwritten(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file, _ = table
    out = tmp_path / "mine.npz"
    out.write_text("mine")
    files = [file] if verb in ("encode", "decode", "reconstruct") else []
    assert error_of(capsys, verb, run, *files, "-o", out) == (
        f"error: '{out}' exists already; choose another path with --output\n"
    )
    assert out.read_text() == "mine"
    lost = tmp_path / "nowhere" / "out.npz"
    assert error_of(capsys, verb, run, *files, "-o", lost) == (
        f"error: there is no folder '{lost.parent}' for 'out.npz'; create it first\n"
    )


def test_bad_input_is_reported_in_one_sentence(
    table: tuple[Path, Path, TrainedModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file, _ = table
    assert error_of(capsys, "evaluate", tmp_path / "rum") == (
        f"error: there is no folder '{tmp_path / 'rum'}', did you mean 'run'?\n"
    )
    assert error_of(capsys, "encode", run, file, "-o", tmp_path / "z.csv") == (
        f"error: codes are stored as NPZ or Parquet, found '{tmp_path / 'z.csv'}'; choose a name that ends in .npz\n"
    )
    assert error_of(capsys, "generate", run, "-o", tmp_path / "x.npy", "--label", "0") == (
        "error: model 'vae' was trained without label_classes, found --label 0; omit --label\n"
    )
    assert error_of(capsys, "generate", run, "-o", tmp_path / "x.npy", "--device", "cuda:77").startswith(
        "error: device 'cuda:77' cannot be used ("
    )
    with pytest.raises(SystemExit):
        main(["generate", str(run), "-n", "0", "-o", "x.npy"])
    assert "argument -n/--num: expected an integer of at least 1, found '0'" in capsys.readouterr().err
    assert not (tmp_path / "z.csv").exists()


def test_a_model_without_a_dataset_has_no_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modality = build("modality", "vector")
    dataset = build("dataset", "breast_cancer")
    modality.prepare(dataset)
    config = {key: value for key, value in CONFIG.items() if key != "data"}
    model = assemble(config, modality.spec(dataset))
    save_model(tmp_path / "model", model, modality, config, build("sampler", "prior", model=model), metrics={})
    assert error_of(capsys, "evaluate", tmp_path) == (
        "error: the config of model 'vae' names no dataset, so that it has no splits\n"
    )
    with torch.no_grad():
        assert torch.isfinite(load(tmp_path).score(Batch(torch.zeros(2, 30)))).all()
