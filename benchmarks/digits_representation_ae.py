"""Train decoders on the features of a digit classifier: ``python benchmarks/digits_representation_ae.py``.

Two commands: ``export FILE`` trains the classifier, writes it as a `torch.export` archive, and prints its overrides for
``experiment=digits_representation_ae``. ``measure FOLDER`` also trains decoders with and without noise on z, with three
seeds each, and decodes noisy codes of the test images. It writes ``results/digits_representation_ae.json`` and two
plots.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import aeframe
from aeframe.types import Batch

RESULTS = Path(__file__).with_name("results")
NAME = "digits_representation_ae"
RUNS = {
    "no noise": ["latent.noise=0"],
    "noise 0.4": ["latent.noise=0.4"],
    "noise 0.8": [],
    "noise 0.8, no consistency": ["~penalties.feature_consistency"],
}
SEEDS = (0, 1, 2)
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Standard deviations of the noise that is added to the codes of test images."""


def batches(loader: Iterable[Any]) -> Iterator[Batch]:
    """Yield the batches of a loader whose steps have one batch each."""
    yield from loader


def train_classifier(seed: int = 0, epochs: int = 40) -> tuple[nn.Module, float]:
    """Return the convolutions of a classifier, which map images ``(B, 1, 8, 8)`` to ``(B, 64, 2, 2)``, and its test
    accuracy."""
    torch.manual_seed(seed)
    _, data = aeframe.build(model="ae", data="digits", batch_size=64)
    data.setup("fit")
    data.setup("test")
    features = nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 1),
    )  # fmt: skip
    head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(epochs):
        for batch in batches(data.train_dataloader()):
            loss = nn.functional.cross_entropy(head(features(batch.x)), batch.extras["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    features.eval()
    with torch.no_grad():
        correct = [
            head(features(batch.x)).argmax(1) == batch.extras["label"] for batch in batches(data.test_dataloader())
        ]
    return features, torch.cat(correct).float().mean().item()


def export(path: Path) -> list[str]:
    """Train and export the classifier; return the overrides that name its file."""
    network, accuracy = train_classifier()
    print(f"test accuracy of the classifier: {accuracy:.3f}")
    exported = torch.export.export(network, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(exported, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return [f"encoder.path={path}", f"encoder.sha256={digest}"]


def noisy_errors(model: Any, x: Tensor) -> dict[str, list[float]]:
    """Return, for each noise level, the absolute error per pixel of the decoded codes, and that of their features."""
    z = model.encode(x)
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, list[float]] = {"mae": [], "feature_error": []}
    for level in LEVELS:
        decoded = model.decode(z + level * torch.randn(z.shape, generator=generator))
        errors["mae"].append((decoded - x).abs().mean().item())
        errors["feature_error"].append((model.encode(decoded) - z).abs().mean().item())
    return errors


def measure(folder: Path) -> int:
    """Train the decoders, and write their errors and plots."""
    folder.mkdir(parents=True, exist_ok=True)
    overrides = export(folder / "classifier.pt2")
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Tensor] = {}
    _, data = aeframe.build(model="ae", data="digits", batch_size=1000)
    data.setup("test")
    x = torch.cat([batch.x for batch in batches(data.test_dataloader())])
    for name, changes in RUNS.items():
        for seed in SEEDS:
            run_folder = folder / f"{name.replace(' ', '_').replace(',', '')}_{seed}"
            run = aeframe.fit(
                overrides=[
                    f"experiment={NAME}", *overrides, *changes, f"seed={seed}", f"folder={run_folder}", "pictures=false"
                ]
            )  # fmt: skip
            model = aeframe.load(run.folder)
            rows.append({"run": name, "seed": seed, "levels": LEVELS, **noisy_errors(model, x)})
            if seed == 0:
                z = model.encode(x[:10])
                noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
                pictures[name] = torch.cat([model.decode(z), model.decode(z + 0.6 * noise), model.sample(10)])
    (RESULTS / f"{NAME}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    median_image = (x - x.median(0).values).abs().mean().item()
    print(f"median image: {median_image:.4f}")
    for metric in ("mae", "feature_error"):
        for name in RUNS:
            means = torch.tensor([row[metric] for row in rows if row["run"] == name]).mean(0)
            print(f"{metric:14}{name:28}" + " ".join(f"{value:.4f}" for value in means.tolist()))
    _plot(rows, x[:10], pictures)
    return 0


def _plot(rows: list[dict[str, Any]], x: Tensor, pictures: dict[str, Tensor]) -> None:
    """Plot the errors by noise level, and reconstructions, decoded noisy codes and samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name in RUNS:
        values = torch.tensor([row["mae"] for row in rows if row["run"] == name])
        axes.errorbar(LEVELS, values.mean(0), values.std(0), label=name, capsize=2)
    axes.set_xlabel("standard deviation of the noise on z")
    axes.set_ylabel("absolute error per pixel (test)")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / f"{NAME}.png", dpi=110)
    figure = Figure(figsize=(10, 1 + 3 * len(pictures)), layout="constrained")
    grid = figure.subplots(1 + len(pictures), 1)
    strips = {"test images": x} | pictures
    for axes, (name, images) in zip(grid, strips.items(), strict=True):
        num_rows = len(images) // 10
        axes.imshow(images.reshape(num_rows, 10, 8, 8).transpose(1, 2).reshape(num_rows * 8, 80), cmap="gray_r")
        axes.set_title(name if name == "test images" else f"{name}: reconstructions, noise 0.6 on z, samples")
        axes.axis("off")
    figure.savefig(RESULTS / f"{NAME}_images.png", dpi=60)


def main(argv: list[str] | None = None) -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["export", "measure"])
    parser.add_argument("path", type=Path, help="the archive to write, or the folder of all runs")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.command == "measure":
        return measure(args.path)
    print(" ".join(export(args.path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
