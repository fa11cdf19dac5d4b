"""Values that are not counts, empty cells, and missing labels and covariates: refused, or changed with a note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from omics_files import categorical, cells, dataset, saved
from scipy.sparse import csr_matrix

from aeframe import AeframeError
from aeframe_omics.modality import Omics


def with_values(change: Any) -> anndata.AnnData:
    """Return cells whose counts, dense, were changed."""
    adata = cells()
    adata.X = csr_matrix(change(adata.X.toarray()).astype(np.float32))
    return adata


def prepared(path: Path, *, modality: dict[str, Any] | None = None, **options: Any) -> tuple[Omics, Any, list[str]]:
    """Return a trained modality, all its cells as one batch, and the notes without the dataset's name."""
    trained, data = Omics(**(modality or {})), dataset(path, **options)
    spec, splits = trained.spec(data), trained.prepare(data)
    batches = [source.batch(torch.arange(len(source))) for source in (splits.train, splits.validation, splits.test)]
    x = torch.cat([batch.x for batch in batches])
    index = torch.cat([batch.index for batch in batches])  # type: ignore[misc]
    assert x.shape[1:] == spec.shape
    assert not spec.domain.violations(x).any()
    assert set(spec.extras) == set(batches[0].extras)
    return trained, x[index.argsort()], [note.partition(": ")[2] for note in splits.notes]


# -- fractions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backed", [False, True])
def test_fractions_are_rounded_with_a_note(tmp_path: Path, backed: bool) -> None:
    adata = with_values(lambda x: np.where(x == 2, 1.6, x))
    dense = adata.X.toarray()
    path = saved(adata, tmp_path)
    modality, x, notes = prepared(path, modality={"fractions": "round"}, backed=backed)
    num = (dense != np.rint(dense)).sum()
    assert notes == [
        f"{num} of {np.count_nonzero(dense)} values are not whole numbers; they are rounded to the nearest "
        "(modality.fractions=round)"
    ]
    assert num > 10
    assert np.array_equal(x.numpy(), np.rint(dense))
    batch = modality.read(path)
    assert np.array_equal(batch.x.numpy(), np.rint(dense))
    assert batch.extras["library"].tolist() == np.rint(dense).sum(1).tolist()
    assert modality.prepare_samples(adata).x.equal(batch.x)


def test_cells_that_rounding_empties_are_empty(tmp_path: Path) -> None:
    adata = with_values(lambda x: np.where(np.arange(40)[:, None] == 4, x.clip(0, 0.4), x))
    path = saved(adata, tmp_path)
    with pytest.raises(AeframeError, match=r"cell 'c4' \(row 4\) is empty: all of its counts are 0 after rounding"):
        Omics(fractions="round").prepare(dataset(path))
    _, x, notes = prepared(path, modality={"fractions": "round"}, min_counts=1)
    assert len(x) == 39
    assert notes[1] == "1 of 40 cells have fewer than min_counts=1 counts (1 have none); they are left out"


def test_fractions_can_be_kept_for_logarithms_only(tmp_path: Path) -> None:
    adata = with_values(lambda x: x * 0.9)
    path = saved(adata, tmp_path)
    _, x, notes = prepared(path, modality={"values": "log", "fractions": "keep"})
    dense = adata.X.toarray()
    expected = np.log1p(1e4 * dense / dense.sum(1, keepdims=True))
    assert x.numpy() == pytest.approx(expected, abs=1e-4)
    assert notes[0].endswith("values are not whole numbers; they are kept (modality.fractions=keep)")
    with pytest.raises(AeframeError) as caught:
        Omics(fractions="keep")
    assert str(caught.value) == (
        "modality 'omics' keeps fractions only with values=log: likelihoods of counts need whole numbers; set "
        "modality.fractions=round, or modality.values=log"
    )


def test_if_every_cell_has_fractions_the_error_says_so(tmp_path: Path) -> None:
    path = saved(with_values(lambda x: x * 0.9), tmp_path)
    with pytest.raises(AeframeError) as caught:
        Omics(on_error="skip").prepare(dataset(path))
    origin = f"dataset 'h5ad' at '{path}'"
    first = f"{cells().X.toarray()[0].nonzero()[0][0]}"
    assert str(caught.value).startswith(
        f"{origin} has no usable cell: 40 of 40 cells are left out, the first since {origin}: cell 'c0' (row 0): the "
    )
    assert f"gene 'g{first}' is not a whole number; set modality.values=real" in str(caught.value)
    assert "min_counts" not in str(caught.value)


