"""From sentences to a trained model and back, by the commands people type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import aeframe
from aeframe import AeframeError
from aeframe.cli.main import main
from aeframe_text.modality import Text
from aeframe_text.molecules import judged, returned

SMALL: dict[str, Any] = {
    "encoder": {"embedding": 8, "hidden": 8},
    "latent": {"dim": 4},
    "batch_size": 16,
    "seed": 1,
    "trainer": {"threads": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a small file, in buckets, with two bad lines in it."""
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


def test_a_run_lists_what_was_skipped_and_draws_sentences(run: Path) -> None:
    assert sorted((run / "skipped.txt").read_text().splitlines()) == [
        "'train.txt', line 55 is empty",
        "'train.txt', line 56 has 41 tokens with its end, and at most 8 fit (modality.too_long=cut cuts it)",
    ]
    assert {path.name for path in (run / "pictures").iterdir()} >= {
        "reconstructions.png", "samples.png", "interpolation.png", "latent.png", "curves.png",
    }  # fmt: skip


def test_sentences_between_two(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["between", str(run), "the old cat sees me .", "the dog sees us .", "-n", "4"]) == 0
    greedy = capsys.readouterr().out.splitlines()
    assert len(greedy) == 4
    model = aeframe.load(run)
    assert isinstance(model.modality, Text)
    ends = model.modality.encode(["the old cat sees me .", "the dog sees us ."])
    assert [greedy[0], greedy[-1]] == model.modality.decode(model.reconstruct(ends))
    assert main(["between", str(run), "the old cat sees me .", "the dog sees us .", "-n", "4", "--beams", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_reconstructions_and_new_sentences_are_files(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the old cat sees me .\nthe zebra sees us .\n")
    assert main(["reconstruct", str(run), str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    for options in ([], ["--draw"]):
        path = tmp_path / f"new{len(options)}.txt"
        assert main(["generate", str(run), "-n", "5", "--seed", "3", "-o", str(path), *options]) == 0
        assert len(path.read_text().splitlines()) == 5
    assert main(["evaluate", str(run), "-o", str(tmp_path / "found.json")]) == 0
    assert "perplexity" in (tmp_path / "found.json").read_text()


def test_between_is_for_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aeframe.fit(
        model="ae", data="breast_cancer", folder=str(tmp_path / "run"), max_epochs=1, max_batches=1, pictures=False
    )
    capsys.readouterr()
    assert main(["between", str(tmp_path / "run"), "a", "b"]) == 2
    assert capsys.readouterr().err.strip() == (
        f"error: '{tmp_path / 'run'}' is no model of sentences; between is for modality text"
    )


@pytest.mark.parametrize("recipe", [{"experiment": "infilling_ae"}, {"model": "iwae"}])
def test_recipes_train_on_the_embedded_sentences(recipe: dict[str, str], tmp_path: Path) -> None:
    options = {key: value for key, value in SMALL.items() if key not in ("encoder", "latent")}
    found = aeframe.fit(
        **recipe,
        modality="text",
        data={"name": "sentences", "size": 60},
        folder=str(tmp_path / "run"),
        max_batches=2,
        max_epochs=1,
        pictures=False,
        **options,
    )
    assert 0 <= found.metrics["token_match"] <= 1


def test_a_network_of_fixed_size_reads_padded_sentences(tmp_path: Path) -> None:
    found = aeframe.fit(
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
    assert found.metrics["tokens"] > 0


def test_a_loss_of_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        aeframe.fit(model="ae", modality="text", loss="mse", folder=str(tmp_path / "run"))
    assert str(caught.value) == (
        "loss 'mse' is for data that are binary, real, signed, simplex or unit, but these are category(48); "
        "choose loss=categorical"
    )
    assert not (tmp_path / "run").exists()


# -- molecules -------------------------------------------------------------------------------------------------------


def test_molecules_are_judged_by_what_they_mean() -> None:
    pytest.importorskip("rdkit", reason="reading molecules needs the extra molecules")
    new = ["CCO", "OCC", "c1ccccc1", "C(", "", "C(C)(C)(C)(C)C"]
    # Ethanol twice and benzene; a bracket that stays open, nothing, and a carbon with five bonds are no molecules.
    assert judged(new, ["C(C)O"]) == {"validity": 0.5, "uniqueness": 2 / 3, "novelty": 0.5}
    assert judged(["C("], []) == {"validity": 0.0, "uniqueness": 0.0, "novelty": 0.0}
    assert returned(["CCO", "CCN", "CC"], ["OCC", "CCO", "C("]) == {"returned_valid": 2 / 3, "returned_same": 1 / 3}


def test_molecules_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rdkit", reason="reading molecules needs the extra molecules")
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
    assert main(["molecules", str(tmp_path / "run"), "-n", "5", "-o", str(tmp_path / "found.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == ["validity", "uniqueness", "novelty", "returned_valid", "returned_same"]
    assert told == [*(f"{name:<16}{value:.3f}" for name, value in found.items()), str(tmp_path / "found.json")]
    assert all(0 <= value <= 1 for value in found.values())


def test_molecules_are_of_models_of_smiles(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["molecules", str(run)]) == 2
    assert capsys.readouterr().err == (
        f"error: '{run}' is no model of SMILES; molecules is for modality.tokeniser=smiles\n"
    )
