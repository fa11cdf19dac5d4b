"""The modality: saved state, reading and writing files, figures, simulated data."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from omics_files import categorical, cells, columns, dataset, saved, strings

from aeframe import AeframeError
from aeframe.data.tabular import BreastCancer
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated

OPTIONS = {"label": "type", "categorical": ("batch",), "continuous": ("age",), "views": ("protein",)}


def prepared(
    path: Path, *, values: str = "counts", unseen: str = "refuse", fractions: str = "refuse", **options: object
) -> Omics:
    """Return a modality with the state of one that was trained on a file."""
    trained = Omics(values=values)  # type: ignore[arg-type]
    trained.prepare(dataset(path, **options))
    again = Omics(values=values, unseen=unseen, fractions=fractions)  # type: ignore[arg-type]
    again.load_state(json.loads(json.dumps(trained.state())))
    assert again.state() == trained.state()
    return again


def refusal(modality: Omics, path: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        modality.read(path)
    return str(caught.value)


def test_a_file_is_read_as_in_training(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    trained = Omics()
    train = trained.prepare(dataset(path, **OPTIONS)).train
    batch, expected = prepared(path, **OPTIONS).read(path), train.batch(torch.arange(len(train)))
    rows = expected.index
    assert torch.equal(batch.x[rows], expected.x)
    assert torch.equal(batch.condition[rows], expected.condition)  # type: ignore[index,arg-type]
    assert all(torch.equal(batch.extras[name][rows], expected.extras[name]) for name in ("label", "batch", "library"))
    # The last three columns are the standardised proteins.
    assert expected.x[:, 7:].mean(0).numpy() == pytest.approx(np.zeros(3), abs=1e-5)


def test_genes_are_matched_by_name(tmp_path: Path) -> None:
    adata = cells()
    modality = prepared(saved(adata, tmp_path))
    other = saved(columns(adata, [4, 2, 6, 0, 5, 1, 3]), tmp_path, "b.h5ad")
    assert torch.equal(modality.read(other).x, torch.from_numpy(adata.X.toarray()))


def test_other_genes_are_ignored_and_missing_ones_are_errors(tmp_path: Path) -> None:
    adata = cells()
    some = columns(adata, [5, 0, 3])
    modality = prepared(saved(some, tmp_path, "some.h5ad"))
    path = saved(adata, tmp_path)
    assert torch.equal(modality.read(path).x, torch.from_numpy(adata.X.toarray()[:, [5, 0, 3]]))
    assert refusal(prepared(path), tmp_path / "some.h5ad") == (
        f"modality 'omics': '{tmp_path}/some.h5ad' lacks 4 of the 7 genes that the model was trained on, the first is "
        "'g1', did you mean 'g5'?; add them (with count 0 if they were not measured)"
    )


def test_repeated_genes_are_an_error(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path))
    adata = cells()
    adata.var_names = strings(["g0", "g1", "g1", "g3", "g4", "g5", "g6"])
    path = saved(adata, tmp_path, "b.h5ad")
    assert refusal(modality, path) == (
        f"modality 'omics': '{path}' has 1 gene name more than once, the first is 'g1'; make them unique "
        "(AnnData.var_names_make_unique) and save it again"
    )


def test_missing_covariates_are_an_error_or_unknown(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    bare = cells()
    bare.obs = bare.obs[["type"]]
    other = saved(bare, tmp_path, "b.h5ad")
    assert refusal(prepared(path, categorical=("batch",)), other) == (
        f"modality 'omics': '{other}' has no column 'batch' in obs for a categorical covariate; it has type"
    )
    batch = prepared(path, unseen="unknown", categorical=("batch",)).read(other)
    assert batch.condition is not None
    assert len(batch.condition.unique(dim=0)) == 1
    assert float(batch.condition[0].sum()) == pytest.approx(1)
    assert "batch" not in batch.extras


def test_labels_without_training_cells_are_missing(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path), label="type")
    other = cells()
    other.obs["type"] = categorical(["new", "B"] * 20)
    assert modality.read(saved(other, tmp_path, "b.h5ad")).extras["label"].tolist() == [-1, 1] * 20


@pytest.mark.parametrize("layer", [None, "counts"])
def test_written_cells_can_be_read(tmp_path: Path, layer: str | None) -> None:
    adata = cells()
    adata.layers["counts"] = adata.X.copy()
    path = saved(adata, tmp_path)
    modality = prepared(path, layer=layer, views=("protein",))
    x = modality.read(path).x
    assert modality.write(x, tmp_path / "new" / "out.h5ad") == [tmp_path / "new" / "out.h5ad"]
    assert torch.allclose(modality.read(tmp_path / "new" / "out.h5ad").x, x, atol=1e-5)
    written = anndata.read_h5ad(tmp_path / "new" / "out.h5ad")
    assert written.var_names.tolist() == adata.var_names.tolist()
    assert written.obsm["protein"] == pytest.approx(adata.obsm["protein"], abs=1e-5)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.h5ad"]


def test_log_values_are_written_as_counts_per_ten_thousand(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    modality = prepared(path, values="log", fractions="keep")
    batch = modality.read(path)
    modality.write(batch.x, tmp_path / "out.h5ad")
    written = anndata.read_h5ad(tmp_path / "out.h5ad").X
    assert np.asarray(written.sum(1)).ravel() == pytest.approx(np.full(40, 1e4), rel=1e-4)
    assert torch.allclose(modality.read(tmp_path / "out.h5ad").x, batch.x, atol=1e-4)
    assert modality.as_counts(batch.x, batch.extras["library"]) == pytest.approx(cells().X.toarray(), abs=1e-4)


def test_errors_of_writing(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path))
    for name, message in (
        ("a.csv", "modality 'omics' writes .h5ad files, not 'a.csv'; end the path in .h5ad"),
        ("a.h5ad", f"'{tmp_path}/a.h5ad' exists and is not overwritten; remove it, or choose another path"),
    ):
        before = (tmp_path / "a.h5ad").read_bytes()
        with pytest.raises(AeframeError) as caught:
            modality.write(torch.zeros(2, 7), tmp_path / name)
        assert str(caught.value) == message
        assert (tmp_path / "a.h5ad").read_bytes() == before


def test_data_of_another_modality() -> None:
    with pytest.raises(AeframeError) as caught:
        Omics().prepare(BreastCancer())
    assert str(caught.value) == (
        "modality omics reads Cells, and dataset BreastCancer loads RowSplits; choose a dataset of this modality, or "
        "modality=vector"
    )


def test_the_figure_shows_the_most_variable_genes() -> None:
    modality = Omics()
    modality.prepare(CellsSimulated(cells=60, genes=100))
    x = torch.zeros(5, 100)
    x[:, 60] = torch.arange(5)
    figure = modality.render({"original": x, "reconstruction": x + 1})
    first, second = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert first.shape == second.shape == (5, 40)
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()].count("gene60") == 1
    assert float(first.max()) == pytest.approx(np.log(5))
    assert float(second.max()) == pytest.approx(np.log(6))


def test_simulated_cells_are_reproducible() -> None:
    one, same, other = (CellsSimulated(cells=50, genes=30, seed=seed).load() for seed in (0, 0, 1))
    rows = np.arange(50)
    counts = [data.counts.rows(rows).toarray() for data in (one, same, other)]
    assert np.array_equal(counts[0], counts[1])
    assert not np.array_equal(counts[0], counts[2])
    assert one.metadata.obs.equals(same.metadata.obs)
    assert one.metadata.obs["total"].tolist() == counts[0].sum(1).tolist()


def test_invalid_simulations_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        CellsSimulated(types=0)
    assert str(caught.value) == (
        "dataset 'cells_simulated' needs cells, genes, types and batches of at least 1, found 1000, 200, 0 and 2"
    )
    with pytest.raises(AeframeError) as caught:
        CellsSimulated(proteins=-1)
    assert str(caught.value) == "dataset 'cells_simulated' needs proteins of at least 0, found -1"
