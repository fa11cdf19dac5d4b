"""Known factors of variation: from tables, arrays and memory to ``Batch.extras["factors"]``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.data.factors import encode_factors
from aeframe.data.in_memory import SampleSplits
from aeframe.data.modality import Splits
from aeframe.data.tabular import Numbers
from aeframe.data.vector import Vector
from aeframe.data.vector_in_memory import VectorInMemory
from aeframe.errors import AeframeError
from aeframe.types import FACTORS

COLOURS = np.array(["red", "green", "blue"])


def table(num: int = 40) -> pd.DataFrame:
    """Two columns of numbers of which the first is the row, and two factors: a colour and a size."""
    rows = np.arange(num)
    return pd.DataFrame({"a": rows, "colour": COLOURS[rows % 3], "b": rows / 2, "size": rows % 4 * 0.5})


def expected(rows: Tensor) -> Tensor:
    # Colours in alphabetical order: blue, green, red.
    return torch.stack([2 - rows % 3, rows % 4], 1)


def check(splits: Splits) -> None:
    for source in (splits.train, splits.validation, splits.test):
        batch = source.batch(torch.arange(len(source)))
        assert batch.x.shape[1] == 2
        assert batch.extras[FACTORS].dtype == torch.int64
        assert torch.equal(batch.extras[FACTORS], expected(batch.x[:, 0].long()))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_of_a_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    table().to_csv(path, index=False) if suffix == "csv" else table().to_parquet(path)
    splits = Vector(scale="none").prepare(Numbers(path=path, factors=("colour", "size")))
    check(splits)
    assert splits.factor_names == ("colour", "size")
    # The columns of factors are not needed later.
    modality = Vector(scale="none")
    modality.prepare(Numbers(path=path, factors=("colour", "size")))
    assert modality.open(path, "raise").source.batch(torch.arange(2)).x.tolist() == [[0, 0], [1, 0.5]]


def test_arrays_of_an_npz_file(tmp_path: Path) -> None:
    rows = np.arange(60)
    factors = expected(torch.arange(60)).numpy()
    x = np.stack([rows, rows], 1)
    np.savez(tmp_path / "one.npz", x=x, factors=factors)
    splits = Vector(scale="none").prepare(Numbers(path=tmp_path / "one.npz", factors=("factors",)))
    check(splits)
    assert splits.factor_names == ("factors 0", "factors 1")
    np.savez(
        tmp_path / "split.npz",
        x_train=x[:40],
        x_test=x[40:],
        colour_train=factors[:40, 0],
        colour_test=factors[40:, 0],
        size_train=factors[:40, 1],
        size_test=factors[40:, 1],
    )
    splits = Vector(scale="none").prepare(Numbers(path=tmp_path / "split.npz", factors=("colour", "size")))
    check(splits)
    assert splits.factor_names == ("colour", "size")
    np.savez(tmp_path / "short.npz", x=x, factors=factors[:9])
    with pytest.raises(AeframeError, match=r"^column 'factors' of 'short.npz' has shape \(9, 2\)"):
        Numbers(path=tmp_path / "short.npz", factors=("factors",)).load()


def in_memory(**by_split: aeframe.Samples) -> Splits:
    dataset = VectorInMemory(SampleSplits(by_split))
    return dataset.attach(Vector(scale="none").prepare(dataset))


def test_factors_in_memory() -> None:
    frame = table()
    named = in_memory(train=aeframe.Samples(frame, factors=["colour", "size"]))
    check(named)
    assert named.factor_names == ("colour", "size")
    x = frame[["a", "b"]]
    check(in_memory(train=aeframe.Samples(x, factors=frame[["colour", "size"]])))
    # Columns of another order in a split of its own.
    of_test = aeframe.Samples(x[:20], factors=frame[["size", "colour"]][:20])
    check(in_memory(train=aeframe.Samples(x, factors=frame[["colour", "size"]]), test=of_test))
    numbers = in_memory(train=aeframe.Samples(x, factors=expected(torch.arange(40))))
    check(numbers)
    assert numbers.factor_names == ("factor 0", "factor 1")
    with pytest.raises(AeframeError) as caught:
        in_memory(
            train=aeframe.Samples(x, factors=np.zeros((40, 2))), test=aeframe.Samples(x, factors=np.zeros((40, 3)))
        )
    assert str(caught.value) == (
        "fit: factors have the shapes (40, 2) for train, (40, 3) for test, expected (N, F) with the same F for all"
    )


def test_they_reach_the_batches_of_a_run() -> None:
    factors = np.random.default_rng(0).integers(3, size=(300, 2))
    _, data = aeframe.build(factors + 0.0, factors=factors, model="ae", latent={"dim": 2}, modality={"scale": "none"})
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(batch.extras[FACTORS], batch.x.long())


def test_missing_values_and_values_that_are_no_categories() -> None:
    columns = {"a": np.array([3, 3, 5, 5]), "b": np.array(["x", "", "x", "x"])}
    (codes,), names = encode_factors("rows.csv", [columns])
    assert names == ("a", "b")
    assert codes.tolist() == [[3, 0], [3, -1], [5, 0], [5, 0]]
    with pytest.raises(AeframeError) as caught:
        encode_factors("rows.csv", [{"angle": np.linspace(0, 1, 30)}])
    assert str(caught.value) == (
        "rows.csv: factor 'angle' has 30 values in 30 samples, expected categories that many samples share; divide it "
        "into bins"
    )
