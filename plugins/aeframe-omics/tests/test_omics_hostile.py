"""Files of strangers: references to other files, claims beyond the memory, indices out of range, unknown encodings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from omics_files import cells, dataset, saved
from other_formats import tenx_folder, tenx_h5
from scipy.sparse import bsr_matrix, coo_matrix, csc_matrix, csr_array, csr_matrix

from aeframe import AeframeError, Samples
from aeframe.data.in_memory import SampleSplits
from aeframe_omics.in_memory import OmicsInMemory
from aeframe_omics.modality import Omics


def refusals(path: Path) -> list[str]:
    """Return the errors of training from a file, in memory and backed, and of reading it with a trained model."""
    trained = Omics()
    folder = path.parent / "good"
    folder.mkdir(exist_ok=True)
    good = folder / "good.h5ad"
    if not good.exists():
        cells().write_h5ad(good)
    trained.prepare(dataset(good))
    found = []
    for read in (
        lambda: Omics().prepare(dataset(path)),
        lambda: Omics().prepare(dataset(path, backed=True)),
        lambda: trained.open(path, "raise"),
        lambda: trained.open(path, "skip"),
    ):
        with pytest.raises(AeframeError) as caught:
            read()
        found.append(str(caught.value))
    return found


def other_file(folder: Path) -> Path:
    path = folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.ones((40, 7), np.float32)
    return path


def external_link(file: h5py.File, folder: Path) -> str:
    del file["X"]
    file["X"] = h5py.ExternalLink(str(other_file(folder)), "/x")
    return "'X' is a link to another file ('"


def nested_link(file: h5py.File, folder: Path) -> str:
    # A soft link that leaves the file by an external one.
    file["uns/out"] = h5py.ExternalLink(str(other_file(folder)), "/")
    del file["X"]
    file["X"] = h5py.SoftLink("/uns/out/x")
    return "'uns/out' is a link to another file ('"


def external_storage(file: h5py.File, folder: Path) -> str:
    (folder / "secret.bin").write_bytes(b"\1\0\0\0" * 280)
    del file["X"]
    file.create_dataset("X", (40, 7), np.float32, external=[(str(folder / "secret.bin"), 0, 1120)])
    return "'X' is stored in another file ('"


def virtual_dataset(file: h5py.File, folder: Path) -> str:
    layout = h5py.VirtualLayout((40, 7), np.float32)
    layout[:] = h5py.VirtualSource(str(other_file(folder)), "x", (40, 7))
    del file["X"]
    file.create_virtual_dataset("X", layout)
    return "'X' is a virtual dataset of other files"


@pytest.mark.parametrize("refer", [external_link, nested_link, external_storage, virtual_dataset])
def test_references_to_other_files_are_refused(tmp_path: Path, refer: Callable[[h5py.File, Path], str]) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        expected = refer(file, tmp_path)
    for message in refusals(path):
        assert f"'{path}': {expected}" in message
        assert message.endswith(
            ", which is not followed; copy the content into the file, such as by "
            "anndata.read_h5ad(path).write_h5ad(new_path)"
        )


def test_links_within_the_file_are_followed(tmp_path: Path) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        file.move("X", "kept")
        file["X"] = h5py.SoftLink("/kept")
        file["obsm/loop"] = file["obsm"]
    assert Omics().prepare(dataset(path, backed=True)).train.batch(torch.arange(3)).x.shape == (3, 7)


def huge_matrix(file: h5py.File) -> None:
    del file["X"]
    file.create_dataset("X", (40, 10**10), np.float32, chunks=(1, 1 << 16))


def huge_indices(file: h5py.File) -> None:
    for name in ("data", "indices"):
        del file[f"X/{name}"]
        file["X"].create_dataset(name, (10**13,), "i4", chunks=(1 << 16,))


def huge_obs(file: h5py.File) -> None:
    del file["obs/age"]
    file.create_dataset("obs/age", (10**13,), np.float64, chunks=(1 << 16,))


@pytest.mark.parametrize(
    ("claim", "messages"),
    [
        (huge_matrix, ["would occupy", "has the shape (40, 10000000000) in 'X', expected (40, 7)"]),
        (huge_indices, ["would occupy", "are not ascending, or do not match its 10000000000000 values"]),
        (huge_obs, ["'obs' would occupy 80 TB of memory"]),
    ],
)
def test_claims_beyond_the_memory_are_refused(
    tmp_path: Path, claim: Callable[[h5py.File], None], messages: Any
) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        claim(file)
    for found in refusals(path):
        assert any(message in found for message in messages), found


def test_a_text_matrix_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    folder = tenx_folder(cells(), tmp_path / "a", zipped=False)
    lines = (folder / "matrix.mtx").read_text(encoding="utf-8").splitlines()
    lines[2] = "7 40 100000000000000"
    (folder / "matrix.mtx").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(AeframeError, match=r"'matrix\.mtx' would occupy .* TB of memory"):
        Omics().prepare(dataset(folder))


@pytest.mark.parametrize("line", ["8 1 3", "0 1 3", "1 41 3", "1 1", "x", ""])
def test_damaged_text_matrices_are_refused(tmp_path: Path, line: str) -> None:
    folder = tenx_folder(cells(), tmp_path / "a", zipped=False)
    lines = (folder / "matrix.mtx").read_text(encoding="utf-8").splitlines()
    (folder / "matrix.mtx").write_text(
        "\n".join([*lines[:3], line, *lines[4:]][: 4 if not line else None]), encoding="utf-8"
    )
    with pytest.raises(AeframeError, match="cannot be read as"):
        Omics().prepare(dataset(folder))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("key", "value"), [("indices", 7), ("indices", -1), ("indices", 10**6), ("indptr", 10**6)])
def test_indices_of_a_10x_file_are_checked(tmp_path: Path, version: int, key: str, value: int) -> None:
    path = tenx_h5(cells(), tmp_path / "a.h5", version=version)
    with h5py.File(path, "r+") as file:
        file[f"{'matrix' if version == 3 else 'hg19'}/{key}"][3] = value
    for message in refusals(path):
        assert ("has a value for gene" if key == "indices" else "are not ascending, or do not match") in message


def broken_csr(kind: Any = csr_matrix) -> Any:
    matrix = kind(cells().X)
    matrix.indices[3] = 10**6
    return matrix


def broken_csc() -> Any:
    matrix = csc_matrix(cells().X)
    matrix.indices[3] = -(10**6)
    return matrix


def broken_coo() -> Any:
    matrix = coo_matrix(cells().X)
    matrix.row[3] = 10**6
    return matrix


def broken_bsr() -> Any:
    matrix = bsr_matrix(cells().X, blocksize=(2, 1))
    matrix.indices[3] = 10**6
    return matrix


def broken_pointers() -> Any:
    matrix = csr_matrix(cells().X)
    matrix.indptr[5] = 10**6
    return matrix


MATRICES = {
    "csr": broken_csr,
    "csr_array": lambda: broken_csr(csr_array),
    "csc": broken_csc,
    "coo": broken_coo,
    "bsr": broken_bsr,
    "pointers": broken_pointers,
}


@pytest.mark.parametrize("name", MATRICES)
def test_sparse_matrices_in_memory_are_checked(name: str) -> None:
    matrix = MATRICES[name]()
    with pytest.raises(AeframeError, match=r"fit: x.* (has a|are not ascending)"):
        OmicsInMemory(SampleSplits({"train": Samples(matrix)}))


@pytest.mark.parametrize("place", ["X", "layer", "raw", "obsm"])
@pytest.mark.parametrize("name", ["csr", "csc", "pointers"])
def test_matrices_of_an_anndata_in_memory_are_checked(name: str, place: str) -> None:
    adata, good = cells(), cells()
    options: dict[str, Any] = {}
    if place == "X":
        adata.X = MATRICES[name]()
    elif place == "layer":
        adata.layers["counts"], options = MATRICES[name](), {"layer": "counts"}
    elif place == "raw":
        adata.raw, options = good, {"layer": "raw"}
        adata.raw._X = MATRICES[name]()
    else:
        adata.obsm["sparse"], options = MATRICES[name](), {"views": ("sparse",)}
    with pytest.raises(AeframeError, match=r"fit: x.* (has a value for|are not ascending)"):
        OmicsInMemory(SampleSplits({"train": Samples(adata)}), **options)
    trained = Omics()
    trained.prepare(OmicsInMemory(SampleSplits({"train": Samples(good)})))
    if place == "X":
        with pytest.raises(AeframeError, match=r"x.* (has a value for|are not ascending)"):
            trained.prepare_samples(adata)


def unknown_column(file: h5py.File) -> None:
    file["obs/age"].attrs["encoding-type"] = "quaternion"


def unknown_matrix(file: h5py.File) -> None:
    file["X"].attrs["encoding-type"] = "tensor_train"


def shape_of_matrix(file: h5py.File) -> None:
    file["X"].attrs["shape"] = np.array([40, 9])


def real_indices(file: h5py.File) -> None:
    values = file["X/indices"][:]
    del file["X/indices"]
    file["X/indices"] = values + 0.5


def words(file: h5py.File) -> None:
    values = file["X/data"][:]
    del file["X/data"]
    file["X/data"] = np.array([b"x"] * len(values))


def no_indices(file: h5py.File) -> None:
    del file["X/indices"]


def repeated_values(file: h5py.File) -> None:
    num = len(file["X/data"])
    pointers = file["X/indptr"][:]
    pointers[1:] = num
    file["X/indptr"][...] = pointers


@pytest.mark.parametrize(
    "damage", [unknown_column, unknown_matrix, shape_of_matrix, real_indices, words, no_indices, repeated_values]
)
def test_other_damage_is_one_sentence(tmp_path: Path, damage: Callable[[h5py.File], None]) -> None:
    path = saved(cells(), tmp_path)
    with h5py.File(path, "r+") as file:
        damage(file)
    if damage is repeated_values:
        with pytest.raises(AeframeError, match="claim more values in a row than its 7 genes"):
            dataset(path, backed=True).load()
        return
    for message in refusals(path):
        assert str(path) in message
        assert "\n" not in message
        assert "Traceback" not in message


def test_names_of_a_file_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    adata = cells()
    adata.obs_names = ["\x1b[31mred"] + [f"c{row}" for row in range(1, 40)]
    adata.X = csr_matrix(np.where(np.arange(40)[:, None] == 0, 0, adata.X.toarray()))
    with pytest.raises(AeframeError) as caught:
        Omics().prepare(dataset(saved(adata, tmp_path)))
    assert "cell '\\x1b[31mred' (row 0) is empty" in str(caught.value)
