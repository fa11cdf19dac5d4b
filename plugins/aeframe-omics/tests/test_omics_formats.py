"""Cells of every ordinary format: 10x Genomics, Zarr, old AnnData, and counts in ``raw``."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch
from omics_files import categorical, cells, columns, dataset, saved, strings
from other_formats import old_h5ad, tenx_folder, tenx_h5
from scipy.sparse import csc_matrix, csr_matrix

from aeframe import AeframeError
from aeframe_omics.modality import Omics


def zarr_folder(adata: anndata.AnnData, folder: Path) -> Path:
    with warnings.catch_warnings():
        # Of the version of Zarr, which the test does not choose.
        warnings.simplefilter("ignore", UserWarning)
        adata.write_zarr(folder / "a.zarr")
    return folder / "a.zarr"


def zarr_zip(adata: anndata.AnnData, folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder / "a.zarr"), "zip", zarr_folder(adata, folder)))


def layer_columns(adata: anndata.AnnData, folder: Path) -> Path:
    columns_first = adata.copy()
    columns_first.X = csc_matrix(adata.X)
    return saved(columns_first, folder)


def dense(adata: anndata.AnnData, folder: Path) -> Path:
    full = adata.copy()
    full.X = adata.X.toarray().astype(np.int64)
    return saved(full, folder)


FORMATS: dict[str, tuple[Callable[[anndata.AnnData, Path], Path], bool]] = {
    # How each is written, and whether `open` leaves its counts in the file.
    "h5ad": (saved, True),
    "h5ad, dense": (dense, True),
    "h5ad, csc": (layer_columns, False),
    "zarr": (zarr_folder, True),
    "zipped zarr": (zarr_zip, True),
    "10x folder": (lambda adata, folder: tenx_folder(adata, folder / "filtered"), False),
    "10x folder, version 2": (lambda adata, folder: tenx_folder(adata, folder / "hg19", zipped=False), False),
    "10x folder of GEO": (lambda adata, folder: tenx_folder(adata, folder / "GSE1", prefix="GSM1_"), False),
    "10x matrix": (lambda adata, folder: tenx_folder(adata, folder / "m") / "matrix.mtx.gz", False),
    "10x h5": (lambda adata, folder: tenx_h5(adata, folder / "filtered.h5"), True),
    "10x h5, version 2": (lambda adata, folder: tenx_h5(adata, folder / "filtered.h5", version=2), True),
    "old h5ad": (lambda adata, folder: old_h5ad(adata, folder / "old.h5ad", sparse=False), False),
    "old h5ad, sparse": (lambda adata, folder: old_h5ad(adata, folder / "old.h5ad", sparse=True), False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_trains_and_is_read_with_its_names(name: str, tmp_path: Path) -> None:
    write, is_lazy = FORMATS[name]
    adata = cells()
    path = write(adata, tmp_path)
    modality, data = Omics(), dataset(path)
    assert modality.spec(data).shape == (7,)
    splits = modality.prepare(data)
    assert list(splits.notes) == []
    batch = splits.train.batch(torch.arange(32))
    assert batch.index is not None
    assert np.array_equal(batch.x.numpy(), adata.X.toarray()[batch.index.numpy()])
    names = splits.train.columns(torch.arange(3))["name"]  # type: ignore[attr-defined]
    assert names.tolist() == [f"c{row}" for row in batch.index[:3].tolist()]
    opened = modality.open(path, "raise")
    assert opened.source._counts.backed == is_lazy  # type: ignore[attr-defined]
    assert np.array_equal(opened.batch().x.numpy(), adata.X.toarray())
    (written,) = modality.write(opened.batch().x, tmp_path / "out.h5ad", names=[f"c{row}" for row in range(40)])
    again = anndata.read_h5ad(written)
    assert (again.obs_names.tolist(), again.var_names.tolist()) == (list(adata.obs_names), list(adata.var_names))


def raw_file(folder: Path) -> tuple[anndata.AnnData, Path]:
    """Write cells with logarithms of three genes in X, and the counts of all seven in ``raw``."""
    adata = cells()
    few = columns(adata, [5, 0, 3])
    few.X = few.X.log1p()
    few.raw = adata
    return adata, saved(few, folder)


@pytest.mark.parametrize("layer", ["raw", "raw/X"])
@pytest.mark.parametrize("backed", [False, True])
def test_counts_in_raw_have_genes_of_their_own(tmp_path: Path, layer: str, backed: bool) -> None:
    adata, path = raw_file(tmp_path)
    modality, data = Omics(), dataset(path, layer=layer, backed=backed, categorical=("batch",))
    assert modality.spec(data).shape == (7,)
    batch = modality.prepare(data).train.batch(torch.arange(9))
    assert np.array_equal(batch.x.numpy(), adata.X.toarray()[batch.index.numpy()])  # type: ignore[union-attr]
    x = modality.read(path).x
    assert np.array_equal(x.numpy(), adata.X.toarray())
    in_memory = anndata.read_h5ad(path)
    assert modality.prepare_samples(in_memory).x.equal(x)
    assert modality.prepare_samples(anndata.read_h5ad(path, backed="r")).x.equal(x)
    # What is written can be read by the same model: its counts are in raw again.
    modality = Omics()
    modality.prepare(dataset(path, layer=layer))
    (written,) = modality.write(x, tmp_path / "out.h5ad")
    assert anndata.read_h5ad(written).raw.var_names.tolist() == list(adata.var_names)
    assert modality.read(written).x.equal(x)


def test_a_layer_called_raw_takes_precedence_with_a_note(tmp_path: Path) -> None:
    adata, path = raw_file(tmp_path)
    both = anndata.read_h5ad(path)
    both.layers["raw"] = 2 * adata.X[:, [5, 0, 3]]
    path = saved(both, tmp_path, "b.h5ad")
    for layer, width, note in (
        ("raw", 3, "the layer (data.layer=raw/X takes raw)"),
        ("raw/X", 7, "raw (data.layer=raw takes the layer)"),
    ):
        splits = Omics().prepare(dataset(path, layer=layer))
        assert splits.train.batch(torch.arange(2)).x.shape == (2, width)
        assert [text.partition("those of ")[2] for text in splits.notes] == [note]


@pytest.mark.parametrize("in_memory", [False, True])
def test_the_error_for_other_values_says_where_counts_are(tmp_path: Path, in_memory: bool) -> None:
    adata, path = raw_file(tmp_path)
    few = anndata.read_h5ad(path)
    few.layers["counts"], few.layers["scaled"] = adata.X[:, [5, 0, 3]], csr_matrix(few.X.toarray() - 1)
    path = saved(few, tmp_path, "b.h5ad")
    for layer, where in (
        (None, "take the counts that are in raw and layer 'counts': set data.layer=raw"),
        ("scaled", "take the counts that are in raw and layer 'counts': set data.layer=raw"),
    ):
        with pytest.raises(AeframeError) as caught:
            Omics().prepare(dataset(path, layer=layer))
        assert f"; {where}, or set modality.on_error=skip" in str(caught.value)
    trained = Omics()
    trained.prepare(dataset(saved(columns(adata, [5, 0, 3]), tmp_path, "c.h5ad")))
    with pytest.raises(AeframeError) as caught:
        trained.prepare_samples(few) if in_memory else trained.read(path)
    assert "take the counts that are in raw and layer 'counts': move them to where the counts" in str(caught.value)
    assert "data." not in str(caught.value)


def test_a_file_without_the_layer_of_training_is_read_from_x_where_that_has_counts(tmp_path: Path) -> None:
    adata, path = raw_file(tmp_path)
    modality = Omics()
    modality.prepare(dataset(path, layer="raw"))
    other = tenx_h5(adata, tmp_path / "other.h5")
    assert np.array_equal(modality.read(other).x.numpy(), adata.X.toarray())
    assert list(modality.notes) == [
        f"modality 'omics': '{other}' has no layer 'raw', in which training had the counts; those in X are used"
    ]
    assert np.array_equal(modality.prepare_samples(adata).x.numpy(), adata.X.toarray())
    logarithms = adata.copy()
    logarithms.X = adata.X.log1p()
    path = saved(logarithms, tmp_path, "log.h5ad")
    with pytest.raises(AeframeError) as caught:
        modality.read(path)
    assert str(caught.value) == (
        f"modality 'omics': '{path}' has no layer 'raw'; its layers are none; the model was trained on this layer, so "
        "add it"
    )


# -- 10x Genomics ------------------------------------------------------------------------------------------------------


TYPES = ["Gene Expression"] * 5 + ["Antibody Capture", "CRISPR Guide Capture"]


@pytest.mark.parametrize("kind", ["folder", "h5"])
@pytest.mark.parametrize("backed", [False, True])
def test_features_that_are_no_genes_are_left_out_with_a_note(tmp_path: Path, kind: str, backed: bool) -> None:
    adata = cells()
    features = [(f"ENSG{number}", f"g{number}", TYPES[number]) for number in range(7)]
    if kind == "h5":
        path = tenx_h5(adata, tmp_path / "a.h5", types=TYPES)
    else:
        path = tenx_folder(adata, tmp_path / "a", features=features)
    if kind == "folder" and backed:
        with pytest.raises(AeframeError, match=r"its format is read completely, found data\.backed=true; leave that"):
            dataset(path, backed=backed).load()
        return
    splits = Omics().prepare(dataset(path, backed=backed))
    assert list(splits.notes) == [
        f"dataset 'h5ad' at '{path}': of 7 features, 1 of type Antibody Capture, 1 of type CRISPR Guide Capture are "
        "left out; the 5 others are genes"
    ]
    batch = splits.train.batch(torch.arange(8))
    assert np.array_equal(batch.x.numpy(), adata.X.toarray()[batch.index.numpy(), :5])  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["folder", "h5"])
def test_repeated_symbols_are_made_unique_with_a_note(tmp_path: Path, kind: str) -> None:
    adata = cells()
    adata.var_names = strings(["a", "b", "a", "a-1", "a", "c", "b"])
    path = tenx_h5(adata, tmp_path / "a.h5") if kind == "h5" else tenx_folder(adata, tmp_path / "a")
    modality = Omics()
    splits = modality.prepare(dataset(path))
    assert modality.genes == ("a", "b", "a-2", "a-1", "a-3", "c", "b-1")
    assert list(splits.notes) == [
        f"dataset 'h5ad' at '{path}': 3 of 7 gene symbols repeat an earlier one, and got -1, -2, ... appended "
        "(data.gene_names=ids takes the IDs)"
    ]
    by_id = Omics()
    assert list(by_id.prepare(dataset(path, gene_names="ids")).notes) == []
    assert by_id.genes == tuple(f"ENSG{number}" for number in range(7))
    # The choice belongs to the model.
    again = Omics()
    again.load_state(by_id.state())
    assert np.array_equal(again.read(path).x.numpy(), adata.X.toarray())


def refusal(path: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        Omics().prepare(dataset(path))
    return str(caught.value).replace(f"dataset 'h5ad' at '{path}'", "DATA")


def test_folders_that_are_no_matrix_are_refused(tmp_path: Path) -> None:
    adata = cells()
    (tmp_path / "a").mkdir()
    folder = tenx_folder(adata, tmp_path / "a" / "hg19")
    assert refusal(tmp_path / "a") == (
        "DATA is a folder without matrix.mtx or matrix.mtx.gz, expected a folder of 10x Genomics, or a .zarr folder; "
        f"set the path to '{folder}'"
    )
    shutil.copy(folder / "matrix.mtx.gz", folder / "b_matrix.mtx.gz")
    assert refusal(folder) == (
        "DATA has several matrices (b_matrix.mtx.gz, matrix.mtx.gz); set the path of one of these files"
    )
    (folder / "b_matrix.mtx.gz").unlink()
    (folder / "features.tsv.gz").rename(folder / "other.tsv.gz")
    assert refusal(folder) == ("DATA has 'matrix.mtx.gz', but no features.tsv or genes.tsv (or .gz) beside it; add it")
    other = tenx_folder(adata[:9], tmp_path / "b")
    (folder / "other.tsv.gz").rename(folder / "features.tsv.gz")
    shutil.copy(other / "barcodes.tsv.gz", folder / "barcodes.tsv.gz")
    assert refusal(folder) == (
        "DATA has a matrix of 7 features x 40 cells, but 7 features and 9 barcodes; the files belong to different "
        "matrices"
    )


@pytest.mark.parametrize(
    ("name", "function"),
    [("a.csv", "read_csv"), ("a.tsv.gz", "read_text"), ("a.TXT", "read_text"), ("a.loom", "read_loom")],
)
def test_other_formats_are_refused_with_the_way_to_convert_them(tmp_path: Path, name: str, function: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert refusal(tmp_path / name) == (
        f"DATA reads AnnData (.h5ad, .zarr) and 10x Genomics (.h5, folders), found '{name}'; convert it: "
        f"anndata.io.{function}(path).write_h5ad(new_path)"
    )


def test_a_matrix_of_cells_by_genes_is_read_with_a_note(tmp_path: Path) -> None:
    adata = cells()
    flipped = anndata.AnnData(adata.X.T.tocsr())
    folder = tenx_folder(flipped, tmp_path / "a", features=[(f"g{number}",) for number in range(7)])
    shutil.copy(tenx_folder(adata, tmp_path / "b") / "barcodes.tsv.gz", folder / "barcodes.tsv.gz")
    splits = Omics().prepare(dataset(folder))
    batch = splits.train.batch(torch.arange(5))
    assert np.array_equal(batch.x.numpy(), adata.X.toarray()[batch.index.numpy()])  # type: ignore[union-attr]
    assert [text.partition(": ")[2] for text in splits.notes] == [
        "'matrix.mtx.gz' has cells in rows and genes in columns, and is read so"
    ]


def test_a_file_of_two_genomes_is_refused(tmp_path: Path) -> None:
    import h5py

    path = tenx_h5(cells(), tmp_path / "a.h5", version=2)
    with h5py.File(path, "r+") as file:
        file.copy("hg19", "mm10")
    assert refusal(path) == (
        "DATA has the genomes hg19, mm10, expected one; write the cells of one to a file: scanpy.read_10x_h5(path, "
        "genome='hg19').write_h5ad(new_path)"
    )


# -- names and rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h5ad", "10x folder"])
def test_bad_cells_of_a_file_are_refused_or_left_out_by_their_rows(tmp_path: Path, name: str) -> None:
    adata = cells()
    modality = Omics()
    modality.prepare(dataset(saved(adata, tmp_path)))
    adata.X = csr_matrix(np.where(np.isin(np.arange(40), (3, 8))[:, None], 0, adata.X.toarray()))
    (tmp_path / "new").mkdir()
    path = FORMATS[name][0](adata, tmp_path / "new")
    origin = f"modality 'omics': '{path}'"
    with pytest.raises(AeframeError) as caught:
        modality.open(path, "raise")
    assert str(caught.value) == (
        f"{origin}: cell 'c3' (row 3) is empty: all of its counts are 0; correct or remove it, or leave such cells out "
        "by --on-error skip (in Python on_error='skip')"
    )
    opened = modality.open(path, "skip")
    assert opened.skipped == [
        f"{origin}: cell 'c{row}' (row {row}) is empty: all of its counts are 0" for row in (3, 8)
    ]
    kept = [row for row in range(40) if row not in (3, 8)]
    assert opened.batch().index.tolist() == kept  # type: ignore[union-attr]
    names: Any = opened.source.columns(torch.arange(38))["name"]  # type: ignore[attr-defined]
    assert names.tolist() == [f"c{row}" for row in kept]


def test_unseen_categories_of_a_file_can_be_left_out(tmp_path: Path) -> None:
    adata = cells()
    modality = Omics()
    modality.prepare(dataset(saved(adata, tmp_path), categorical=("batch",)))
    adata.obs["batch"] = categorical(["b9" if row == 2 else None if row == 5 else "b0" for row in range(40)])
    path = saved(adata, tmp_path, "new.h5ad")
    with pytest.raises(AeframeError, match=r"\); correct it, or leave such cells out by --on-error skip"):
        modality.read(path)
    opened = modality.open(path, "skip")
    assert [sentence.partition(": cell ")[2][:4] for sentence in opened.skipped] == ["'c2'", "'c5'"]
    assert len(opened) == 38
