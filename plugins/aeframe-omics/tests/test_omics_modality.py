"""The modality: what it keeps, and what it reads, writes and draws."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from omics_files import cells, columns, dataset, saved, strings, words

from aeframe import AeframeError
from aeframe.data.tabular import BreastCancer
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated

OPTIONS = {"label": "type", "categorical": ("batch",), "continuous": ("age",), "views": ("protein",)}


def prepared(path: Path, *, values: str = "counts", unseen: str = "refuse", **options: object) -> Omics:
    """A modality that was trained on a file, and came out of a saved model."""
    trained = Omics(values=values)  # type: ignore[arg-type]
    trained.prepare(dataset(path, **options))
    again = Omics(values=values, unseen=unseen)  # type: ignore[arg-type]
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
    # The last three columns are proteins, standardised by the training cells.
    assert expected.x[:, 7:].mean(0).numpy() == pytest.approx(np.zeros(3), abs=1e-5)


def test_genes_are_found_by_name(tmp_path: Path) -> None:
    made = cells()
    modality = prepared(saved(made, tmp_path))
    other = saved(columns(made, [4, 2, 6, 0, 5, 1, 3]), tmp_path, "b.h5ad")
    assert torch.equal(modality.read(other).x, torch.from_numpy(made.X.toarray()))


def test_other_genes_are_passed_over_and_missing_ones_refused(tmp_path: Path) -> None:
    made = cells()
    some = columns(made, [5, 0, 3])
    modality = prepared(saved(some, tmp_path, "some.h5ad"))
    path = saved(made, tmp_path)
    assert torch.equal(modality.read(path).x, torch.from_numpy(made.X.toarray()[:, [5, 0, 3]]))
    assert refusal(prepared(path), tmp_path / "some.h5ad") == (
        f"modality 'omics': '{tmp_path}/some.h5ad' lacks 4 of the 7 genes that the model was trained on, the first is "
        "'g1'; add them (with count 0 if they were not measured)"
    )


def test_repeated_genes_are_refused_when_read(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path))
    made = cells()
    made.var_names = strings(["g0", "g1", "g1", "g3", "g4", "g5", "g6"])
    path = saved(made, tmp_path, "b.h5ad")
    assert refusal(modality, path) == (
        f"modality 'omics': '{path}' has 1 gene name more than once, the first is 'g1'; make them unique "
        "(AnnData.var_names_make_unique) and save it again"
    )


def test_covariates_that_are_not_there(tmp_path: Path) -> None:
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


def test_labels_that_training_has_not_are_missing(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path), label="type")
    other = cells()
    other.obs["type"] = words(["new", "B"] * 20)
    assert modality.read(saved(other, tmp_path, "b.h5ad")).extras["label"].tolist() == [-1, 1] * 20


@pytest.mark.parametrize("layer", [None, "counts"])
def test_what_is_written_is_read_again(tmp_path: Path, layer: str | None) -> None:
    made = cells()
    made.layers["counts"] = made.X.copy()
    path = saved(made, tmp_path)
    modality = prepared(path, layer=layer, views=("protein",))
    x = modality.read(path).x
    assert modality.write(x, tmp_path / "new" / "out.h5ad") == [tmp_path / "new" / "out.h5ad"]
    assert torch.allclose(modality.read(tmp_path / "new" / "out.h5ad").x, x, atol=1e-5)
    written = anndata.read_h5ad(tmp_path / "new" / "out.h5ad")
    assert written.var_names.tolist() == made.var_names.tolist()
    assert written.obsm["protein"] == pytest.approx(made.obsm["protein"], abs=1e-5)
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["out.h5ad"]


def test_log_values_are_written_as_counts_per_ten_thousand(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    modality = prepared(path, values="log")
    batch = modality.read(path)
    modality.write(batch.x, tmp_path / "out.h5ad")
    written = anndata.read_h5ad(tmp_path / "out.h5ad").X
    assert np.asarray(written.sum(1)).ravel() == pytest.approx(np.full(40, 1e4), rel=1e-4)
    assert torch.allclose(modality.read(tmp_path / "out.h5ad").x, batch.x, atol=1e-4)
    assert modality.as_counts(batch.x, batch.extras["library"]) == pytest.approx(cells().X.toarray(), abs=1e-4)


def test_what_is_not_written(tmp_path: Path) -> None:
    modality = prepared(saved(cells(), tmp_path))
    for name, told in (
        ("a.csv", "modality 'omics' writes .h5ad files, not 'a.csv'; end the path in .h5ad"),
        ("a.h5ad", f"'{tmp_path}/a.h5ad' exists, and nothing is overwritten; remove it, or write elsewhere"),
    ):
        before = (tmp_path / "a.h5ad").read_bytes()
        with pytest.raises(AeframeError) as caught:
            modality.write(torch.zeros(2, 7), tmp_path / name)
        assert str(caught.value) == told
        assert (tmp_path / "a.h5ad").read_bytes() == before


def test_data_of_another_modality() -> None:
    with pytest.raises(AeframeError) as caught:
        Omics().prepare(BreastCancer())
    assert str(caught.value) == (
        "modality omics reads Cells, and dataset BreastCancer loads RowSplits; choose a dataset of this modality, or "
        "modality=vector"
    )


def test_the_picture_shows_the_genes_that_vary_most() -> None:
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


def test_simulated_cells_repeat_themselves() -> None:
    one, same, other = (CellsSimulated(cells=50, genes=30, seed=seed).load() for seed in (0, 0, 1))
    rows = np.arange(50)
    counts = [each.counts.rows(rows).toarray() for each in (one, same, other)]
    assert np.array_equal(counts[0], counts[1])
    assert not np.array_equal(counts[0], counts[2])
    assert one.known.obs.equals(same.known.obs)
    assert one.known.obs["total"].tolist() == counts[0].sum(1).tolist()


def test_impossible_simulations() -> None:
    with pytest.raises(AeframeError) as caught:
        CellsSimulated(types=0)
    assert str(caught.value) == (
        "dataset 'cells_simulated' needs cells, genes, types and batches of at least 1, found 1000, 200, 0 and 2"
    )
    with pytest.raises(AeframeError) as caught:
        CellsSimulated(proteins=-1)
    assert str(caught.value) == "dataset 'cells_simulated' needs proteins of at least 0, found -1"