def test_a_split_without_usable_cells_says_why(tmp_path: Path) -> None:
    adata = with_values(lambda x: np.where(np.arange(40)[:, None] < 4, 0, x))
    adata.obs["set"] = categorical(["test" if row < 4 else "train" for row in range(40)])
    path = saved(adata, tmp_path)
    with pytest.raises(AeframeError) as caught:
        Omics(on_error="skip").prepare(dataset(path, split="set"))
    origin = f"dataset 'h5ad' at '{path}'"
    assert str(caught.value) == (
        f"{origin} has no usable cell for the test split: 4 of 4 cells are left out, the first since {origin}: cell "
        "'c0' (row 0) is empty: all of its counts are 0; set data.min_counts=1 to leave out empty cells"
    )


# -- logarithms and real values ----------------------------------------------------------------------------------------


def test_no_logarithm_is_taken_of_values_that_are_no_counts(tmp_path: Path) -> None:
    adata = with_values(np.log1p)
    path = saved(adata, tmp_path)
    with pytest.raises(AeframeError) as caught:
        Omics(values="log").prepare(dataset(path))
    assert (
        "is not a whole number, and values=log takes the logarithms of counts; set modality.values=real loss=gaussian"
        in (str(caught.value))
    )
    assert "or modality.fractions=keep if they are estimates of counts (SoupX, RSEM, kallisto)" in str(caught.value)
    trained, _, _ = prepared(saved(cells(), tmp_path, "counts.h5ad"), modality={"values": "log"})
    for read in (lambda: trained.read(path), lambda: trained.prepare_samples(adata)):
        with pytest.raises(AeframeError, match="and values=log takes the logarithms of counts"):
            read()


@pytest.mark.parametrize("backed", [False, True])
def test_real_values_are_taken_as_they_are(tmp_path: Path, backed: bool) -> None:
    # Also negative ones, and cells whose values are all 0.
    adata = with_values(lambda x: np.where(np.arange(40)[:, None] == 7, 0, x - 1.5))
    path = saved(adata, tmp_path)
    modality, x, notes = prepared(path, modality={"values": "real"}, backed=backed, label="type", views=("protein",))
    assert notes == []
    assert np.array_equal(x[:, :7].numpy(), adata.X.toarray())
    batch = modality.read(path)
    assert batch.x.equal(x)
    assert "library" not in batch.extras
    (written,) = modality.write(batch.x, tmp_path / "out.h5ad")
    again = anndata.read_h5ad(written).X
    assert np.array_equal(again.toarray() if hasattr(again, "toarray") else again, adata.X.toarray())
    assert modality.read(written).x.allclose(x, atol=1e-5)
    assert modality.render({"original": x[:3]}).axes


@pytest.mark.parametrize(("option", "value"), [("min_counts", 1), ("library", "age")])
def test_options_of_counts_are_refused_for_real_values(tmp_path: Path, option: str, value: Any) -> None:
    path = saved(cells(), tmp_path)
    with pytest.raises(AeframeError) as caught:
        prepared(path, modality={"values": "real"}, **{option: value})
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': data.{option} is for counts, found modality.values=real; leave out data.{option}"
    )


# -- empty cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backed", [False, True])
def test_min_counts_leaves_empty_cells_out_of_training_and_of_files(tmp_path: Path, backed: bool) -> None:
    adata = with_values(lambda x: np.where(np.isin(np.arange(40), (0, 9, 20))[:, None], 0, x))
    path = saved(adata, tmp_path)
    modality, x, notes = prepared(path, min_counts=1, backed=backed)
    assert notes == ["3 of 40 cells have fewer than min_counts=1 counts (3 have none); they are left out"]
    assert len(x) == 37
    again = Omics()
    again.load_state(modality.state())
    opened = again.open(path, "raise")
    assert sorted({0, 9, 20} | set(opened.batch().index.tolist())) == list(range(40))  # type: ignore[union-attr]
    assert opened.skipped == []
    assert list(again.notes) == [
        f"modality 'omics': '{path}': 3 of 40 cells are empty; they are left out, as by data.min_counts=1 in training"
    ]
    # Codes of cells in memory have as many rows as these.
    with pytest.raises(
        AeframeError, match=r"^x: cell 'c0' \(row 0\) is empty: all of its counts are 0; correct or remove"
    ):
        again.prepare_samples(adata)


