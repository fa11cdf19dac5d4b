"""Rank the anomalies of tables, beside PCA, nearest neighbours and isolation forests: ``python benchmarks/anomalies.py
FOLDER``.

FOLDER has NPZ files of X ``(N, D)`` and y ``(N,)``, 1 for an anomaly. Each detector is trained without y on a random
60 % of the rows, standardised by them, and ranks the others. It writes ``results/anomalies.json``, with AUROC and
average precision of three seeds, and ``results/anomalies.md``. With ``--only NAME,...`` the results of the other
detectors are those of the file. The recipes ``table_*`` need the plugin aeframe-tabular.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

import aeframe
from aeframe.sklearn import AutoencoderOutlierDetector

RESULTS = Path(__file__).with_name("results")
SEEDS = (0, 1, 2)
NEIGHBOURS = 5
Array = NDArray[np.float64]
Detector = Callable[[Array, Array, int], Array]
"""Returns the scores ``(M,)`` of test rows ``(M, D)``, higher for anomalies, from training rows and a seed."""


def own(model: str, **options: Any) -> Detector:
    """Return a detector of an autoencoder with the defaults of the package."""

    def scores(train: Array, test: Array, seed: int) -> Array:
        detector = AutoencoderOutlierDetector(model, random_state=seed, **options).fit(train)
        return np.asarray(-detector.score_samples(test))

    return scores


def mixed(model: str, numbers: str) -> Detector:
    """Return a detector by the bound of a recipe for tables of mixed types, with one coding of its numbers."""

    def scores(train: Array, test: Array, seed: int) -> Array:
        names = [str(number) for number in range(train.shape[1])]
        with tempfile.TemporaryDirectory() as folder:
            run = aeframe.fit(
                pd.DataFrame(train, columns=names),
                modality={"name": "table", "numbers": numbers},
                model=model,
                seed=seed,
                folder=f"{folder}/run",
                trainer={"threads": 1},
            )
        return run.model.score(run.model.prepare(pd.DataFrame(test, columns=names))).numpy()

    return scores


def pca(train: Array, test: Array, seed: int) -> Array:
    """Return the squared error of the principal components with 90 % of the variance."""
    model = PCA(0.9, svd_solver="full").fit(train)
    return np.asarray(((test - model.inverse_transform(model.transform(test))) ** 2).sum(1))


def neighbours(train: Array, test: Array, seed: int) -> Array:
    """Return the distance to the fifth nearest training row."""
    return np.asarray(NearestNeighbors(n_neighbors=NEIGHBOURS).fit(train).kneighbors(test)[0][:, -1])


def forest(train: Array, test: Array, seed: int) -> Array:
    """Return the scores of an isolation forest with scikit-learn's defaults."""
    return np.asarray(-IsolationForest(random_state=seed).fit(train).score_samples(test))


DETECTORS: dict[str, Detector] = {
    "ae": own("ae"),
    "ae, reconstruction": own("ae", method="reconstruction"),
    "vae": own("vae"),
    "vae, bound": own("vae", method="bound"),
    "table_ae": mixed("table_ae", "standard"),
    "table_vae": mixed("table_vae", "standard"),
    "PCA": pca,
    "nearest neighbours": neighbours,
    "isolation forest": forest,
}


def measure(path: Path, detector: Detector, seed: int) -> dict[str, float]:
    """Return AUROC, average precision and the seconds of training and scoring."""
    with np.load(path) as file:
        x, y = file["X"].astype(np.float64), file["y"].astype(int).ravel()
    train, test, _, flags = train_test_split(x, y, train_size=0.6, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(train)
    start = time.perf_counter()
    scores = detector(scaler.transform(train), scaler.transform(test), seed)
    seconds = time.perf_counter() - start
    return {
        "auroc": float(roc_auc_score(flags, scores)),
        "average_precision": float(average_precision_score(flags, scores)),
        "seconds": seconds,
    }


def table(results: dict[str, dict[str, list[dict[str, float]]]], metric: str) -> list[str]:
    """Return a table in Markdown of means and standard deviations over the seeds, a row for each detector."""
    lines = [f"| {metric} | {' | '.join(results)} | mean |", "|---" * (len(results) + 2) + "|"]
    for name in DETECTORS:
        values = [[run[metric] for run in by_detector[name]] for by_detector in results.values()]
        cells = [f"{np.mean(runs):.3f} ± {np.std(runs):.3f}" for runs in values]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean(values):.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="detectors, separated by commas")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.only.split(",") if args.only else list(DETECTORS)
    file = RESULTS / "anomalies.json"
    results: dict[str, dict[str, list[dict[str, float]]]] = (
        json.loads(file.read_text(encoding="utf-8")) if args.only else {}
    )
    for path in sorted(args.folder.glob("*.npz")):
        results.setdefault(path.stem, {})
        for name in names:
            results[path.stem][name] = [measure(path, DETECTORS[name], seed) for seed in SEEDS]
            means = {key: np.mean([run[key] for run in results[path.stem][name]]) for key in ("auroc", "seconds")}
            print(f"{path.stem:10} {name:20} AUROC {means['auroc']:.3f}  {means['seconds']:.1f} s", flush=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = [*table(results, "auroc"), "", *table(results, "average_precision"), ""]
    RESULTS.joinpath("anomalies.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
