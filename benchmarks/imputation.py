"""Fill removed cells of tables, beside means, nearest neighbours and chained regressions: ``python
benchmarks/imputation.py ADULT.CSV``.

A fifth of the cells of each table is removed at random. Each method receives the table with gaps, and nothing else, and
fills it. Numbers are compared by the root mean squared error in standard deviations of the complete column, classes by
their accuracy; both are means over columns. It writes ``results/imputation.json``, with three seeds, and
``results/imputation.md``.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes IterativeImputer importable
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import aeframe

RESULTS = Path(__file__).with_name("results")
SEEDS = (0, 1, 2)
REMOVED = 0.2
ADULT_ROWS = 5000
NUM_DRAWS = 20
SHOWN = {"nrmse": 3, "accuracy": 3, "seconds": 1}
"""Measures of the tables in Markdown, with their digits."""
Filled = Mapping[str, tuple[pd.DataFrame, float]]
"""Filled tables with the seconds of training and filling, by what is appended to the name of the method."""
Impute = Callable[[pd.DataFrame, int], Filled]
"""Fills a table with gaps; the second argument is a seed."""


def tables(adult: Path) -> dict[str, pd.DataFrame]:
    """Return complete tables by name; columns of text are classes."""
    rows = pd.read_csv(adult, skipinitialspace=True, na_values="?").dropna()
    found = {}
    for name, load in {"wine": load_wine, "diabetes": load_diabetes, "breast cancer": load_breast_cancer}.items():
        options = {"scaled": False} if name == "diabetes" else {}
        bunch = load(as_frame=True, **options)
        frame = bunch.data.copy()
        if name == "diabetes":
            frame["sex"] = frame["sex"].map({1.0: "a", 2.0: "b"})
            frame["target"] = bunch.target
        else:
            frame["target"] = np.array(bunch.target_names)[bunch.target]
        found[name] = frame
    return {**found, "adult": rows.sample(ADULT_ROWS, random_state=0).reset_index(drop=True)}


def is_class(column: pd.Series[Any]) -> bool:
    """Return whether a column holds classes."""
    return not pd.api.types.is_numeric_dtype(column.dtype)


def own(frame: pd.DataFrame, seed: int, **options: Any) -> Filled:
    """Fill a table with an autoencoder trained on it: by means, and by the mean (of classes the mode) of draws."""
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        frame.to_csv(path, index=False)
        data = {"name": "table", "path": str(path), "validation": 0.1, "test": 0.02}
        run = aeframe.fit(
            model="table_vae",
            data=data,
            folder=str(Path(folder, "run")),
            seed=seed,
            verbose=False,
            pictures=False,
            # Validation takes as long as training on tables of some hundred rows.
            trainer={"accelerator": "cpu", "threads": 1, "check_val_every_n_epoch": 20},
            **options,
        )
        trained = time.perf_counter()
        mean = aeframe.impute(run.model, frame)
        filled = time.perf_counter()
        draws = [aeframe.impute(run.model, frame, draw=True, seed=number) for number in range(NUM_DRAWS)]
    parts = pd.concat(draws, keys=range(NUM_DRAWS))
    average = pd.DataFrame(
        {
            name: parts[name].groupby(level=1).agg(lambda values: values.mode().iloc[0])
            if is_class(frame[name])
            else parts[name].groupby(level=1).mean()
            for name in frame.columns
        }
    )
    return {
        "": (mean, filled - start),
        f", {NUM_DRAWS} draws": (average, trained - start + time.perf_counter() - filled),
    }


def timed(function: Callable[..., pd.DataFrame], *arguments: Any) -> Filled:
    """Return the table that a function of some arguments, a table and a seed fills."""
    start = time.perf_counter()
    return {"": (function(*arguments), time.perf_counter() - start)}


def simple(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill numbers with their mean, and classes with the most frequent one."""
    return pd.DataFrame(
        {
            name: SimpleImputer(strategy="most_frequent" if is_class(column) else "mean").fit_transform(frame[[name]])[
                :, 0
            ]
            for name, column in frame.items()
        }
    )


