"""The commands on a trained model: annotated files and maps of the codes."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from omics_files import cells, saved
from other_formats import old_h5ad, tenx_folder, tenx_h5
from scipy.sparse import csr_matrix

import aeframe
from aeframe.cli.main import main
from aeframe_omics.latent_map import draw_map, project


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a small file."""
    return trained(tmp_path_factory.mktemp("omics"), label="type", categorical=["batch"])


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without covariates, which other formats do not have."""
    return trained(tmp_path_factory.mktemp("plain"), max_epochs=1)


def trained(folder: Path, *, max_epochs: int = 2, **columns: object) -> Path:
    torch.set_num_threads(1)
    data = {"name": "h5ad", "path": str(saved(cells(), folder)), **columns}
    options = {"latent": {"dim": 3}, "encoder": {"hidden": [8]}, "batch_size": 8, "pictures": False}
    aeframe.fit(model="vae", modality="omics", data=data, folder=str(folder / "run"), max_epochs=max_epochs, **options)
    return folder / "run"


def test_codes_and_denoised_counts_are_added_to_a_copy(run: Path, tmp_path: Path) -> None:
    path = saved(cells(), tmp_path, "in.h5ad")
    before = path.read_bytes()
    assert main(["annotate", str(run), str(path), "-o", str(tmp_path / "out.h5ad")]) == 0
    assert path.read_bytes() == before
    out, model = anndata.read_h5ad(tmp_path / "out.h5ad"), aeframe.load(run)
    batch = model.modality.read(path)
    assert out.obsm["X_aeframe"] == pytest.approx(model.encode(batch).numpy())
    assert out.layers["aeframe"] == pytest.approx(model.reconstruct(batch).numpy())
    # The mean of the negative binomial sums to the library size.
    assert out.layers["aeframe"].sum(1) == pytest.approx(cells().X.toarray().sum(1), rel=1e-4)
    assert out.uns["aeframe"]["model"] == "vae"
    assert np.array_equal(out.X.toarray(), cells().X.toarray())
    assert out.obs["batch"].tolist() == cells().obs["batch"].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def test_codes_without_denoised_counts(run: Path, tmp_path: Path) -> None:
    path = saved(cells(), tmp_path, "in.h5ad")
    assert main(["annotate", str(run), str(path), "--codes-only", "-o", str(tmp_path / "out.h5ad")]) == 0
    assert list(anndata.read_h5ad(tmp_path / "out.h5ad").layers) == []


def with_bad_cells(folder: Path) -> Path:
    """Write cells of which c4 is empty, and c9 has a batch that training did not have."""
    adata = cells()
    adata.X = csr_matrix(np.where(np.arange(40)[:, None] == 4, 0, adata.X.toarray()))
    adata.obs["batch"] = [*("b9" if row == 9 else name for row, name in enumerate(adata.obs["batch"].astype(str)))]
    return saved(adata, folder, "in.h5ad")


def test_cells_that_are_left_out_have_nan(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = with_bad_cells(tmp_path), tmp_path / "out.h5ad"
    assert main(["annotate", str(run), str(path), "-o", str(out), "--batch-size", "7"]) == 2
    assert "--on-error skip" in capsys.readouterr().err
    assert not out.exists()
    assert main(["annotate", str(run), str(path), "-o", str(out), "--batch-size", "7", "--on-error", "skip"]) == 0
    skipped = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert [line.partition(": cell ")[2][:4] for line in skipped] == ["'c4'", "'c9'"]
    written, model = anndata.read_h5ad(out), aeframe.load(run)
    opened = model.modality.open(path, "skip").batch()
    kept = np.delete(np.arange(40), [4, 9])
    assert written.obs_names.tolist() == list(cells().obs_names)
    for found, expected in (
        (written.obsm["X_aeframe"], model.encode(opened).numpy()),
        (written.layers["aeframe"], model.reconstruct(opened).numpy()),
    ):
        assert np.isnan(found[[4, 9]]).all()
        assert found[kept] == pytest.approx(expected, abs=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


@pytest.mark.parametrize("kind", ["10x folder", "10x h5", "zarr", "old"])
def test_files_of_other_formats_are_annotated_as_h5ad(plain_run: Path, tmp_path: Path, kind: str) -> None:
    adata = cells()
    if kind == "10x folder":
        path = tenx_folder(adata, tmp_path / "a")
    elif kind == "10x h5":
        path = tenx_h5(adata, tmp_path / "a.h5")
    elif kind == "old":
        path = old_h5ad(adata, tmp_path / "a.h5ad", sparse=True)
    else:
        path = tmp_path / "a.zarr"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            adata.write_zarr(path)
    model = aeframe.load(plain_run)
    assert main(["annotate", str(plain_run), str(path), "-o", str(tmp_path / "out.h5ad")]) == 0
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert np.array_equal(written.X.toarray(), adata.X.toarray())
    assert written.obs_names.tolist() == list(adata.obs_names)
    assert written.obsm["X_aeframe"] == pytest.approx(model.encode(model.modality.read(path)).numpy())


def test_codes_and_reconstructions_have_the_names_of_the_cells(run: Path, tmp_path: Path) -> None:
    path = with_bad_cells(tmp_path)
    skip = ["--on-error", "skip", "--batch-size", "7"]
    assert main(["encode", str(run), str(path), "-o", str(tmp_path / "z.npz"), *skip]) == 0
    kept = np.delete(np.arange(40), [4, 9])
    with np.load(tmp_path / "z.npz") as codes:
        assert codes["index"].tolist() == kept.tolist()
        assert codes["name"].tolist() == [f"c{row}" for row in kept]
        assert codes["label"].tolist() == ["T" if row % 3 == 0 else "B" for row in kept]
    assert main(["reconstruct", str(run), str(path), "-o", str(tmp_path / "x.h5ad"), *skip]) == 0
    assert anndata.read_h5ad(tmp_path / "x.h5ad").obs_names.tolist() == [f"c{row}" for row in kept]


def test_samples_are_written_as_anndata(run: Path, tmp_path: Path) -> None:
    model = aeframe.load(run)
    x = model.sample(5, seed=0, condition=torch.eye(2)[[0, 1, 0, 1, 0]], draw=True)
    (path,) = model.modality.write(x, tmp_path / "new.h5ad")
    assert anndata.read_h5ad(path).shape == (5, 7)
    assert torch.equal(model.modality.read(saved(with_batches(path), tmp_path)).x, x)


def with_batches(path: Path) -> anndata.AnnData:
    adata = cells(5)
    adata.X = anndata.read_h5ad(path).X
    return adata


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["annotate", "{run}", "{path}", "-o", "{tmp}/a.csv"],
         "modality 'omics' writes .h5ad files, not 'a.csv'; end the path in .h5ad"),
        (["annotate", "{run}", "{path}", "-o", "{path}"],
         "'{path}' exists already; choose another path with --output"),
        (["cell-map", "{run}", "-o", "{tmp}/a.txt"],
         "a plot is written as .png, .pdf or .svg, found '{tmp}/a.txt'; end the path in one of these"),
    ],
)  # fmt: skip
def test_invalid_output_paths_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    values = {"run": run, "tmp": tmp_path, "path": saved(cells(), tmp_path, "in.h5ad")}
    assert main([argument.format(**values) for argument in arguments]) == 2
    assert capsys.readouterr().err == f"error: {message.format(**values)}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_models_of_other_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    aeframe.fit(model="ae", max_epochs=1, folder=str(folder), pictures=False, latent={"dim": 2})
    path = saved(cells(), tmp_path)
    for arguments, command in (
        (["annotate", str(folder), str(path)], "annotate"),
        (["cell-map", str(folder)], "cell-map"),
    ):
        capsys.readouterr()
        out = tmp_path / ("b.h5ad" if command == "annotate" else "b.png")
        assert main([*arguments, "-o", str(out)]) == 2
        assert capsys.readouterr().err == (
            f"error: '{folder}' is not a model of cells; {command} is for modality omics\n"
        )


@pytest.mark.parametrize("projection", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_map_of_the_cells(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, projection: str) -> None:
    if projection != "umap":
        # The compilation at the first use of UMAP takes most of a minute.
        monkeypatch.setitem(sys.modules, "umap", None)
    assert main(["cell-map", str(run), "--split", "train", "-o", str(tmp_path / "map.png")]) == 0
    assert (tmp_path / "map.png").stat().st_size > 10_000
    path = with_bad_cells(tmp_path)
    assert main(["cell-map", str(run), str(path), "-o", str(tmp_path / "file.png")]) == 2
    assert main(["cell-map", str(run), str(path), "--on-error", "skip", "-o", str(tmp_path / "file.png")]) == 0
    assert main(["cell-map", str(run), "-o", str(tmp_path / "test.png")]) == 0


def test_each_colouring_is_a_panel_and_missing_values_are_grey() -> None:
    codes = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    figure = draw_map(
        codes, {"label": (np.array([0, 1, -1] * 4), ("a", "b", "c")), "batch": (np.zeros(12, int), ("one",))}
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["label", "batch"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["a", "b", "missing"], ["one"]]
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, codes.astype(float).tolist()))


def test_without_umap_codes_are_projected_by_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    codes = np.random.default_rng(0).normal(size=(30, 4)) * np.array([9.0, 3.0, 0.1, 0.1])
    points, axis_name = project(codes.astype(np.float32), 0)
    assert axis_name == "principal component"
    assert points.shape == (30, 2)
    assert abs(np.corrcoef(points[:, 0], codes[:, 0])[0, 1]) > 0.99
    assert project(codes[:, :2], 0)[1] == "z"


def test_a_saved_model_is_independent_of_its_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    model = aeframe.load(tmp_path / "model")
    path = saved(cells(), tmp_path)
    assert torch.equal(model.encode(model.modality.read(path)), aeframe.load(run).encode(model.modality.read(path)))


def test_the_views_are_saved_with_the_model(tmp_path: Path) -> None:
    data = {"name": "cells_simulated", "cells": 60, "genes": 12, "proteins": 3}
    options = {"latent": {"dim": 2}, "encoder": {"hidden": [8]}, "batch_size": 8, "max_epochs": 1}
    aeframe.fit(model="vae", modality="omics", data=data, loss="views", folder=str(tmp_path / "run"), **options)
    model = aeframe.load(tmp_path / "run")
    assert {name: (size, str(domain)) for name, (size, domain) in model.spec.views.items()} == {
        "counts": (12, "count"), "protein": (3, "real"),
    }  # fmt: skip
    x = model.sample(4, seed=0, draw=True)
    (path,) = model.modality.write(x, tmp_path / "new.h5ad")
    assert torch.allclose(model.modality.read(path).x, x, atol=1e-4)
    assert anndata.read_h5ad(path).obsm["protein"].shape == (4, 3)
