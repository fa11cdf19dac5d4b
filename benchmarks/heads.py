"""Compare the default activation of each loss with its alternatives: ``python benchmarks/heads.py FOLDER``.

FOLDER has ``image/mnist.npz``, ``video/bikes.mp4``, ``audio/fsdd.tar.gz`` and ``anomaly/satellite.npz``. Each
autoencoder is trained for 300 steps of Adam with a learning rate of 1e-3 and batches of 64, from three seeds. Initial
weights and batches are those of the seed, whatever the activation. It prints one line for each activation, and writes
``results/heads.json`` with the squared and absolute error per element on 1,000 held-out samples, and
``results/heads.md`` with the mean over the seeds. What ``results/heads.json`` has is not measured again. The domain
``simplex`` stands for data without an activation that fits elementwise.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor

from aeframe.model.assembly import assemble
from aeframe.parts.losses.base import head_activation
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

RESULTS = Path(__file__).with_name("results")
SEEDS = (0, 1, 2)
NUM_STEPS = 300
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
NUM_TRAIN, NUM_TEST = 10_000, 1_000
LOSSES: dict[str, dict[str, Any]] = {
    "mse": {"name": "mse"},
    "mae": {"name": "mae"},
    "huber": {"name": "huber", "delta": 0.1},
    "gaussian": {"name": "gaussian", "variance": "shared", "scale": 0.3},
}
CONV = {"name": "conv"}
MLP = {"name": "mlp", "hidden": [256]}


@dataclass(frozen=True)
class Case:
    """Samples of one domain, the encoder that fits them, and the losses that are compared on them."""

    x: Tensor
    domain: str
    encoder: dict[str, Any]
    losses: tuple[str, ...] = tuple(LOSSES)


def images(folder: Path) -> Tensor:
    """Return digits ``(N, 1, 28, 28)`` in [0, 1]."""
    with np.load(folder / "image" / "mnist.npz") as file:
        x = file["x_train"][: NUM_TRAIN + NUM_TEST]
    return torch.from_numpy(x).unsqueeze(1).float() / 255


def frames(folder: Path) -> Tensor:
    """Return squares ``(N, 3, 16, 16)`` of the frames of a video in [0, 1], reduced to half their size."""
    squares = []
    with av.open(str(folder / "video" / "bikes.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 5 == 0:
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).unsqueeze(0).float() / 255
                half = torch.nn.functional.avg_pool2d(image, 2)
                squares.append(
                    half.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 16, 16)
                )
    x = torch.cat(squares)
    return x[torch.from_numpy(np.random.default_rng(0).permutation(len(x)))]


def sounds(folder: Path) -> Tensor:
    """Return segments ``(N, 1, 256)`` of spoken digits in [-1, 1], each recording scaled to its peak."""
    segments = []
    with tarfile.open(folder / "audio" / "fsdd.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".wav") and (file := archive.extractfile(member)) is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", wavfile.WavFileWarning)
                    wave = wavfile.read(io.BytesIO(file.read()))[1].astype(np.float32)
                wave = wave / max(1.0, float(np.abs(wave).max()))
                segments.append(wave[: len(wave) // 256 * 256].reshape(-1, 1, 256))
    x = np.concatenate(segments)
    return torch.from_numpy(x[np.random.default_rng(0).permutation(len(x))[: NUM_TRAIN + NUM_TEST]])


def numbers(folder: Path) -> Tensor:
    """Return rows ``(N, 36)`` of multispectral values, each column scaled to [0, 1]."""
    with np.load(folder / "anomaly" / "satellite.npz") as file:
        x = file["X"].astype(np.float32)
    x = (x - x.min(0)) / np.maximum(x.max(0) - x.min(0), 1e-12)
    return torch.from_numpy(x[np.random.default_rng(0).permutation(len(x))])


def cases(folder: Path) -> dict[str, Case]:
    """Return the data by name."""
    digits, squares, waves, rows = images(folder), frames(folder), sounds(folder), numbers(folder)
    flat = digits.flatten(1)
    return {
        "table, unit": Case(rows, "unit", MLP),
        "digits, unit": Case(flat, "unit", MLP),
        "video, unit": Case(squares, "unit", CONV),
        "audio, signed": Case(waves, "signed", MLP),
        "digits, binary": Case((flat > 0.5).float(), "binary", MLP, ("mse",)),
        "table, simplex": Case(rows / rows.sum(1, keepdim=True), "simplex", MLP, ("mse",)),
    }


def measure(case: Case, loss: str, activation: str, seed: int) -> dict[str, float]:
    """Train an autoencoder, and return its squared and absolute error per element on held-out samples."""
    torch.manual_seed(seed)
    config = {
        "corruption": "none",
        "encoder": case.encoder,
        "latent": {"name": "point", "dim": 16},
        "prior": "normal",
        "decoder": "mirror",
        "loss": {**LOSSES[loss], "activation": activation},
        "objective": "deterministic",
        "activation": "relu",
    }
    model = assemble(config, DataSpec(tuple(case.x.shape[1:]), Domain.parse(case.domain)))
    train, test = case.x[:-NUM_TEST], case.x[-NUM_TEST:]
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    progress = TrainingProgress(planned=NUM_STEPS, rows=len(train))
    for _ in range(NUM_STEPS):
        batch = Batch(train[torch.randint(len(train), (BATCH_SIZE,))])
        terms = model.terms(model(batch, sample=True), progress)
        optimizer.zero_grad()
        terms.total().mean().backward()
        optimizer.step()
    with torch.no_grad():
        error = model.eval().generate(model.embed(Batch(test)).mean) - test
    return {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}


def table(results: dict[str, dict[str, dict[str, list[dict[str, float]]]]], domains: dict[str, str]) -> list[str]:
    """Return a table in Markdown: a row for each case and loss, with the default activation marked."""
    lines = ["| data | loss | activation | squared error | absolute error |", "|---" * 5 + "|"]
    for name, losses in results.items():
        default = head_activation(Domain.parse(domains[name]), None)
        for loss, activations in losses.items():
            for activation, runs in activations.items():
                cells = []
                for metric in ("mse", "mae"):
                    values = [run[metric] for run in runs]
                    cells.append(f"{np.mean(values):.3g} ± {np.std(values):.1g}")
                mark = " (default)" if activation == default else ""
                lines.append(f"| {name} | {loss} | {activation}{mark} | {' | '.join(cells)} |")
    return lines


def write_table(results: dict[str, dict[str, dict[str, list[dict[str, float]]]]], domains: dict[str, str]) -> None:
    """Write ``results/heads.md``."""
    text = "\n".join(["# Activations of the reconstruction", "", *table(results, domains), ""])
    (RESULTS / "heads.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    chosen = cases(folder)
    file = RESULTS / "heads.json"
    results: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    )
    pairs = [(name, loss) for loss in LOSSES for name, case in chosen.items() if loss in case.losses]
    for name, loss in pairs:
        case = chosen[name]
        measured = results.setdefault(name, {}).setdefault(loss, {})
        for activation in ["identity", *(["tanh"] if case.domain == "signed" else ["sigmoid", "steep_sigmoid"])]:
            if activation not in measured:
                measured[activation] = [measure(case, loss, activation, seed) for seed in SEEDS]
                print(name, loss, activation, *(f"{run['mse']:.5f}" for run in measured[activation]), flush=True)
                file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
                write_table(results, {name: case.domain for name, case in chosen.items()})


if __name__ == "__main__":
    main()