# -- missing labels and covariates -------------------------------------------------------------------------------------

GAPS: list[Any] = [None, np.nan, "", "nan", "None", "NA", "<NA>"]


@pytest.mark.parametrize("kind", ["categorical", "words", "in memory"])
def test_missing_labels_are_no_class(tmp_path: Path, kind: str) -> None:
    adata = cells()
    names: list[Any] = [GAPS[row] if row < 7 else "TB"[row % 2] for row in range(40)]
    if kind == "words":
        # In a file, words that are null are those of pandas.
        adata.obs["kind"] = pd.Series(names, index=adata.obs.index, dtype=object)
    else:
        adata.obs["kind"] = categorical([None if name is np.nan else name for name in names])
    if kind == "in memory":
        from aeframe import Samples
        from aeframe.data.in_memory import SampleSplits
        from aeframe_omics.in_memory import OmicsInMemory

        data: Any = OmicsInMemory(SampleSplits({"train": Samples(adata, y=np.array(names, object))}))
        origin, column = "fit: x", "label"
    else:
        data = dataset(saved(adata, tmp_path), label="kind")
        origin, column = data.origin, "kind"
    modality = Omics()
    splits = modality.prepare(data)
    assert sorted(splits.label_names or ()) == ["B", "T"]
    for source in (splits.train, splits.validation, splits.test):
        batch = source.batch(torch.arange(len(source)))
        found = [splits.label_names[label] if label >= 0 else None for label in batch.extras["label"].tolist()]  # type: ignore[index]
        assert found == [None if row < 7 else "TB"[row % 2] for row in batch.index.tolist()]  # type: ignore[union-attr]
    assert list(splits.notes) == [
        f"{origin}: 7 of 40 labels in column '{column}' are missing; these cells have no label"
    ]


def test_missing_covariates_are_refused_left_out_a_mean_or_a_category(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["donor"] = categorical([None if row in (1, 30) else f"d{row % 2}" for row in range(40)])
    path = saved(adata, tmp_path)
    with pytest.raises(AeframeError) as caught:
        prepared(path, categorical=("donor",))
    assert str(caught.value) == (
        f"dataset 'h5ad' at '{path}': cell 'c1' (row 1) has no value in column 'donor' of obs, expected one of the "
        "categories of the training cells (d0, d1); correct it, or set modality.unseen=unknown to use the mean of "
        "training, or set modality.missing=category to make such cells a category, or set modality.on_error=skip to "
        "leave such cells out of training"
    )
    splits = Omics(on_error="skip").prepare(dataset(path, categorical=("donor",)))
    assert [sentence.partition(": cell ")[2][:5] for sentence in splits.skipped] == ["'c1' ", "'c30'"]
    _, _, notes = prepared(path, modality={"unseen": "unknown"}, categorical=("donor",))
    assert notes == ["2 of 40 cells have no value in column 'donor'; they have the mean of training"]
    modality, _, notes = prepared(path, modality={"missing": "category"}, categorical=("donor",))
    assert notes == ["2 of 40 cells have no value in column 'donor'; they are the category '(missing)'"]
    again = Omics(missing="category")
    again.load_state(modality.state())
    condition = again.read(path).condition
    assert condition is not None
    assert condition[[0, 1, 2, 3, 30]].tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    encoded = again.encode_condition("model", pd.DataFrame({"donor": ["d1", None]}))
    assert encoded.tolist() == [[0, 1, 0], [0, 0, 1]]  # type: ignore[union-attr]


def test_a_category_of_cells_that_are_left_out_does_not_change_the_width(tmp_path: Path) -> None:
    adata = with_values(lambda x: np.where(np.arange(40)[:, None] == 5, 0, x))
    adata.obs["donor"] = categorical(["only" if row == 5 else "d" for row in range(40)])
    adata.obs["set"] = categorical(["test" if row < 4 else "train" for row in range(40)])
    modality = Omics(on_error="skip")
    data = dataset(saved(adata, tmp_path), categorical=("donor",), split="set")
    splits = modality.prepare(data)
    assert splits.train.batch(torch.arange(2)).condition.shape == (2, modality.spec(data).condition)  # type: ignore[union-attr]
