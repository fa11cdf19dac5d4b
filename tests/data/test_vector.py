from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from aeframe.data import Dataset, Source
from aeframe.data.tables import Rows, write_rows
from aeframe.data.tabular import RowSplits
from aeframe.data.vector import BreastCancer, Numbers, Vector
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.testing.saved_state import assert_state_restores_data
from aeframe.types import Batch, DataSpec, Domain


class InMemory(Dataset):
    """The same rows for each split."""

    modality = "vector"

    def __init__(self, values: Any, *, test: Any = None) -> None:
        self.values = np.asarray(values)
        self.test = self.values if test is None else np.asarray(test)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": self.values.shape[1:]}

    def load(self) -> RowSplits:
        rows = Rows(self.values, "rows.npy")
        return RowSplits(rows, rows, Rows(self.test, "test.npy"))


def all_rows(source: Source) -> Batch:
    return source.batch(torch.arange(len(source)))


def x_of(modality: Vector, values: Any, *, test: Any = None) -> Tensor:
    return all_rows(modality.prepare(InMemory(values, test=test)).test).x


# -- preparing -------------------------------------------------------------------------------------------------------


def test_scaling_is_fitted_on_training_rows() -> None:
    modality = Vector()
    splits = modality.prepare(BreastCancer())
    train, test = all_rows(splits.train), all_rows(splits.test)
    torch.testing.assert_close(train.x.mean(0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.x.std(0, correction=0), torch.ones(30), atol=1e-5, rtol=0)
    assert test.x.mean(0).abs().max() > 0.01
    raw = BreastCancer().load()
    assert raw.test.index is not None
    expected = (raw.test.values - raw.train.values.mean(0)) / raw.train.values.std(0)
    np.testing.assert_allclose(test.x, expected, rtol=1e-4, atol=1e-5)
    assert test.index is not None
    assert test.index.tolist() == raw.test.index.tolist()
    assert set(test.extras) == {"label"}
    assert set(test.extras["label"].tolist()) == {0, 1}
    assert splits.train.in_memory


def test_the_spec_is_known_before_the_data_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((500, 4, 3)))
    path.write_bytes(path.read_bytes()[:300])
    assert Vector(domain="unit", scale="none").spec(Numbers(path=str(path))) == DataSpec((4, 3), Domain("unit"))


def test_minmax_clips_held_out_values_at_the_bounds() -> None:
    train, test = [[0.0, 10], [5, 10], [10, 10]], [[-5.0, 10], [2.5, 11], [20, 9]]
    unit = x_of(Vector(domain="unit", scale="minmax"), train, test=test)
    assert unit.tolist() == [[0, 0], [0.25, 1], [1, 0]]
    signed = x_of(Vector(domain="signed", scale="minmax"), train, test=test)
    assert signed.tolist() == [[-1, -1], [-0.5, 0], [1, -1]]
    real = x_of(Vector(domain="real", scale="minmax"), train, test=test)
    assert real.tolist() == [[-0.5, 0], [0.25, 1], [2, -1]]


def test_missing_values_are_masked() -> None:
    values = [[1.0, 5], [np.nan, 7], [3, np.nan]]
    batch = all_rows(Vector(missing="mask").prepare(InMemory(values)).test)
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, True], [False, True], [True, False]]
    # Statistics are those of the values that are there; missing ones are 0.
    torch.testing.assert_close(batch.x, torch.tensor([[-1.0, -1], [0, 1], [1, 0]]))
    assert all_rows(Vector().prepare(InMemory([[1.0], [2]])).test).mask is None


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        ("unit", [[0, 0.5], [1, 0.2]]),
        ("signed", [[-1, 0.5], [1, 0.2]]),
        ("binary", [[0, 1], [1, 0]]),
        ("count", [[0, 7], [12, 3]]),
        ("category(4)", [[0, 3], [2, 1]]),
        ("simplex", [[0.25, 0.75], [1, 0]]),
    ],
)
def test_valid_values_of_each_domain(domain: str, values: list[list[float]]) -> None:
    x = x_of(Vector(domain=domain, scale="none"), values)
    assert x.dtype == (torch.int64 if domain.startswith("category") else torch.float32)
    np.testing.assert_allclose(x, values)


def test_values_of_any_shape_and_dtype() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    x = x_of(Vector(domain="count", scale="none"), values)
    assert x.shape == (2, 3, 4)
    assert x.dtype == torch.float32


SKIP = "leave the row out with modality.on_error=skip"
NEXT_STEP = f"correct it, {SKIP}, or set another modality.domain"


