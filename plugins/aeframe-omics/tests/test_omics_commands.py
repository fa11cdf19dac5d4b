"""From a file to a trained model and back into a file, by the commands people type."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from omics_files import cells, saved

import aeframe
from aeframe.cli.main import main
from aeframe_omics import map as map_module
from aeframe_omics.map import draw_map, on_a_plane


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a small file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("omics")
    path = saved(cells(), folder)
    data = {"name": "h5ad", "path": str(path), "label": "type", "categorical": ["batch"]}
    options = {"latent": {"dim": 3}, "encoder": {"hidden": [8]}, "batch_size": 8, "max_epochs": 2, "pictures": False}
    aeframe.fit(model="vae", modality="omics", data=data, folder=str(folder / "run"), **options)
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
    # A negative binomial's mean adds up to the cell's own total.
    assert out.layers["aeframe"].sum(1) == pytest.approx(cells().X.toarray().sum(1), rel=1e-4)
    assert out.uns["aeframe"]["model"] == "vae"
    assert np.array_equal(out.X.toarray(), cells().X.toarray())
    assert out.obs["batch"].tolist() == cells().obs["batch"].tolist()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def test_codes_alone(run: Path, tmp_path: Path) -> None:
    path = saved(cells(), tmp_path, "in.h5ad")
    assert main(["annotate", str(run), str(path), "--codes-only", "-o", str(tmp_path / "out.h5ad")]) == 0
    assert list(anndata.read_h5ad(tmp_path / "out.h5ad").layers) == []


def test_new_cells_are_written_as_anndata(run: Path, tmp_path: Path) -> None:
    model = aeframe.load(run)
    x = model.sample(5, seed=0, condition=torch.eye(2)[[0, 1, 0, 1, 0]], draw=True)
    (path,) = model.modality.write(x, tmp_path / "new.h5ad")
    assert anndata.read_h5ad(path).shape == (5, 7)
    assert torch.equal(model.modality.read(saved(with_batches(path), tmp_path)).x, x)


def with_batches(path: Path) -> anndata.AnnData:
    made = cells(5)
    made.X = anndata.read_h5ad(path).X
    return made


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["annotate", "{run}", "{path}", "-o", "{tmp}/a.csv"],
         "modality 'omics' writes .h5ad files, not 'a.csv'; end the path in .h5ad"),
        (["annotate", "{run}", "{path}", "-o", "{path}"],
         "'{path}' exists already; choose another path with --output"),
        (["cell-map", "{run}", "-o", "{tmp}/a.txt"],
         "a picture is a .png, .pdf or .svg file, found '{tmp}/a.txt'; choose such a name"),
    ],
)  # fmt: skip
def test_what_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    known = {"run": run, "tmp": tmp_path, "path": saved(cells(), tmp_path, "in.h5ad")}
    assert main([argument.format(**known) for argument in arguments]) == 2
    assert capsys.readouterr().err == f"error: {told.format(**known)}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_model_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    aeframe.fit(model="ae", max_epochs=1, folder=str(folder), pictures=False, latent={"dim": 2})
    path = saved(cells(), tmp_path)
    for arguments, verb in (
        (["annotate", str(folder), str(path)], "annotate"),
        (["cell-map", str(folder)], "cell-map"),
    ):
        capsys.readouterr()
        out = tmp_path / ("b.h5ad" if verb == "annotate" else "b.png")
        assert main([*arguments, "-o", str(out)]) == 2
        assert capsys.readouterr().err == f"error: '{folder}' is no model of cells; {verb} is for modality omics\n"


@pytest.mark.parametrize("way", ["principal components", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_map_of_the_cells(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way != "umap":
        # UMAP compiles for most of a minute when it is first used.
        monkeypatch.setitem(sys.modules, "umap", None)
    assert main(["cell-map", str(run), "--split", "train", "-o", str(tmp_path / "map.png")]) == 0
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_each_colouring_is_a_panel_and_grey_is_missing() -> None:
    codes = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    figure = draw_map(
        codes, {"label": (np.array([0, 1, -1] * 4), ("a", "b", "c")), "batch": (np.zeros(12, int), ("one",))}
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["label", "batch"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["a", "b", "missing"], ["one"]]
    drawn = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, codes.astype(float).tolist()))


def test_without_umap_there_are_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    codes = np.random.default_rng(0).normal(size=(30, 4)) * np.array([9.0, 3.0, 0.1, 0.1])
    points, way = on_a_plane(codes.astype(np.float32), 0)
    assert way == "principal component"
    assert points.shape == (30, 2)
    assert abs(np.corrcoef(points[:, 0], codes[:, 0])[0, 1]) > 0.99
    assert map_module.on_a_plane(codes[:, :2], 0)[1] == "z"


def test_a_saved_model_needs_nothing_of_its_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    model = aeframe.load(tmp_path / "model")
    path = saved(cells(), tmp_path)
    assert torch.equal(model.encode(model.modality.read(path)), aeframe.load(run).encode(model.modality.read(path)))


def test_a_model_of_two_views_is_saved_with_them(tmp_path: Path) -> None:
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
