"""Tests of cells in memory: `aeframe.fit(adata, ...)`, and preparing and restoring cells in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from omics_files import cells, columns, saved, strings
from scipy.sparse import csc_matrix, csr_array

import aeframe
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe.errors import AeframeError
from aeframe.types import WEIGHT
from aeframe_omics.in_memory import OmicsInMemory
from aeframe_omics.modality import Omics
from aeframe_omics.source import BackedCellSource

torch.set_num_threads(1)
# Views of anndata use an option that pandas 3 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option is deprecated")


def fit(x: Any, folder: Path, **settings: Any) -> Any:
    return aeframe.fit(
        x,
        **{"model": "vae", "latent": {"dim": 2}, "batch_size": 8, **settings},
        max_batches=2,
        max_epochs=1,
        pictures=False,
        trainer={"accelerator": "cpu", "threads": 1},
        folder=folder / "run",
    )


def dataset(x: Any, /, validation: Any = None, *, options: Any = None, **fields: Any) -> OmicsInMemory:
    by_split = {"train": aeframe.Samples(x, **fields)}
    if validation is not None:
        by_split["validation"] = validation
    return OmicsInMemory(SampleSplits(by_split), **(options or {}))


def frame(adata: anndata.AnnData) -> pd.DataFrame:
    counts = pd.DataFrame(adata.X.toarray().astype(int), columns=list(adata.var_names))
    return counts.assign(type=adata.obs["type"].astype(str).tolist(), batch=adata.obs["batch"].astype(str).tolist())


def forms(adata: anndata.AnnData, folder: Path) -> dict[str, Any]:
    """Return the same cells in every form that has ``obs``."""
    csc, dense, array = adata.copy(), adata.copy(), adata.copy()
    csc.X, dense.X, array.X = csc_matrix(adata.X), adata.X.toarray(), csr_array(adata.X)
    twice = anndata.concat([adata, adata], index_unique="-")
    path = saved(adata, folder)
    dense_path = saved(dense, folder, "dense.h5ad")
    return {
        "csr": adata,
        "csc": csc,
        "dense": dense,
        "csr_array": array,
        "view": twice[: len(adata)],
        "backed": anndata.read_h5ad(path, backed="r"),
        "writable": anndata.read_h5ad(saved(adata, folder, "w.h5ad"), backed="r+"),
        "dense backed": anndata.read_h5ad(dense_path, backed="r"),
    }


# -- training ----------------------------------------------------------------------------------------------------------


def test_an_anndata_trains_and_is_prepared_like_a_file(tmp_path: Path) -> None:
    adata = cells()
    model = fit(adata, tmp_path, y="type", condition=["batch", "age"]).model
    assert model.config["modality"]["name"] == "omics"
    prepared, read = model.prepare(adata), model.modality.read(saved(adata, tmp_path))
    assert prepared.x.equal(read.x)
    assert prepared.condition.equal(read.condition)
    assert {name: values.tolist() for name, values in prepared.extras.items()} == {
        name: values.tolist() for name, values in read.extras.items()
    }
    assert model.encode(adata).equal(model.encode(read))
    other = columns(adata, [3, 0, 1, 2, 6, 5, 4])
    extra = anndata.concat([other, anndata.AnnData(adata.X[:, :1], adata.obs, pd.DataFrame(index=["new"]))], axis=1)
    extra.obs = adata.obs
    assert model.encode(extra).equal(model.encode(adata))


def test_every_form_of_an_anndata_has_the_same_batches(tmp_path: Path) -> None:
    adata = cells()
    expected = Omics().prepare(dataset(adata, condition="batch"))
    for name, form in forms(adata, tmp_path).items():
        modality = Omics()
        splits = modality.prepare(dataset(form, condition="batch"))
        for split in ("train", "validation", "test"):
            source, same = getattr(splits, split), getattr(expected, split)
            index = torch.arange(len(source))
            assert source.batch(index).x.equal(same.batch(index).x), name
            assert source.batch(index).condition.equal(same.batch(index).condition), name
        assert isinstance(splits.train, BackedCellSource) == ("backed" in name or name == "writable"), name
        assert modality.prepare_samples(form).x.equal(modality.prepare_samples(adata).x), name


@pytest.mark.parametrize("form", ["backed", "view", "layer", "frame", "polars", "sparse", "array"])
def test_each_form_trains(form: str, tmp_path: Path) -> None:
    adata = cells()
    settings: dict[str, Any] = {"y": "type", "condition": "batch"}
    if form == "layer":
        x = adata.copy()
        x.layers["counts"], x.X = adata.X, adata.X / 3
        settings["data"] = {"layer": "counts"}
    elif form in ("frame", "polars"):
        x = frame(adata) if form == "frame" else pytest.importorskip("polars").from_pandas(frame(adata))
        settings["modality"] = "omics"
    elif form in ("sparse", "array"):
        x = adata.X if form == "sparse" else adata.X.toarray()
        settings = {"y": adata.obs["type"], "condition": adata.obs["batch"], "modality": "omics"}
    else:
        x = forms(adata, tmp_path)[form]
    model = fit(x, tmp_path, **settings).model
    assert model.config["data"]["name"] == "omics_in_memory"
    prepared = model.prepare(x, condition=adata.obs["batch"] if form in ("sparse", "array") else None)
    assert prepared.x.equal(torch.from_numpy(adata.X.toarray()))
    assert prepared.condition[:3].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert model.encode(prepared).isfinite().all()


def test_only_an_anndata_selects_the_modality() -> None:
    adata = cells()
    assert memory_dataset(adata, None) == "omics_in_memory"
    assert memory_dataset(adata.X, None) == "vector_in_memory"
    assert memory_dataset(adata.X, "omics") == "omics_in_memory"


def test_the_type_of_a_column_selects_its_role() -> None:
    adata = cells(6)
    adata.obs["text"] = ["a", "b", "a", "b", "a", "b"]
    adata.obs["whole"], adata.obs["truth"] = [10, 9, 10, 9, 10, 9], [True, False] * 3
    roles = dataset(adata, condition=["age", "batch", "text", "whole", "truth"]).roles
    assert roles.categorical == ("batch", "text", "whole", "truth")
    assert roles.continuous == ("age",)
    assert roles.condition == ("age", "batch", "text", "whole", "truth")


def test_arrays_become_columns_of_a_copy_of_obs() -> None:
    adata = cells(30)
    own = list(adata.obs.columns)
    modality, data = (
        Omics(),
        dataset(
            adata,
            y=np.array(["x", "y", "x"] * 10),
            condition=np.linspace(0.0, 1.0, 60, dtype=np.float32).reshape(30, 2),
        ),
    )
    train = modality.prepare(data).train
    assert data.roles.label == "label"
    assert data.roles.continuous == ("condition0", "condition1")
    assert modality.category_names["label"] == ("x", "y")
    batch = train.batch(torch.arange(len(train)))
    assert batch.condition.shape == (24, 2)
    assert batch.condition.mean(0).abs().max() < 1e-5
    assert list(adata.obs.columns) == own


def test_views_and_a_library_are_options(tmp_path: Path) -> None:
    adata = cells()
    adata.obs["size"] = 100.0
    options = {"views": ["protein"], "library": "size"}
    model = fit(adata, tmp_path, data=options, loss={"name": "views", "losses": {"protein": "gaussian"}}).model
    prepared, read = model.prepare(adata), model.modality.read(saved(adata, tmp_path))
    assert prepared.x.shape == (40, 10)
    assert prepared.x.equal(read.x)
    assert prepared.extras["library"].tolist() == [100.0] * 40
    restored = model.restore(prepared.x)
    assert np.allclose(restored.obsm["protein"], adata.obsm["protein"], atol=1e-4)


# -- splits, weights ---------------------------------------------------------------------------------------------------


def split_rows(data: OmicsInMemory) -> dict[str, list[int]]:
    return {split: rows.tolist() for split, rows in data.load().splits.items()}


@pytest.mark.parametrize("as_array", [False, True])
def test_a_donor_is_in_one_split_only(as_array: bool) -> None:
    adata = cells(60)
    adata.obs["donor"] = [f"d{row % 12}" for row in range(60)]
    donors = adata.obs["donor"].to_numpy()
    splits = split_rows(dataset(adata, groups=donors if as_array else "donor", options={"validation": 0.2}))
    by_split = [set(donors[rows]) for rows in splits.values()]
    assert sum(len(group) for group in by_split) == 12
    assert sorted(row for rows in splits.values() for row in rows) == list(range(60))


def test_a_column_defines_the_splits(tmp_path: Path) -> None:
    adata = cells(40)
    adata.obs["use"] = ["train"] * 30 + ["val"] * 6 + ["test"] * 4
    splits = split_rows(dataset(adata, options={"split": "use"}))
    assert splits == {"train": list(range(30)), "validation": list(range(30, 36)), "test": list(range(36, 40))}
    run = fit(adata, tmp_path, validation="use")
    assert run.model.data.fingerprint["rows"] == {"train": 30, "validation": 6, "test": 4}
    with pytest.raises(AeframeError) as error:
        fit(adata, tmp_path / "other", validation="us")
    assert str(error.value) == (
        "fit: x has no column 'us' in obs for split, did you mean 'use'?; it has type, batch, age, use"
    )
    adata.obs["donor"] = ["d"] * 40
    with pytest.raises(AeframeError, match="group 'd' is in the splits train and validation of the column of splits"):
        dataset(adata, groups="donor", options={"split": "use"}).load()


def test_validation_cells_are_matched_by_name_of_gene_and_category() -> None:
    adata, other = cells(30), cells(10, seed=1)
    held_out = columns(other, [6, 5, 4, 3, 2, 1, 0])
    held_out.obs = held_out.obs.assign(type=["Z"] * 5 + ["B"] * 5, batch=["b1"] * 10)
    data = dataset(adata, aeframe.Samples(held_out, y="type", condition="batch"), y="type", condition="batch")
    modality = Omics()
    splits = modality.prepare(data)
    batch = splits.validation.batch(torch.arange(10))
    assert batch.x.equal(torch.from_numpy(other.X.toarray()))
    assert batch.condition.tolist() == [[0, 1]] * 10
    assert modality.category_names["label"] == ("T", "B", "Z")
    assert batch.extras["label"].tolist() == [2] * 5 + [1] * 5
    assert len(splits.train) + len(splits.test) == 30
    held_out.obs = held_out.obs.assign(batch=["b9"] * 10)
    with pytest.raises(AeframeError) as error:
        Omics().prepare(dataset(adata, aeframe.Samples(held_out), condition="batch"))
    assert str(error.value) == (
        "fit: x, validation: cell 'c0' (row 0) has 'b9' in column 'batch' of obs, did you mean 'b1'?, expected one of "
        "the categories of the training cells (b0, b1); correct it, or set modality.unseen=unknown to use the mean of "
        "training, or set modality.on_error=skip to leave such cells out of training"
    )


def test_weights_follow_their_cells_past_those_left_out() -> None:
    adata = cells(40)
    adata.X = np.where(np.arange(40)[:, None] < 20, adata.X.toarray() * (np.arange(7) < 1), adata.X.toarray() + 9)
    adata.obs["weight"] = np.arange(40.0)
    data = dataset(adata, sample_weight="weight", options={"min_counts": 60})
    train = data.attach(Omics().prepare(data)).train
    batch = train.batch(torch.arange(len(train)))
    assert len(train) < 30
    ratio = batch.extras[WEIGHT] / batch.index
    assert ratio.allclose(ratio[:1])


# -- preparing, restoring ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fit(cells(), tmp_path_factory.mktemp("model"), y="type", condition=["age", "batch"]).model


def test_conditions_are_passed_by_their_names(model: Any) -> None:
    adata = cells()
    encoded = model.prepare(adata).condition[:2]
    rows = [[20.0, "b0"], [float(adata.obs["age"].iloc[1]), "b1"]]
    by_name = {"batch": ["b0", "b1"], "age": [row[0] for row in rows]}
    z = torch.zeros(2, 2)
    expected = model.decode(z, condition=encoded)
    assert not expected[0].equal(expected[1])
    for condition in (np.array(rows, object), by_name, pd.DataFrame(by_name), adata.obs[:2]):
        assert model.decode(z, condition=condition).equal(expected)
        assert model.sample(2, seed=0, condition=condition).shape == (2, 7)
    assert model.prepare(adata[:2], condition=by_name).condition.equal(encoded)
    # A single value is that of all cells.
    assert model.prepare(adata[:2], condition={"batch": "b1", "age": 20.0}).condition[:, :2].tolist() == [[0, 1]] * 2
    with pytest.raises(AeframeError) as error:
        model.sample(1, condition={"batch": ["b00"], "age": [1.0]})
    assert str(error.value) == (
        "model 'vae': condition: cell '0' (row 0) has 'b00' in column 'batch' of obs, did you mean 'b0'?, expected one "
        "of the categories of the training cells (b0, b1); correct it"
    )
    with pytest.raises(AeframeError) as error:
        model.sample(2, condition=["b0", "b1"])
    assert str(error.value) == (
        "model 'vae' has a condition of the columns age, batch, found one of shape (2, 1); pass a value of each column "
        "for each sample"
    )


def test_cells_without_the_columns_take_their_condition_from_the_argument(model: Any) -> None:
    adata = cells()
    bare = anndata.AnnData(adata.X, var=adata.var)
    assert model.encode(bare, condition=adata.obs).equal(model.encode(adata))
    with pytest.raises(AeframeError, match="needs a condition of shape"):
        model.encode(bare)
    bare.obs = pd.DataFrame({"Age": [1.0] * 40, "batch": ["b0"] * 40}, index=bare.obs.index)
    with pytest.raises(AeframeError, match="has no column 'age' in obs for a continuous covariate, did you mean 'Age'"):
        model.encode(bare)


def test_errors_name_the_nearest_gene_and_column(model: Any, tmp_path: Path) -> None:
    renamed = cells()
    renamed.var_names = strings(["g0", "g1", "g2", "g3", "g4", "g5", "g6_"])
    with pytest.raises(AeframeError) as error:
        model.prepare(renamed)
    assert str(error.value) == (
        "x lacks 1 of the 7 genes that the model was trained on, the first is 'g6', did you mean 'g6_'?; add them "
        "(with count 0 if they were not measured)"
    )
    with pytest.raises(AeframeError) as error:
        dataset(cells(), y="tipe")
    assert str(error.value) == (
        "fit: y='tipe' is no column of x.obs, did you mean 'type'?; its columns are type, batch, age"
    )
    with pytest.raises(AeframeError, match="fit: x has no layer 'count'; its layers are none"):
        dataset(cells(), options={"layer": "count"})
    with pytest.raises(AeframeError, match="fit: x has no 'proteins' in obsm, did you mean 'protein'"):
        dataset(cells(), options={"views": ["proteins"]})
    backed = anndata.read_h5ad(saved(cells(), tmp_path), backed="r")
    with pytest.raises(AeframeError) as error:
        dataset(backed[:9])
    assert str(error.value) == (
        "fit: x is a view of an AnnData in backed mode, whose counts stay in the file; pass adata.to_memory()[rows], "
        "or name a column of splits: validation='column'"
    )
    with pytest.raises(AeframeError, match="without names of genes, expected the 7 genes of training in their order"):
        model.prepare(np.ones((2, 6)))
    with pytest.raises(AeframeError, match=r"has the column 'type' of .*, expected counts of a gene"):
        dataset(frame(cells()))


def test_samples_are_restored_as_an_anndata(model: Any) -> None:
    restored = model.restore(model.prepare(cells()).x)
    assert isinstance(restored, anndata.AnnData)
    assert list(restored.var_names) == [f"g{number}" for number in range(7)]
    assert np.array_equal(restored.X, cells().X.toarray())