def with_codes(imputer: Callable[[int], Any], frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill a table by an imputer of numbers, with classes as numbers in alphabetical order, and scaled columns."""
    classes = {name: sorted(column.dropna().unique()) for name, column in frame.items() if is_class(column)}
    numbers = pd.DataFrame(
        {
            name: column.map({each: number for number, each in enumerate(classes[name])}) if name in classes else column
            for name, column in frame.items()
        }
    ).astype(np.float64)
    mean, std = numbers.mean(), numbers.std()
    filled = imputer(seed).fit_transform(((numbers - mean) / std).to_numpy())
    values = pd.DataFrame(filled, columns=frame.columns) * std + mean
    for name, names in classes.items():
        codes = values[name].round().clip(0, len(names) - 1).astype(int)
        values[name] = np.array(names, object)[codes]
    return values


METHODS: dict[str, Impute] = {
    "table_vae": own,
    "table_vae, mixture": functools.partial(own, modality={"numbers": "mixture"}),
    "mean and mode": functools.partial(timed, simple),
    "KNNImputer": functools.partial(timed, with_codes, lambda seed: KNNImputer()),
    "IterativeImputer": functools.partial(timed, with_codes, lambda seed: IterativeImputer(random_state=seed)),
}


def remove(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return a table with gaps, and where these are ``(N, C)``."""
    gaps = np.random.default_rng(seed).random(frame.shape) < REMOVED
    holed = pd.DataFrame({name: column.mask(gap) for (name, column), gap in zip(frame.items(), gaps.T, strict=True)})
    return holed, gaps


def errors(truth: pd.DataFrame, filled: pd.DataFrame, gaps: NDArray[np.bool_]) -> dict[str, float]:
    """Return the error of the numbers and the accuracy of the classes in removed cells, means over columns."""
    by_kind: dict[str, list[float]] = {"nrmse": [], "accuracy": []}
    for (name, column), gap in zip(truth.items(), gaps.T, strict=True):
        old, new = column[gap], filled[name][gap]
        if is_class(column):
            by_kind["accuracy"].append(float((old.to_numpy() == new.to_numpy()).mean()))
        else:
            squares = (old.to_numpy(np.float64) - new.to_numpy(np.float64)) ** 2
            by_kind["nrmse"].append(float(np.sqrt(squares.mean()) / column.std()))
    return {kind: float(np.mean(values)) for kind, values in by_kind.items()}


def measure(frame: pd.DataFrame, name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the errors of a method by what it fills, and the seconds of training and filling."""
    holed, gaps = remove(frame, seed)
    filled = METHODS[name](holed, seed)
    return {
        name + suffix: {**errors(frame, table, gaps), "seconds": seconds} for suffix, (table, seconds) in filled.items()
    }


def lines(results: Mapping[str, Mapping[str, list[dict[str, float]]]], metric: str, digits: int) -> list[str]:
    """Return a table in Markdown: one row for each method, one column for each table."""
    text = [f"| {metric} | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for name in next(iter(results.values())):
        runs = [[run[metric] for run in by_method[name]] for by_method in results.values()]
        cells = [f"{np.mean(each):.{digits}f} ± {np.std(each):.{digits}f}" for each in runs]
        text.append(f"| {name} | {' | '.join(cells)} |")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adult", type=Path)
    parser.add_argument("--only", help="methods, separated by semicolons; nothing is written")
    parser.add_argument("--tables", help="tables, separated by commas")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.only.split(";") if args.only else list(METHODS)
    stored = RESULTS.joinpath("imputation.json")
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    if args.tables and stored.exists():
        # The results of other tables stay.
        results = json.loads(stored.read_text(encoding="utf-8"))
    for table, frame in tables(args.adult).items():
        if args.tables and table not in args.tables.split(","):
            continue
        results[table] = {}
        for method in names:
            by_seed = [measure(frame, method, seed) for seed in SEEDS]
            for name in by_seed[0]:
                runs = results[table][name] = [each[name] for each in by_seed]
                means = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
                shown = "  ".join(f"{key} {mean:.3f}" for key, mean in means.items())
                print(f"{table:14} {name:30} {shown}", flush=True)
        if not args.only:
            stored.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            text = [line for metric, digits in SHOWN.items() for line in (*lines(results, metric, digits), "")]
            RESULTS.joinpath("imputation.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
