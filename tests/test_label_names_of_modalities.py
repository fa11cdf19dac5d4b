"""A conditional model of every modality takes labels by name, and reads them from a file or a folder that has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aeframe
from aeframe.cli.main import main

NUM = 24
NAMES = ("cat", "dog")
RNG = np.random.default_rng(0)


def name_of(row: int) -> str:
    return NAMES[row % 2]


def table(folder: Path) -> Path:
    frame = pd.DataFrame(RNG.normal(size=(NUM, 3)), columns=list("abc"))
    frame["kind"] = [name_of(row) for row in range(NUM)]
    frame.to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def texts(folder: Path) -> Path:
    lines = [f"a {name_of(row)} {['sees', 'walks', 'hears'][row % 3]},{name_of(row)}\n" for row in range(NUM)]
    (folder / "x.csv").write_text("text,kind\n" + "".join(lines), encoding="utf-8")
    return folder / "x.csv"


def images(folder: Path) -> Path:
    pil = pytest.importorskip("PIL.Image")
    for row in range(NUM):
        (folder / "x" / name_of(row)).mkdir(parents=True, exist_ok=True)
        pil.fromarray(RNG.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "x" / name_of(row) / f"{row:02}.png")
    return folder / "x"


def sounds(folder: Path) -> Path:
    soundfile = pytest.importorskip("soundfile")
    for row in range(NUM):
        (folder / "x" / name_of(row)).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "x" / name_of(row) / f"{row:02}.wav", RNG.uniform(-0.5, 0.5, 400), 4000)
    return folder / "x"


def videos(folder: Path) -> Path:
    pil = pytest.importorskip("PIL.Image")
    for row in range(NUM):
        video = folder / "x" / name_of(row) / f"{row:02}"
        video.mkdir(parents=True)
        for frame in range(4):
            pil.fromarray(RNG.integers(0, 256, (16, 16), dtype=np.uint8)).save(video / f"{frame}.png")
    return folder / "x"


def cells(folder: Path) -> Path:
    anndata = pytest.importorskip("anndata")
    # Strings, as a user writes them, instead of categories.
    obs = pd.DataFrame({"kind": [name_of(row) for row in range(NUM)]}, index=[f"cell {row}" for row in range(NUM)])
    counts = RNG.poisson(2.0, (NUM, 6)).astype(np.float32) + 1
    anndata.AnnData(X=counts, obs=obs).write_h5ad(folder / "x.h5ad")
    return folder / "x.h5ad"


CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], dict[str, Any], str]] = {
    "vector": (table, {"name": "numbers", "label": "kind"}, {}, ".csv"),
    "text": (texts, {"name": "text_files", "label": "kind"}, {}, ".txt"),
    "image": (images, {"name": "image_folder"}, {}, ".npz"),
    "audio": (sounds, {"name": "audio_folder"}, {"seconds": 0.1}, ".wav"),
    "video": (videos, {"name": "video_files"}, {"frames": 4}, ".npz"),
    "omics": (cells, {"name": "h5ad", "label": "kind"}, {}, ".h5ad"),
}


@pytest.mark.parametrize("modality", CASES)
def test_labels_by_name(modality: str, tmp_path: Path) -> None:
    write, data, options, suffix = CASES[modality]
    path = write(tmp_path)
    run = aeframe.fit(
        model="cvae",
        modality={"name": modality, **options},
        data={**data, "path": path},
        label_classes=2,
        # An encoder of words takes no condition; the decoder does.
        condition_encoder=modality != "text",
        latent={"dim": 2},
        max_batches=2,
        batch_size=8,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=tmp_path / "run",
    ).folder
    model = aeframe.load(run)
    assert model.label_names == NAMES

    def encoded(name: str, *arguments: str) -> np.ndarray[Any, Any]:
        assert main(["encode", str(run), str(path), "-o", str(tmp_path / name), *arguments]) == 0
        codes: np.ndarray[Any, Any] = np.load(tmp_path / name)["z"]
        return codes

    batch = model.modality.read(path)
    labels = batch.extras["label"].numpy()
    assert np.bincount(labels).tolist() == [NUM // 2, NUM // 2]
    found, cats, dogs = encoded("z.npz"), encoded("cat.npz", "--label", "cat"), encoded("dog.npz", "--label", "dog")
    assert np.allclose(found, np.where(labels[:, None] == 0, cats, dogs), atol=1e-5)
    assert np.allclose(cats, dogs, atol=1e-5) == (modality == "text")
    names = [NAMES[label] for label in labels]
    assert model.reconstruct(batch).equal(model.reconstruct(batch, condition=names))

    generate = ["generate", str(run), "-n", "2", "--seed", "0", "--label", "dog", "-o", str(tmp_path / f"new{suffix}")]
    assert main(generate) == 0
    by_name = model.sample(2, seed=0, condition=["cat", "dog"])
    assert by_name.equal(model.sample(2, seed=0, condition=np.eye(2)))