@pytest.mark.parametrize(
    ("domain", "bad", "message"),
    [
        ("real", [[1, 2], [3, np.nan]], (
            f"test.npy, row 1, column 1: the value is missing (NaN); fill it, {SKIP}, or set modality.missing=mask to "
            "leave the value out"
        )),
        ("real", [[1, 2], [-np.inf, 3]], (
            f"test.npy, row 1, column 0: the value is infinite; correct it, or {SKIP}"
        )),
        ("real", [[1, 2], [3, 1e39]], (
            "test.npy, row 1, column 1: 1e+39 is too large for single precision (at most 3.4e+38); "
            f"correct it, or {SKIP}"
        )),
        ("unit", [[0, 1], [0.5, 1.5]], f"test.npy, row 1, column 1: 1.5 is outside domain 'unit'; {NEXT_STEP}"),
        ("count", [[0.5, 1], [2, 3]], f"test.npy, row 0, column 0: 0.5 is outside domain 'count'; {NEXT_STEP}"),
        ("binary", [[0, 1], [2, 1]], f"test.npy, row 1, column 0: 2 is outside domain 'binary'; {NEXT_STEP}"),
        ("category(3)", [[0, 3], [2, 1]], f"test.npy, row 0, column 1: 3 is outside domain 'category(3)'; {NEXT_STEP}"),
        ("simplex", [[0, 1], [0.6, 0.6]], (
            "test.npy, row 1: the values are outside domain 'simplex' (each at least 0, and a sum of one); "
            f"correct them, {SKIP}, or set another modality.domain"
        )),
    ],
)  # fmt: skip
def test_invalid_values_are_located(domain: str, bad: Any, message: str) -> None:
    good = [[0.0, 1], [1, 0]]
    with pytest.raises(AeframeError) as refused:
        Vector(domain=domain, scale="none").prepare(InMemory(good, test=bad))
    assert str(refused.value) == message


def test_the_element_of_a_larger_shape_is_named() -> None:
    values = np.zeros((2, 3, 4))
    values[1, 2, 3] = np.inf
    with pytest.raises(AeframeError) as refused:
        Vector(missing="mask").prepare(InMemory(values))
    assert str(refused.value) == f"rows.npy, row 1, element (2, 3): the value is infinite; correct it, or {SKIP}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "count"}, (
            "modality vector: scale=standard returns values outside domain 'count'; set modality.scale=none"
        )),
        ({"domain": "unit"}, (
            "modality vector: scale=standard returns values outside domain 'unit'; "
            "set modality.scale=minmax or none"
        )),
        ({"domain": "binary", "scale": "minmax"}, (
            "modality vector: scale=minmax returns values outside domain 'binary'; set modality.scale=none"
        )),
        ({"domain": "simplex", "scale": "none", "missing": "mask"}, (
            "modality vector: missing=mask is not available for domain 'simplex', since values must sum to one; "
            "set modality.missing=refuse"
        )),
        ({"scale": "robust"}, (
            "modality 'vector': option 'scale' expects Literal['none', 'standard', 'minmax'], found 'robust' "
            "(Input should be 'none', 'standard' or 'minmax')"
        )),
    ],
)  # fmt: skip
def test_errors_of_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(AeframeError) as refused:
        build("modality", {"name": "vector", **options})
    assert str(refused.value) == message


def test_a_dataset_of_another_modality_is_refused() -> None:
    class Pictures(InMemory):
        modality = "image"

        def load(self) -> Any:
            return {"x": 1}

    with pytest.raises(AeframeError) as refused:
        Vector().prepare(Pictures([[1.0]]))
    assert str(refused.value) == (
        "modality vector reads RowSplits, and dataset Pictures loads dict; "
        "choose a dataset of this modality, or modality=image"
    )


