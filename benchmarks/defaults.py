"""Compare the defaults of each modality with a bare loop of the same network, PCA and what the field uses.

    python benchmarks/defaults.py FOLDER [--only NAME,...] [--batches 1000] [--seeds 3]

FOLDER has the files named below. Every data set is trained with its path and nothing else. The bare loop trains the
same network from the same initial weights by plain torch: shuffled batches of the same size, Adam with a rate of 0.001,
equally many batches, no validation, and the last weights. The figure is the error of the test split that the loss is
about: mean squared error per element where the loss is a distance, otherwise the bound or its perplexity. PCA has as
many numbers as the code. What the field uses: a multi-layer perceptron of scikit-learn that is trained to return its
input, with the same layers, by early stopping (rows, windows, pictures); no latent at all, with fitted gene frequencies
(cells); and baselines of the run itself: a bigram model (sentences), the middle frame repeated (videos), PCA of windows
(sounds).

The last column states whether the run itself said so where PCA or one of its baselines is better. Writes
results/defaults.json and results/defaults.md; with ``--only`` the results of the other data sets are those of the file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from sklearn.neural_network import MLPRegressor

import aeframe
from aeframe.data.modality import Source, Splits
from aeframe.types import TrainingProgress

RESULTS = Path(__file__).with_name("results")
TOLERANCE = 0.03
Rival = Callable[[Splits, int, int], float]
"""Returns the error on test samples, from the splits, the size of the code and a seed."""


@dataclass(frozen=True)
class Case:
    """One data set with the options that every run of it needs."""

    modality: str
    overrides: tuple[str, ...]
    metric: str = "mse"
    """The metric, lower is better."""
    rival: str = ""
    """The name of what the field uses, a key of `RIVALS` or a metric of the run; empty for none."""


def cases(folder: Path, unpacked: Path) -> dict[str, Case]:
    """Return the data sets by name.

    Args:
        folder: Where the files are.
        unpacked: A folder for the files of archives.
    """
    text = unpacked / "text"
    if not text.exists():
        with zipfile.ZipFile(folder / "text/ptb.zip") as archive:
            archive.extractall(text)
    ptb = {split: next(text.rglob(f"*{split}.txt")) for split in ("train", "valid", "test")}
    rows = "perceptron"
    found = {
        "breast_cancer": Case("vector", ("data=breast_cancer",), rival=rows),
        **{
            name: Case(
                "vector",
                ("data=numbers", f"data.path={folder / 'anomaly' / name}.npz", "data.key=X", "data.label=y"),
                rival=rows,
            )
            for name in ("cardio", "letter", "satellite")
        },
        "resnet_features": Case(
            "vector",
            ("data=numbers", f"data.path={folder / 'features/cifar10_resnet18.npz'}", "data.key=X", "data.label=y"),
            rival=rows,
        ),
        "digits": Case("image", ("data=digits",), rival=rows),
        "mnist": Case("image", ("data=mnist", f"data.path={folder / 'image/mnist.npz'}"), rival=rows),
        "ETTh1": Case("series", ("data=ett", f"data.path={folder / 'timeseries/ETTh1.csv.gz'}"), rival=rows),
        "spoken_digits": Case(
            "audio", ("data=fsdd", f"data.path={folder / 'audio/fsdd.tar.gz'}", "modality.seconds=0.5"),
            rival="mse_of_window_pca",
        ),
        "moving_mnist": Case(
            "video",
            ("data=moving_mnist", f"data.path={folder / 'video/moving_mnist_small.npz'}", "modality.size=32"),
            rival="mse_of_middle_frame",
        ),
        "penn_treebank": Case(
            "text",
            (
                "data=text_files", f"data.path={ptb['train']}", f"data.validation_path={ptb['valid']}",
                f"data.test_path={ptb['test']}",
            ),
            metric="perplexity",
            rival="perplexity_of_bigrams",
        ),
        "pbmc_facs": Case(
            "omics",
            ("data=h5ad", f"data.path={folder / 'omics/pbmc_facs.h5ad'}", "data.label=celltype"),
            metric="bound",
            rival="no latent",
        ),
        "mixology": Case(
            "omics",
            ("data=h5ad", f"data.path={folder / 'omics/mixology_5batches_hvg3000.h5ad'}", "data.label=cell_line"),
            metric="bound",
            rival="no latent",
        ),
        "adult": Case("table", ("data=table", f"data.path={folder / 'tables/adult.csv'}"), metric="bound"),
        "titanic": Case("table", ("data=table", f"data.path={folder / 'tables/titanic.csv'}"), metric="bound"),
    }  # fmt: skip
    return found


# -- the three sides --------------------------------------------------------------------------------------------------


def default(overrides: Sequence[str], folder: Path) -> tuple[dict[str, float], str]:
    """Return the test metrics of a run, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        run = aeframe.fit(overrides=[*overrides, f"folder={folder}", "pictures=false", "progress=false"])
    return dict(run.metrics), " ".join(printed.getvalue().splitlines())


