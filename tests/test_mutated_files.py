"""Two hundred mutated files for each modality: each is read, or refused in one sentence, within bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe.data.modality import Dataset, Modality
from aeframe.factory import build
from aeframe.registry import registry
from aeframe.testing.guarded import can_fork, faults_of
from aeframe.testing.mutations import mutate

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not can_fork(), reason="needs fork and limits of memory")
NUM = 200
SECONDS = 5.0
HDF5 = ("killed by signal 9", "_HangError")
"""libhdf5 loops for ever on some damaged metadata; no reader in the same process can stop it."""
RNG = np.random.default_rng(0)
Write = Callable[[Path], None]


def table(folder: Path) -> None:
    import pandas as pd

    rows = RNG.random((24, 4)).round(3)
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d"])
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "gz.csv.gz", index=False)
    if registry_has_parquet():
        frame.to_parquet(folder / "t.parquet")
    np.save(folder / "t.npy", rows.astype(np.float32))
    np.savez_compressed(folder / "t.npz", x=rows)


def registry_has_parquet() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def pictures(folder: Path) -> None:
    from PIL import Image

    pixels = RNG.integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez_compressed(folder / "x.npz", x=pixels)
    np.save(folder / "x.npy", pixels)
    for suffix in ("png", "tif", "jpg", "gif", "bmp", "webp", "ppm"):
        (folder / suffix).mkdir()
        for number, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / suffix / f"{number}.{suffix}")


def sounds(folder: Path) -> None:
    import soundfile

    for suffix in ("wav", "flac", "ogg"):
        (folder / suffix).mkdir()
        for number in range(6):
            wave = 0.5 * np.sin(np.arange(1600) * (0.05 + 0.01 * number))
            soundfile.write(folder / suffix / f"{number}.{suffix}", wave, 8000)


def films(folder: Path) -> None:
    import av

    for suffix, codec in (("mp4", "mpeg4"), ("avi", "mpeg4")):
        (folder / suffix).mkdir()
        for number in range(4):
            with av.open(str(folder / suffix / f"{number}.{suffix}"), "w") as container:
                stream: Any = container.add_stream(codec, rate=5)
                stream.width = stream.height = 16
                stream.pix_fmt = "yuv420p"
                for _ in range(8):
                    frame = av.VideoFrame.from_ndarray(RNG.integers(0, 256, (16, 16, 3), np.uint8), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
    np.savez_compressed(folder / "v.npz", x=RNG.integers(0, 256, (6, 8, 16, 16), np.uint8))


def texts(folder: Path) -> None:
    words = ["a", "model", "reads", "short", "lines", "of", "plain", "words", "and", "learns", "them", "by", "heart"]
    lines = [" ".join(RNG.choice(words, 5)) for _ in range(30)]
    (folder / "t.txt").write_text("\n".join(lines) + "\n")
    (folder / "t.jsonl").write_text(
        "".join(f'{{"text": "{line}", "label": {number % 3}}}\n' for number, line in enumerate(lines))
    )
    (folder / "t.csv").write_text(
        "text,label\n" + "".join(f'"{line}",k{number % 2}\n' for number, line in enumerate(lines))
    )


def cells(folder: Path) -> None:
    import anndata
    import pandas as pd
    import scipy.sparse

    counts = scipy.sparse.csr_matrix(RNG.poisson(1.5, (30, 12)).astype(np.float32))
    obs = pd.DataFrame({"size": np.arange(30)}, index=pd.Index([f"c{number}" for number in range(30)], dtype=object))
    var = pd.DataFrame(index=pd.Index([f"g{number}" for number in range(12)], dtype=object))
    anndata.AnnData(counts, obs=obs, var=var).write_h5ad(folder / "sparse.h5ad")
    anndata.AnnData(counts.toarray(), obs=obs, var=var).write_h5ad(folder / "dense.h5ad")


def series(folder: Path) -> None:
    import pandas as pd

    rows = RNG.normal(size=(200, 2)).round(3)
    frame = pd.DataFrame(rows, columns=["a", "b"])
    frame.insert(0, "time", pd.date_range("2021-01-01", periods=200, freq="h").astype(str))
    frame.to_csv(folder / "s.csv", index=False)
    if registry_has_parquet():
        frame.to_parquet(folder / "s.parquet")
    np.save(folder / "s.npy", rows)


# The modality's options, the function that writes its files, and the datasets that read them by the suffix of the path.
CASES: dict[str, tuple[Mapping[str, Any], Write, Mapping[str, Mapping[str, Any]]]] = {
    "vector": ({}, table, {"": {"name": "numbers"}}),
    "image": (
        {},
        pictures,
        {".npz": {"name": "image_npz"}, ".npy": {"name": "image_npz"}, "": {"name": "image_folder"}},
    ),
    "audio": ({"seconds": 0.05}, sounds, {"": {"name": "audio_folder"}}),
    "video": ({"frames": 4}, films, {"": {"name": "video_files"}, ".npz": {"name": "video_npz"}}),
    "text": ({}, texts, {"": {"name": "text_files"}}),
    "omics": ({}, cells, {"": {"name": "h5ad"}}),
    "series": ({"window": 8}, series, {"": {"name": "series_file"}}),
}  # fmt: skip


class Files:
    """The valid files of a modality, and attempts to read mutated copies."""

    def __init__(self, name: str, folder: Path) -> None:
        options, write, self.datasets = CASES[name]
        self.config = {"name": name, **options}
        self.folder, self.valid = folder, folder / "valid"
        self.valid.mkdir(parents=True)
        write(self.valid)
        self.paths = sorted(self.valid.iterdir())
        self.states = [self._state(path) for path in self.paths]

    def dataset(self, path: Path) -> Dataset:
        config = self.datasets.get(path.suffix, self.datasets[""])
        dataset: Dataset = build("dataset", {**config, "path": str(path)})
        return dataset

    def modality(self, on_error: str = "raise") -> Modality:
        modality: Modality = build(
            "modality", {**self.config, "on_error": on_error} if self.name_has_on_error else self.config
        )
        return modality

    @property
    def name_has_on_error(self) -> bool:
        from aeframe.factory import signature

        return "on_error" in signature(registry().load("modality", self.config["name"])).options

    def _state(self, path: Path) -> dict[str, Any]:
        """Return the state that training on the valid file learns; reading the file must work."""
        modality = self.modality()
        modality.prepare(self.dataset(path))
        assert len(modality.open(path, "raise").batch()) > 1
        return modality.state()

    def attempt(self, number: int) -> tuple[str, Callable[[], object]]:
        at = number % len(self.paths)
        valid, path = self.paths[at], self.folder / "mutated" / self.paths[at].name
        shutil.rmtree(self.folder / "mutated", ignore_errors=True)
        path.parent.mkdir()
        file = path
        if valid.is_dir():
            shutil.copytree(valid, path)
            files = sorted(path.iterdir())
            file = files[number // len(self.paths) % len(files)]
            content, what = mutate(file.read_bytes(), number)
        else:
            content, what = mutate(valid.read_bytes(), number)
        file.write_bytes(content)
        on_error: Any = ("raise", "skip")[number // 7 % 2]

        def read() -> None:
            if number // 3 % 2:
                modality = self.modality()
                modality.load_state(self.states[at])
                samples = modality.open(path, on_error)
                for batch in samples.batches(8):
                    assert len(batch) <= 8
            else:
                modality, dataset = self.modality(on_error), self.dataset(path)
                modality.spec(dataset)
                splits = modality.prepare(dataset)
                splits.train.batch(torch.arange(min(8, len(splits.train))))

        return f"{file.relative_to(self.folder)} ({on_error}): {what}", read


@pytest.mark.parametrize("name", CASES)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    if not registry().has("modality", name):
        pytest.skip(f"modality '{name}' comes with a plugin that is not installed")
    faults = faults_of(Files(name, tmp_path).attempt, NUM, tmp_path, seconds=SECONDS)
    faults = [fault for fault in faults if ".h5ad" not in fault or not any(text in fault for text in HDF5)]
    assert not faults, "\n\n".join(faults)