# -- state and files ----------- -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
def test_a_round_trip_of_the_state(scale: Literal["none", "standard", "minmax"], tmp_path: Path) -> None:
    trained = Vector(scale=scale)
    splits = trained.prepare(BreastCancer())
    state = trained.state()
    plain = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    # As a saved model keeps it: tensors in one file, JSON in another.
    tensors = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
    again = Vector(scale=scale)
    again.load_state({**json.loads(json.dumps(plain)), **tensors})
    [path] = trained.write(all_rows(splits.test).x, tmp_path / "test.csv")
    torch.testing.assert_close(again.read(path).x, all_rows(splits.test).x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npy", ".npz", ".parquet"])
def test_writing_inverts_the_scaling(suffix: str, tmp_path: Path) -> None:
    modality = Vector()
    splits = modality.prepare(BreastCancer())
    raw = BreastCancer().load().test.values
    path = tmp_path / f"test{suffix}"
    assert modality.write(all_rows(splits.test).x, path) == [path]
    batch = modality.read(path)
    torch.testing.assert_close(batch.x, all_rows(splits.test).x, rtol=1e-6, atol=1e-6)
    assert batch.index is not None
    assert batch.index.tolist() == list(range(57))
    if suffix == ".npy":
        np.testing.assert_allclose(np.load(path), raw, rtol=1e-5, atol=1e-6)


def trained_on(folder: Path, content: str, **options: Any) -> Vector:
    path = folder / "train.csv"
    path.write_text(content + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(20)))
    modality = Vector(scale="none")
    modality.prepare(Numbers(path=str(path), **options))
    return modality


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    modality = trained_on(tmp_path, "age,height,kind\n", label="kind")
    path = tmp_path / "new.csv"
    path.write_text("note,height,age\nhello,1.5,30\n")
    assert modality.read(path).x.tolist() == [[30, 1.5]]
    path.write_text("heigth,age\n1.5,30\n")
    with pytest.raises(AeframeError) as refused:
        modality.read(path)
    assert str(refused.value) == (
        "'new.csv' has no column 'height' for columns, did you mean 'heigth'?; its columns are heigth, age"
    )


def test_without_names_the_shape_must_be_that_of_training(tmp_path: Path) -> None:
    modality = trained_on(tmp_path, "age,height,kind\n", label="kind")
    path = tmp_path / "new.csv"
    path.write_text("30,1.5\n")
    assert modality.read(path).x.tolist() == [[30, 1.5]]
    path.write_text("30,1.5,0\n")
    with pytest.raises(AeframeError) as refused:
        modality.read(path)
    assert str(refused.value) == "'new.csv' has rows of shape (3,), expected (2,) as in training"


def test_a_file_that_is_read_is_checked_as_in_training(tmp_path: Path) -> None:
    modality = trained_on(tmp_path, "age,height,kind\n")
    path = tmp_path / "new.csv"
    path.write_text("age,height,kind\n1,2,3\n1,,3\n")
    with pytest.raises(AeframeError) as refused:
        modality.read(path)
    assert str(refused.value) == (
        "new.csv, line 3, column 'height': the value is missing (NaN); fill it, or leave the row out with on_error=skip"
    )


def test_reading_before_training_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has no state yet"):
        Vector().read(tmp_path / "x.csv")
    with pytest.raises(RuntimeError, match="has no state yet"):
        Vector().state()


# -- figures ---------------------------------------------------------------------------------------------------------


def test_a_picture_shows_rows_with_their_names() -> None:
    modality = Vector()
    x = all_rows(modality.prepare(BreastCancer()).test).x[:8]
    figure = modality.render({"original": x, "reconstruction": x * 0.8})
    assert figure.axes[1].get_xticklabels()[0].get_text() == "mean radius"
    assert figure.axes[2].get_ylabel() == "standard deviations from the mean"
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    buffer.seek(0)
    assert imread(buffer).ndim == 3


@pytest.mark.parametrize("options", [{}, {"scale": "minmax", "domain": "unit"}, {"missing": "mask"}])
def test_rows_that_are_added_change_neither_scale_nor_split(tmp_path: Path, options: dict[str, Any]) -> None:
    path, values = tmp_path / "a.npy", np.random.default_rng(0).normal(size=(60, 3))
    np.save(path, values[:40])
    added = np.concatenate([values[:40], 50 + 20 * values[40:]])
    splits = assert_state_restores_data(
        lambda: Vector(**options), lambda: Numbers(path=path), change=lambda: np.save(path, added)
    )
    assert len(splits.test) == 4


def test_columns_are_found_by_name_in_changed_data(tmp_path: Path) -> None:
    path, values = tmp_path / "a.csv", np.random.default_rng(0).normal(size=(40, 3))
    write_rows(path, [values], len(values), ("a", "b", "c"))
    assert_state_restores_data(
        Vector,
        lambda: Numbers(path=path),
        change=lambda: write_rows(path, [values[:, [2, 0, 1]]], len(values), ("c", "a", "b")),
    )
    with pytest.raises(AeframeError, match=r"'a.csv' has no column 'b' for columns"):
        assert_state_restores_data(
            Vector, lambda: Numbers(path=path), change=lambda: write_rows(path, [values], len(values), ("a", "x", "c"))
        )