def bare_loop(overrides: Sequence[str], batches: int, seed: int) -> tuple[dict[str, float], Splits, int]:
    """Return the test metrics of the same network after a plain loop, the data, and the size of the code."""
    module, data = aeframe.build(overrides=list(overrides))
    model, train = module.model, data.splits.train
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    done = 0
    while done < batches:
        order = torch.randperm(len(train), generator=generator)
        for index in order.split(data.batch_size)[: batches - done]:
            progress = TrainingProgress(batch=done, planned=batches)
            terms = model.terms(model(train.batch(index)), progress)
            optimizer.zero_grad()
            terms.total().mean().backward()
            optimizer.step()
            done += 1
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.test(module, datamodule=data, verbose=False)
    return dict(module.measured["test"]), data.splits, math.prod(model.latent.shape)


# -- what the field uses ----------------------------------------------------------------------------------------------


def flat(source: Source, num: int = 20_000) -> np.ndarray[Any, Any]:
    """Return at most `num` samples as rows of numbers ``(n, D)``."""
    batch = source.batch(torch.arange(min(num, len(source))))
    return np.asarray(batch.masked_x().flatten(1).numpy(), dtype=np.float64)


def perceptron(splits: Splits, size: int, seed: int) -> float:
    """Return the error of a perceptron that is trained to return its input, through `size` units."""
    train, test = flat(splits.train), flat(splits.test)
    network = MLPRegressor(hidden_layer_sizes=(128, size, 128), early_stopping=True, max_iter=200, random_state=seed)
    network.fit(train, train)
    return float(np.mean((network.predict(test) - test) ** 2))


def no_latent(splits: Splits, size: int, seed: int) -> float:
    """Return the Poisson bound of gene frequencies alone, times the size of each cell."""
    train, test = flat(splits.train), flat(splits.test)
    frequencies = np.maximum(train.sum(0), 0.5) / train.sum()
    rates = torch.from_numpy(test.sum(1, keepdims=True) * frequencies)
    log_probability = torch.distributions.Poisson(rates).log_prob(torch.from_numpy(test))
    return float(-log_probability.sum(1).mean())


RIVALS: dict[str, Rival] = {"perceptron": perceptron, "no latent": no_latent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = RESULTS / "defaults.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = cases(arguments.folder, Path(folder))
        names = [name for name in arguments.only.split(",") if name] or list(found)
        for name in names:
            case = found[name]
            seeds = [measure(case, arguments.batches, seed, Path(folder)) for seed in range(arguments.seeds)]
            results[name] = {
                "modality": case.modality, "metric": case.metric, "rival": case.rival, "batches": arguments.batches,
                "seeds": seeds,
            }  # fmt: skip
            RESULTS.mkdir(exist_ok=True)
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (RESULTS / "defaults.md").write_text(page(results), encoding="utf-8")
            print(page({name: results[name]}), flush=True)


def measure(case: Case, batches: int, seed: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one data set with one seed."""
    overrides = [*case.overrides, f"max_batches={batches}", f"seed={seed}", "trainer.threads=1"]
    begin = time.perf_counter()
    ours, printed = default(overrides, folder / f"{time.monotonic_ns()}")
    middle = time.perf_counter()
    bare, splits, size = bare_loop(overrides, batches, seed)
    end = time.perf_counter()
    return {
        "default": ours[case.metric],
        "bare": bare[case.metric],
        "pca": ours.get(f"{case.metric}_of_pca"),
        "rival": RIVALS[case.rival](splits, size, seed) if case.rival in RIVALS else ours.get(case.rival),
        "printed": printed,
        "default_seconds": middle - begin,
        "bare_seconds": end - middle,
    }


def page(results: dict[str, Any]) -> str:
    """Return the Markdown table of all results."""
    lines = [
        "Test error of the default of each data set, lower is better: mean ± deviation over the seeds.",
        "",
        "| data | modality | metric | default | bare loop | default / bare | PCA | the field's | says so |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        seeds = result["seeds"]
        sides = {side: [seed[side] for seed in seeds] for side in ("default", "bare", "pca", "rival")}
        ratio = statistics.mean(sides["default"]) / statistics.mean(sides["bare"])
        mark = "" if ratio <= 1 + TOLERANCE else " (worse)"
        simple = ["pca", *([] if result["rival"] in RIVALS else ["rival"])]
        loses = [any(seed[side] is not None and seed[side] < seed["default"] for side in simple) for seed in seeds]
        named = sum(
            lost and any(words in seed["printed"] for words in ("less than that of the model", "has a better"))
            for lost, seed in zip(loses, seeds, strict=True)
        )
        rival = f"{_shown(sides['rival'])} ({result['rival']})" if result["rival"] else "–"
        lines.append(
            f"| {name} | {result['modality']} | {result['metric']} | {_shown(sides['default'])} | "
            f"{_shown(sides['bare'])} | {ratio:.3f}{mark} | {_shown(sides['pca'])} | {rival} | "
            f"{f'{named} of {sum(loses)}' if any(loses) else 'not needed'} |"
        )
    return "\n".join(lines) + "\n"


def _shown(values: Sequence[float | None]) -> str:
    if any(value is None for value in values):
        return "–"
    numbers = [float(value) for value in values if value is not None]
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.mean(numbers):.4g} ± {deviation:.2g}"


if __name__ == "__main__":
    main()
