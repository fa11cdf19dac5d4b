"""Tests of series in memory: `aeframe.fit(x, modality="series")`, and preparing and restoring series in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from series_files import NAMES, csv, hours, values

import aeframe
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe.errors import AeframeError
from aeframe_series.in_memory import SeriesInMemory
from aeframe_series.modality import Series

torch.set_num_threads(1)


def fit(x: Any, folder: Path, **settings: Any) -> Any:
    return aeframe.fit(
        x,
        **{"model": "vae", "latent": {"dim": 2}, "encoder": "mlp", "batch_size": 8, **settings},
        modality={"name": "series", "window": 8},
        max_batches=2,
        max_epochs=1,
        pictures=False,
        trainer={"accelerator": "cpu", "threads": 1},
        folder=folder / "run",
    )


def dataset(x: Any, y: Any = None, validation: Any = None, **options: Any) -> SeriesInMemory:
    by_split = {"train": aeframe.Samples(x, y)}
    if validation is not None:
        by_split["validation"] = aeframe.Samples.of(validation)
    return SeriesInMemory(SampleSplits(by_split), **options)


def frame(num: int = 100, time: str | None = "date") -> pd.DataFrame:
    table = pd.DataFrame(values(num), columns=list(NAMES))
    if time is None:
        return table
    return table.assign(**{time: pd.to_datetime(hours(num))})


def counting(*lengths: int) -> list[NDArray[np.float32]]:
    """Return recordings with one column, in which recording k has the values 1000 k, 1000 k + 1, ..."""
    return [np.float32(1000 * k + np.arange(length))[:, None] for k, length in enumerate(lengths)]


def windows(x: list[NDArray[np.float32]], **options: Any) -> list[NDArray[np.float32]]:
    """Return the unscaled windows ``(W, T)`` of each split."""
    splits = Series(window=8, scale="none").prepare(dataset(x, **options))
    sources = (splits.train, splits.validation, splits.test)
    return [source.batch(torch.arange(len(source))).x[:, 0].numpy() for source in sources]


# -- one recording -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["array", "tensor", "frame", "index", "named", "polars", "list"])
def test_each_form_trains(form: str, tmp_path: Path) -> None:
    data: dict[str, Any] = {}
    x: Any = values()
    if form == "tensor":
        x = torch.from_numpy(x)
    elif form == "list":
        x = [values(60), values(50)]
    elif form in ("frame", "index", "polars"):
        x = frame()
        x = x.set_index("date") if form == "index" else x
        x = pytest.importorskip("polars").from_pandas(x) if form == "polars" else x
    elif form == "named":
        x, data = frame(time="when"), {"data": {"time": "when"}}
    model = fit(x, tmp_path, **data).model
    assert model.config["data"]["name"] == "series_in_memory"
    prepared = model.prepare(x)
    assert prepared.x.shape == (15 if form == "list" else 13, 3, 8)
    assert model.modality.time == {"frame": "date", "index": "date", "polars": "date", "named": "when"}.get(form)
    assert model.encode(prepared).isfinite().all()


def test_a_frame_is_prepared_like_a_file(tmp_path: Path) -> None:
    model = fit(frame(), tmp_path, validation=0.3).model
    assert {split: len(rows) for split, rows in model.data.split.items()} == {"train": 50, "validation": 30, "test": 20}
    read = model.modality.read(csv(tmp_path))
    for x in (frame(), frame()[["c", "date", "a", "b"]].assign(extra="text"), frame().set_index("date")):
        prepared = model.prepare(x)
        assert prepared.x.equal(read.x)
        assert prepared.mask.equal(read.mask)
    restored = model.restore(read.x)
    assert list(restored.columns) == list(NAMES)
    assert np.allclose(restored[:100], values(), rtol=1e-5)
    disordered = frame()
    disordered.loc[3, "date"] = disordered.loc[2, "date"]
    with pytest.raises(AeframeError, match=r"^x, row 3: time '2016-07-01T02:00:00\.\d+' repeats that of row 2"):
        model.prepare(disordered)
    with pytest.raises(AeframeError, match="has no column 'a' for columns, did you mean 'aa'"):
        model.prepare(frame().rename(columns={"a": "aa"}))
    with pytest.raises(AeframeError) as error:
        model.prepare(frame(5))
    assert str(error.value) == "x has 5 rows, expected at least one window of 8; use a longer series"


def test_the_splits_and_scale_are_those_of_a_file(tmp_path: Path) -> None:
    from series_files import dataset as file_dataset

    modality, same = Series(window=8), Series(window=8)
    splits = modality.prepare(dataset(frame()))
    expected = same.prepare(file_dataset(csv(tmp_path)))
    assert str(modality.state()) == str(same.state())
    for split in ("train", "validation", "test"):
        source, other = getattr(splits, split), getattr(expected, split)
        index = torch.arange(len(other))
        assert source.batch(index).x.equal(other.batch(index).x)
        assert source.batch(index).index.equal(other.batch(index).index)


@pytest.mark.parametrize("kind", ["array", "column"])
def test_y_flags_known_anomalies(kind: str, tmp_path: Path) -> None:
    flags = np.arange(100) % 10 == 0
    x = frame().assign(odd=flags.astype(int)) if kind == "column" else frame()
    model = fit(x, tmp_path, y="odd" if kind == "column" else flags).model
    assert model.modality.columns == NAMES
    train = Series(window=8).prepare(dataset(x, "odd" if kind == "column" else flags)).train
    assert train.batch(torch.tensor([0])).extras["anomaly"].tolist() == [flags[:8].tolist()]
    with pytest.raises(AeframeError) as error:
        dataset(values(), np.arange(100))
    assert str(error.value) == (
        "fit: x: y flags known anomalies by 0 and 1, one for each of the 100 time steps, found 2"
    )


# -- several recordings ------------------------------------------------------------------------------------------------


def test_few_recordings_are_each_split_in_temporal_order() -> None:
    train, validation, test = windows(counting(100, 60))
    assert sorted(train[:, 0]) == [*range(53), *range(1000, 1029)]
    assert sorted(validation[:, 0]) == [*range(60, 73), *range(1036, 1041)]
    assert sorted(test[:, 0]) == [*range(80, 93), *range(1048, 1053)]
    for split in (train, validation, test):
        assert (np.diff(split, axis=1) == 1).all()


def test_whole_recordings_are_split_if_there_are_ten() -> None:
    x = counting(*range(20, 30))
    splits = windows(x, split_seed=3)
    recordings = [set((split // 1000).ravel().tolist()) for split in splits]
    assert [len(numbers) for numbers in recordings] == [6, 2, 2]
    assert set.union(*recordings) == set(range(10))
    for split in splits:
        assert (np.diff(split, axis=1) == 1).all()
    assert sum(len(split) for split in splits) == sum(len(recording) - 7 for recording in x)


def test_held_out_recordings_are_not_joined_with_others() -> None:
    train, validation, test = windows(counting(100), validation=counting(10, 20, 30)[1:])
    assert sorted(train[:, 0]) == [*range(73)]
    assert sorted(validation[:, 0]) == [*range(1000, 1013), *range(2000, 2023)]
    assert sorted(test[:, 0]) == [*range(80, 93)]


def test_times_and_gaps_are_those_of_each_recording() -> None:
    first, second = frame(60), frame(60)
    second = second.drop(index=range(20, 30))
    modality = Series(window=8, cut_gaps=True)
    data = dataset([first, second])
    recording = data.load()
    assert recording.starts.tolist() == [0, 60]
    splits = {split: segments.tolist() for split, segments in recording.splits.items()}
    assert splits == {"train": [[0, 36], [60, 90]], "validation": [[36, 48], [90, 100]], "test": [[48, 60], [100, 110]]}
    train = modality.prepare(data).train
    assert len(train) == (36 - 7) + (20 - 7) + (10 - 7)
    second.iloc[5, 3] = second.iloc[4, 3]
    with pytest.raises(AeframeError) as error:
        modality.prepare(dataset([first, second]))
    assert str(error.value).startswith("fit: x (all recordings one after another), row 65: time ")
    assert "repeats that of row 64; " in str(error.value)
    skipping = Series(window=8, on_error="skip")
    assert len(skipping.prepare(dataset([first, second])).train) == (36 - 7) + (29 - 7)


def test_only_a_list_of_tables_selects_the_modality() -> None:
    assert memory_dataset(counting(20, 30), None) == "series_in_memory"
    assert memory_dataset(values(), None) == "vector_in_memory"
    assert memory_dataset(values(), "series") == "series_in_memory"
    assert not SeriesInMemory.accepts([np.zeros((8, 8), np.uint8)] * 2)
    assert not SeriesInMemory.accepts([np.zeros((8, 2)), np.zeros((8, 3))])
    assert not SeriesInMemory.accepts(["text"])


def test_errors_say_what_to_pass() -> None:
    def message(*args: Any, **fields: Any) -> str:
        with pytest.raises(AeframeError) as error:
            SeriesInMemory(SampleSplits({"train": aeframe.Samples(*args, **fields)}))
        return str(error.value)

    assert message(values(), condition=np.zeros(100)) == (
        "fit: condition has a value for each sample, and the samples of modality 'series' are windows that are cut "
        "from x; leave condition out"
    )
    assert message(counting(20, 30), np.zeros(50)) == (
        "fit: y of several recordings is a list of arrays, one for each; pass y=[...]"
    )
    assert message(counting(20, 30), [np.zeros(20)]) == (
        "fit: y is a list of 1, and x of 2 recordings; pass one array for each"
    )
    assert message([np.zeros((20, 1)), np.zeros((20, 2))]) == (
        "fit: x[1] has 2 columns, expected 1 as in the first recording"
    )
    assert message(np.zeros((5, 20, 2, 1))) == (
        "fit: x is numpy.ndarray of shape (5, 20, 2, 1), expected a series (time steps, columns); pass a list of "
        "several"
    )
    assert message(frame(), "od") == ("fit: y='od' is no column of x; its columns are a, b, c, date")
    with pytest.raises(AeframeError, match="fit: x has no column 'dat' for time, did you mean 'date'"):
        dataset(frame(), time="dat")
    with pytest.raises(
        AeframeError, match="validation split has 6 rows in its longest series, expected at least one window of 8"
    ):
        windows(counting(30, 30))
