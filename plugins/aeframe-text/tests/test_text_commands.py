"""The commands, from training on sentences to reconstructed and generated files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aeframe
from aeframe import AeframeError
from aeframe.cli.main import main
from aeframe_text.modality import Text
from aeframe_text.molecules import generation_metrics, reconstruction_metrics

SMALL: dict[str, Any] = {
    "encoder": {"embedding": 8, "hidden": 8},
    "latent": {"dim": 4},
    "batch_size": 16,
    "seed": 1,
    "trainer": {"threads": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs with buckets on a small file that has two unusable lines."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("text")
    lines = [f"the {a} {b} sees {c} ." for a in ("old", "red", "") for b in ("cat", "dog") for c in ("me", "you", "us")]
    (folder / "train.txt").write_text("\n".join([*lines * 3, "", "old " * 40]) + "\n")
    aeframe.fit(
        experiment="sentence_vae",
        modality={"name": "text", "buckets": True, "tokens": 64, "on_error": "skip", "max_length": 8},
        data={"name": "text_files", "path": str(folder / "train.txt")},
        folder=str(folder / "run"),
        max_epochs=2,
        **SMALL,
    )
    return folder / "run"


def test_a_run_lists_skipped_texts_and_draws_figures(run: Path) -> None:
    assert sorted((run / "skipped.txt").read_text().splitlines()) == [
        "'train.txt', line 55 is empty",
        "'train.txt', line 56 has 41 tokens, end token included, and at most 8 fit (modality.too_long=cut truncates "
        "it)",
    ]
    assert {path.name for path in (run / "pictures").iterdir()} >= {
        "reconstructions.png", "samples.png", "interpolation.png", "latent.png", "curves.png",
    }  # fmt: skip


def test_interpolation_between_two_sentences(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["between", str(run), "the old cat sees me .", "the dog sees us .", "-n", "4"]) == 0
    greedy = capsys.readouterr().out.splitlines()
    assert len(greedy) == 4
    model = aeframe.load(run)
    assert isinstance(model.modality, Text)
    ends = model.modality.encode(["the old cat sees me .", "the dog sees us ."])
    assert [greedy[0], greedy[-1]] == model.modality.decode(model.reconstruct(ends))
    assert main(["between", str(run), "the old cat sees me .", "the dog sees us .", "-n", "4", "--beams", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_reconstructions_and_generated_sentences_are_written_to_files(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the old cat sees me .\nthe zebra sees us .\n")
    assert main(["reconstruct", str(run), str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    for options in ([], ["--draw"]):
        path = tmp_path / f"new{len(options)}.txt"
        assert main(["generate", str(run), "-n", "5", "--seed", "3", "-o", str(path), *options]) == 0
        assert len(path.read_text().splitlines()) == 5
    assert main(["evaluate", str(run), "-o", str(tmp_path / "metrics.json")]) == 0
    assert "perplexity" in (tmp_path / "metrics.json").read_text()


def test_a_run_that_skipped_texts_encodes_and_reconstructs_its_own_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.parent / "train.txt"
    assert main(["encode", str(run), str(file), "-o", str(tmp_path / "z.npz"), "--batch-size", "5"]) == 0
    output = capsys.readouterr().err
    assert (
        "skipped: 'train.txt', line 56 has 41 tokens, end token included, and at most 8 fit (--option too_long=cut "
        in output
    )
    with np.load(tmp_path / "z.npz") as codes:
        assert codes["index"].tolist() == list(range(54))
        assert codes["name"].tolist() == [f"train.txt:{number}" for number in range(1, 55)]
    names = ["old.txt:1", "old.txt:3"]
    (tmp_path / "old.txt").write_text("the old cat sees me .\n\nthe red dog sees us .\n")
    assert main(["reconstruct", str(run), str(tmp_path / "old.txt"), "-o", str(tmp_path / "new.jsonl")]) == 0
    assert [json.loads(line)["name"] for line in (tmp_path / "new.jsonl").read_text().splitlines()] == names
    assert main(["reconstruct", str(run), str(tmp_path / "old.txt"), "-o", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["old.txt_1.txt", "old.txt_3.txt"]
    capsys.readouterr()
    arguments = ["encode", str(run), str(tmp_path / "old.txt"), "--on-error", "raise", "-o", str(tmp_path / "no.npz")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: 'old.txt', line 2 is empty; correct or remove it, or leave such texts out with --on-error skip (in "
        "Python on_error='skip')\n"
    )
    assert main(["encode", str(run), "--split", "test", "-o", str(tmp_path / "test.npz")]) == 0
    with np.load(tmp_path / "test.npz") as codes:
        assert all(name.startswith("train.txt:") for name in codes["name"].tolist())


def test_between_refuses_models_of_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aeframe.fit(
        model="ae", data="breast_cancer", folder=str(tmp_path / "run"), max_epochs=1, max_batches=1, pictures=False
    )
    capsys.readouterr()
    assert main(["between", str(tmp_path / "run"), "a", "b"]) == 2
    assert capsys.readouterr().err.strip() == (
        f"error: '{tmp_path / 'run'}' is not a model of sentences; between is for modality text"
    )


@pytest.mark.parametrize("recipe", [{"experiment": "infilling_ae"}, {"model": "iwae"}])
def test_recipes_train_on_the_dataset_sentences(recipe: dict[str, str], tmp_path: Path) -> None:
    options = {key: value for key, value in SMALL.items() if key not in ("encoder", "latent")}
    result = aeframe.fit(
        **recipe,
        modality="text",
        data={"name": "sentences", "size": 60},
        folder=str(tmp_path / "run"),
        max_batches=2,
        max_epochs=1,
        pictures=False,
        **options,
    )
    assert 0 <= result.metrics["token_match"] <= 1


def test_a_network_of_fixed_size_trains_on_padded_sentences(tmp_path: Path) -> None:
    result = aeframe.fit(
        model="ae",
        modality="text",
        data={"name": "sentences", "size": 60},
        encoder={"name": "mlp", "hidden": [8]},
        folder=str(tmp_path / "run"),
        batch_size=16,
        max_batches=2,
        max_epochs=1,
        pictures=False,
    )
    assert result.metrics["tokens"] > 0


def test_a_loss_for_real_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        aeframe.fit(model="ae", modality="text", loss="mse", folder=str(tmp_path / "run"))
    assert str(caught.value) == (
        "loss 'mse' is for data that are binary, real, signed, simplex or unit, but these are category(48); "
        "choose loss=categorical"
    )
    assert not (tmp_path / "run").exists()


# -- molecules -------------------------------------------------------------------------------------------------------


def test_molecules_are_compared_by_their_canonical_smiles() -> None:
    pytest.importorskip("rdkit", reason="reading molecules requires the extra molecules")
    generated = ["CCO", "OCC", "c1ccccc1", "C(", "", "C(C)(C)(C)(C)C"]
    # Ethanol twice and benzene; an open bracket, an empty string and a carbon with five bonds are invalid.
    assert generation_metrics(generated, ["C(C)O"]) == {"validity": 0.5, "uniqueness": 2 / 3, "novelty": 0.5}
    assert generation_metrics(["C("], []) == {"validity": 0.0, "uniqueness": 0.0, "novelty": 0.0}
    assert reconstruction_metrics(["CCO", "CCN", "CC"], ["OCC", "CCO", "C("]) == {
        "reconstruction_validity": 2 / 3,
        "reconstruction_accuracy": 1 / 3,
    }


def test_molecules_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rdkit", reason="reading molecules requires the extra molecules")
    (tmp_path / "lines.smi").write_text("".join(f"{'C' * length}O\n" for length in range(1, 9)) * 4)
    aeframe.fit(
        model="vae",
        modality={"name": "text", "tokeniser": "smiles", "buckets": True},
        data={"name": "text_files", "path": str(tmp_path / "lines.smi")},
        folder=str(tmp_path / "run"),
        max_epochs=1,
        pictures=False,
        **SMALL,
    )
    capsys.readouterr()
    assert main(["molecules", str(tmp_path / "run"), "-n", "5", "-o", str(tmp_path / "metrics.json")]) == 0
    output = capsys.readouterr().out.splitlines()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == ["validity", "uniqueness", "novelty", "reconstruction_validity", "reconstruction_accuracy"]
    assert output == [*(f"{name:<26}{value:.3f}" for name, value in metrics.items()), str(tmp_path / "metrics.json")]
    assert all(0 <= value <= 1 for value in metrics.values())


def test_molecules_refuses_models_of_other_texts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["molecules", str(run)]) == 2
    assert capsys.readouterr().err == (
        f"error: '{run}' is not a model of SMILES; molecules is for modality.tokeniser=smiles\n"
    )
