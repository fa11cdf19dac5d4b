"""AnnData files: batches, splits, invalid counts, missing elements and covariates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from omics_files import categorical, cells, dataset, saved, strings

from aeframe import AeframeError
from aeframe_omics.cells import shared_out
from aeframe_omics.h5ad import H5AD
from aeframe_omics.modality import Omics


def message(data: H5AD, **options: Any) -> str:
    modality = Omics(**options)
    with pytest.raises(AeframeError) as caught:
        (modality.spec(data), modality.prepare(data))
    return str(caught.value)


def full_batch(source: Any) -> Any:
    return source.batch(torch.arange(len(source)))


def rows_of(data: H5AD, **options: Any) -> dict[str, list[int]]:
    splits = Omics(**options).prepare(data)
    return {name: full_batch(getattr(splits, name)).index.tolist() for name in ("train", "validation", "test")}


def all_rows(rows: dict[str, list[int]]) -> list[int]:
    return [row for split in rows.values() for row in split]


def test_counts_and_metadata_are_in_the_batch(tmp_path: Path) -> None:
    adata = cells()
    data = dataset(saved(adata, tmp_path), label="type", categorical=("batch",), continuous=("age",))
    modality = Omics()
    spec = modality.spec(data)
    assert (spec.shape, str(spec.domain), spec.condition) == ((7,), "count", 3)
    assert spec.extras == {"library": (), "label": (), "batch": ()}
    splits = modality.prepare(data)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (32, 4, 4)
    batch = full_batch(splits.test)
    rows = batch.index.numpy()
    assert np.array_equal(batch.x.numpy(), adata.X.toarray()[rows])
    assert batch.extras["library"].tolist() == adata.X.toarray()[rows].sum(1).tolist()
    assert batch.extras["label"].tolist() == [0 if row % 3 == 0 else 1 for row in rows]
    assert batch.extras["batch"].tolist() == (rows % 2).tolist()
    assert batch.condition[:, :2].tolist() == np.eye(2)[rows % 2].tolist()
    train = adata.obs["age"].to_numpy()[full_batch(splits.train).index.numpy()]
    expected = (adata.obs["age"].to_numpy()[rows] - train.mean()) / train.std()
    assert batch.condition[:, 2].numpy() == pytest.approx(expected, abs=1e-5)
    assert modality.category_names == {"label": ("T", "B"), "batch": ("b0", "b1")}


def test_a_layer_a_library_column_and_a_batch_that_is_no_covariate(tmp_path: Path) -> None:
    adata = cells()
    adata.layers["double"] = 2 * adata.X
    adata.obs["depth"] = np.arange(40) + 1.5
    data = dataset(saved(adata, tmp_path), layer="double", library="depth", batch="batch")
    modality = Omics()
    assert modality.spec(data).condition == 0
    batch = full_batch(modality.prepare(data).train)
    rows = batch.index.numpy()
    assert np.array_equal(batch.x.numpy(), 2 * adata.X.toarray()[rows])
    assert batch.extras["library"].tolist() == (rows + 1.5).tolist()
    assert batch.condition is None
    assert "batch" in batch.extras


def test_selections_of_cells(tmp_path: Path) -> None:
    adata = cells()
    path = saved(adata, tmp_path)
    rows = rows_of(dataset(path, where={"type": "B", "batch": "b1"}))
    assert sorted(all_rows(rows)) == [row for row in range(40) if row % 3 and row % 2]
    totals = adata.X.toarray().sum(1)
    rows = rows_of(dataset(path, min_counts=12))
    assert sorted(all_rows(rows)) == np.flatnonzero(totals >= 12).tolist()
    assert 0 < (totals < 12).sum() < 40
    splits = Omics().prepare(dataset(path, min_counts=12))
    assert list(splits.notes) == [
        f"dataset 'h5ad' at '{path}': {(totals < 12).sum()} of 40 cells have fewer than min_counts=12 counts (0 have "
        "none); they are left out"
    ]
    assert splits.skipped == []


def test_splits_by_a_column(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["set"] = categorical(["test" if row < 5 else "val" if row < 12 else "train" for row in range(40)])
    adata.obs["half"] = categorical(["test" if row < 5 else "train" for row in range(40)])
    path = saved(adata, tmp_path)
    assert rows_of(dataset(path, split="set")) == {
        "train": list(range(12, 40)), "validation": list(range(5, 12)), "test": list(range(5)),
    }  # fmt: skip
    rows = rows_of(dataset(path, split="half"))
    assert rows["test"] == list(range(5))
    assert len(rows["validation"]) == 4
    assert sorted(rows["train"] + rows["validation"]) == list(range(5, 40))


def test_random_splits_are_disjoint_and_reproducible(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    one, same, other = (rows_of(dataset(path, seed=seed)) for seed in (0, 0, 1))
    assert one == same != other
    assert sorted(all_rows(one)) == list(range(40))


# -- invalid counts --------------------------------------------------------------------------------------------------


def with_invalid_cell(folder: Path, value: float | None) -> tuple[Path, int]:
    """Write a file in which cell c5 has the count `value` for gene g2, or is empty if this is None."""
    adata = cells()
    dense = adata.X.toarray()
    dense[5] = 0 if value is None else dense[5]
    dense[5, 2] = 0 if value is None else value
    adata.X = type(adata.X)(dense)
    return saved(adata, folder), 5


REAL = "set modality.values=real loss=gaussian encoder=mlp if the values are normalised already"
ROUND = "modality.fractions=round if they are estimates of counts (SoupX, RSEM, kallisto)"
INVALID = {
    "negative": (-1.0, "the count -1 of gene 'g2' is negative", REAL),
    "fraction": (0.5, "the count 0.5 of gene 'g2' is not a whole number", f"{REAL}, or {ROUND}"),
    "nan": (np.nan, "the count nan of gene 'g2' is not a number", "correct or remove it"),
    "infinite": (np.inf, "the count inf of gene 'g2' is infinite", "correct or remove it"),
    "empty": (None, "is empty: all of its counts are 0", "set data.min_counts=1 to leave out empty cells"),
}


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("kind", list(INVALID))
def test_an_unusable_cell_is_an_error_or_skipped(tmp_path: Path, kind: str, backed: bool) -> None:
    value, problem, remedy = INVALID[kind]
    path, unusable = with_invalid_cell(tmp_path, value)
    data = dataset(path, backed=backed)
    sentence = f"dataset 'h5ad' at '{path}': cell 'c5' (row 5){' ' if value is None else ': '}{problem}"
    assert message(data) == f"{sentence}; {remedy}, or set modality.on_error=skip to leave such cells out of training"
    splits = Omics(on_error="skip").prepare(data)
    assert splits.skipped == [sentence]
    rows = [row for name in ("train", "validation", "test") for row in full_batch(getattr(splits, name)).index.tolist()]
    assert sorted(rows) == [row for row in range(40) if row != unusable]


def test_cells_that_are_not_selected_are_not_checked(tmp_path: Path) -> None:
    path, _ = with_invalid_cell(tmp_path, -1.0)
    assert Omics().prepare(dataset(path, where={"batch": "b0"})).skipped == []


def test_repeated_genes(tmp_path: Path) -> None:
    adata = cells()
    adata.var_names = strings(["a", "b", "a", "c", "d", "b", "e"])
    path = saved(adata, tmp_path)
    assert message(dataset(path)) == (
        f"dataset 'h5ad' at '{path}' has 2 gene names more than once, the first is 'a'; make them unique "
        "(AnnData.var_names_make_unique) and save it again"
    )


# -- missing elements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layer": "count"}, " has no layer 'count', did you mean 'counts'?; its layers are counts; "
         "choose one with data.layer=..."),
        ({"categorical": ("bach",)}, " has no column 'bach' in obs for a categorical covariate, did you mean 'batch'?; "
         "it has type, batch, age"),
        ({"continuous": ("ages",)}, " has no column 'ages' in obs for a continuous covariate, did you mean 'age'?; "
         "it has type, batch, age"),
        ({"continuous": ("type",)}, ": column 'type' in obs is category, expected numbers for a continuous covariate; "
         "list it in data.categorical, or convert it"),
        ({"label": "cell"}, " has no column 'cell' in obs for the label; it has type, batch, age"),
        ({"views": ("protien",)}, " has no 'protien' in obsm, did you mean 'protein'?; it has protein"),
        ({"where": {"type": "b"}}, " has no cell with 'b' in column 'type', did you mean 'B'?; it has T, B"),
        ({"split": "type"}, ": column 'type' in obs has 'T', expected train, validation or test for each cell; "
         "correct it, or leave out data.split"),
        ({"min_counts": 1000}, " has no usable cell for the train split; lower data.min_counts"),
        ({"library": "zero"}, " has no column 'zero' in obs for the library; it has type, batch, age"),
    ],
)  # fmt: skip
def test_missing_elements_are_errors(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    adata = cells()
    adata.layers["counts"] = adata.X.copy()
    path = saved(adata, tmp_path)
    assert message(dataset(path, **options)) == f"dataset 'h5ad' at '{path}'{expected}"


def test_a_library_of_zero_is_an_error(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["depth"] = [0.0, *range(1, 40)]
    path = saved(adata, tmp_path)
    assert message(dataset(path, library="depth")) == (
        f"dataset 'h5ad' at '{path}': cell 'c0' (row 0) has the library 0 in column 'depth' of obs, expected more than "
        "0; correct it, or leave out data.library to sum the counts, or set modality.on_error=skip to leave such cells "
        "out of training"
    )


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "no.h5ad"
    assert message(dataset(path)) == (
        f"dataset 'h5ad' at '{path}': there is no file '{path}'; set the path of an .h5ad file"
    )
    path.write_bytes(b"hello")
    assert message(dataset(path)) == (
        f"dataset 'h5ad' at '{path}': '{path}' cannot be read as an AnnData file (Unable to synchronously open file "
        "(file signature not found)); write it again with AnnData.write_h5ad"
    )
    content = saved(cells(400), tmp_path, "intact.h5ad").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert message(dataset(path)).startswith(
        f"dataset 'h5ad' at '{path}': '{path}' cannot be read as an AnnData file ("
    )
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["x"] = [1, 2]
    other = tmp_path / "other.h5ad"
    assert message(dataset(other)).startswith(
        f"dataset 'h5ad' at '{other}': '{other}' cannot be read as an AnnData file ("
    )


def test_errors_of_the_split() -> None:
    with pytest.raises(AeframeError) as caught:
        shared_out({"train": np.arange(9)}, validation=0.5, test=0.5, seed=0, origin="file")
    assert str(caught.value) == (
        "file needs fractions validation and test above 0 with a sum below 1, found validation=0.5 and test=0.5"
    )
    with pytest.raises(AeframeError) as caught:
        shared_out({"train": np.arange(3)}, validation=0.1, test=0.1, seed=0, origin="file")
    assert str(caught.value) == (
        "file has too few cells, 3: 1 for validation and 1 for test leave 1 for training, which needs at least 2; "
        "add cells, or lower validation and test"
    )


def test_missing_values_of_a_label_are_minus_one(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["type"] = categorical([None if row == 3 else "T" for row in range(40)])
    splits = Omics().prepare(dataset(saved(adata, tmp_path), label="type"))
    batches = [full_batch(getattr(splits, name)) for name in ("train", "validation", "test")]
    labels = {
        row: label for b in batches for row, label in zip(b.index.tolist(), b.extras["label"].tolist(), strict=True)
    }
    assert labels == {row: -1 if row == 3 else 0 for row in range(40)}


# -- covariates --------------------------------------------------------------------------------------------------


def with_unseen_batch(folder: Path) -> Path:
    """Write a file with a batch, b9, of a test cell only."""
    adata = cells()
    adata.obs["batch"] = categorical(["b9" if row == 0 else f"b{row % 2}" for row in range(40)])
    adata.obs["set"] = categorical(["test" if row < 4 else "train" for row in range(40)])
    return saved(adata, folder)


def test_a_category_without_training_cells(tmp_path: Path) -> None:
    path = with_unseen_batch(tmp_path)
    data = dataset(path, categorical=("batch",), split="set", validation=0.25)
    assert Omics().spec(data).condition == 2
    assert message(data) == (
        f"dataset 'h5ad' at '{path}': cell 'c0' (row 0) has 'b9' in column 'batch' of obs, did you mean "
        "'b1'?, expected one of the categories of the training cells (b1, b0); correct it, or set "
        "modality.unseen=unknown to use the mean of training, or set modality.on_error=skip to leave such cells out of "
        "training"
    )
    splits = Omics(unseen="unknown").prepare(data)
    train = full_batch(splits.train).condition
    assert torch.allclose(full_batch(splits.test).condition[0], train.mean(0))
    assert set(full_batch(splits.test).condition[1:].flatten().tolist()) == {0.0, 1.0}


def test_a_missing_number(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["set"] = categorical(["test" if row < 4 else "train" for row in range(40)])
    adata.obs.loc["c2", "age"] = np.nan
    path = saved(adata, tmp_path)
    data = dataset(path, continuous=("age",), split="set")
    assert message(data) == (
        f"dataset 'h5ad' at '{path}': cell 'c2' (row 2) has no finite 'age' in obs; correct it, or set "
        "modality.unseen=unknown to use the mean of training, or set modality.on_error=skip to leave such cells out of "
        "training"
    )
    assert full_batch(Omics(unseen="unknown").prepare(data).test).condition[2].tolist() == [0.0]
    adata.obs.loc["c9", "age"] = np.nan
    again = saved(adata, tmp_path, "b.h5ad")
    data = dataset(again, continuous=("age",), split="set")
    assert "cell 'c2' (row 2) has no finite 'age' in obs; correct it" in message(data)
    assert Omics(on_error="skip").prepare(data).skipped == [
        f"dataset 'h5ad' at '{again}': cell 'c{row}' (row {row}) has no finite 'age' in obs" for row in (2, 9)
    ]
    modality = Omics(unseen="unknown")
    assert modality.prepare(data).train.batch(torch.arange(6)).condition.isfinite().all()
    assert modality.state()["covariates"]["scales"]["age"][0] == pytest.approx(
        np.nanmean(adata.obs["age"][4:]), rel=0.1
    )


def test_covariates_of_dtype_object(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["plain"] = pd.Series(["x", "y"] * 20, index=adata.obs.index, dtype=object)
    data = dataset(saved(adata, tmp_path), categorical=("plain",))
    batch = full_batch(Omics().prepare(data).train)
    assert batch.condition.tolist() == np.eye(2)[batch.index.numpy() % 2].tolist()


def test_columns_of_words_are_written_and_read(tmp_path: Path) -> None:
    # As a user writes them, without categories: the pinned anndata and pandas fit together.
    adata = cells()
    words = [f"donor {row % 3}" for row in range(len(adata))]
    adata.obs["donor"], adata.obs["maybe"] = words, [None, *words[1:]]
    adata.obs.index = [f"cell {row}" for row in range(len(adata))]
    modality = Omics()
    splits = modality.prepare(dataset(saved(adata, tmp_path), label="donor"))
    assert splits.label_names == ("donor 0", "donor 1", "donor 2")
    batch = modality.read(tmp_path / "a.h5ad")
    assert batch.extras["label"].tolist() == [row % 3 for row in range(len(adata))]
    (written,) = modality.write(batch.x, tmp_path / "written.h5ad")
    assert modality.read(written).x.equal(batch.x)
