"""The modality: what it learns and keeps, and what it reads, writes and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from series_files import NAMES, csv, dataset, hours, values

from aeframe import AeframeError
from aeframe.data.modality import Splits
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.types import Batch, DataSpec, Domain
from aeframe_series.modality import Series
from aeframe_series.simulated import SeriesSimulated


def prepared(path: Path, *, data: dict[str, Any] | None = None, **options: Any) -> tuple[Series, Splits]:
    modality = Series(**{"window": 5, **options})
    return modality, modality.prepare(dataset(path, **(data or {})))


def reopened(modality: Series, **options: Any) -> Series:
    """The same out of a saved model."""
    again = Series(**{"window": 5, **options})
    again.load_state(modality.state())
    return again


def every(source: Any) -> Batch:
    return source.batch(torch.arange(len(source)))


# -- training ----------------------------------------------------------------------------------------------------


def test_windows_of_each_split_scaled_by_the_training_rows_alone(tmp_path: Path) -> None:
    path = csv(tmp_path)
    modality, splits = prepared(path, stride=4)
    assert modality.spec(dataset(path)) == DataSpec((3, 5), Domain("real"))
    train = values()[:60]
    scaled = (values() - train.mean(0)) / train.std(0)
    for split, first, end in (("train", 0, 60), ("validation", 60, 80), ("test", 80, 100)):
        batch, starts = every(getattr(splits, split)), range(first, end - 4, 4)
        assert batch.index is not None
        assert batch.index.tolist() == list(starts), split
        expected = np.stack([scaled[start : start + 5].T for start in starts])
        assert batch.x.numpy() == pytest.approx(expected, abs=1e-5)
        assert batch.x.dtype == torch.float32


def test_minmax_and_no_scale(tmp_path: Path) -> None:
    _, splits = prepared(csv(tmp_path), scale="minmax", stride=1)
    x = every(splits.train).x
    assert float(x.min()) == pytest.approx(0, abs=1e-6)
    assert float(x.max()) == pytest.approx(1, abs=1e-6)
    _, splits = prepared(csv(tmp_path), scale="none")
    assert splits.train.batch(torch.tensor([0])).x[0].T.numpy() == pytest.approx(values()[:5], rel=1e-6)


def test_missing_values_are_a_mask_of_their_own(tmp_path: Path) -> None:
    rows = values()
    rows[10:13, 1] = np.nan
    modality, splits = prepared(csv(tmp_path, rows), missing="mask")
    batch = splits.train.batch(torch.tensor([9, 30]))
    assert batch.mask is not None
    assert (~batch.mask).nonzero().tolist() == [[0, 1, 1], [0, 1, 2], [0, 1, 3]]
    assert batch.x[0, 1, 1:4].tolist() == [0, 0, 0]
    # They are no part of the mean, either.
    assert modality.in_unit(np.zeros((1, 3)))[0] == pytest.approx(np.nanmean(rows[:60], 0))


def test_the_loss_leaves_out_what_is_missing_and_counts_what_is_hidden(tmp_path: Path) -> None:
    rows = values()
    rows[10:13, 1] = np.nan
    _, splits = prepared(csv(tmp_path, rows), missing="mask", window=20)
    batch = splits.train.batch(torch.tensor([5]))
    spec = DataSpec((3, 20), Domain("real"))
    spans = build("corruption", {"name": "spans", "ratio": 0.3, "length": 3}, shape=spec.shape, domain=spec.domain)
    torch.manual_seed(0)
    seen = spans(batch)
    assert seen.mask is not None
    assert batch.mask is not None
    assert int((~batch.mask).sum()) == 3
    assert int((~seen.mask).sum()) > 3
    # To rebuild nothing but zeros costs the squares of every value that is there, hidden or not.
    loss = build("loss", "mse", shape=spec.shape, domain=spec.domain)
    cost = loss(torch.zeros(1, 1, 3, 20), batch)
    assert float(cost) == pytest.approx(float(batch.x.square().sum()), rel=1e-6)
    junk = batch.x.masked_fill(~batch.mask, 1e6)
    assert torch.equal(loss(torch.zeros(1, 1, 3, 20), batch.with_x(junk)), cost)


def test_skipped_rows_are_listed(tmp_path: Path) -> None:
    rows, dates = values(), hours(100)
    rows[30, 2] = np.nan
    rows[32, 0] = np.inf
    dates[50] = dates[49]
    dates[51] = "2016-07-01 12:30:00"
    modality, splits = prepared(csv(tmp_path, rows, dates=dates), on_error="skip")
    assert splits.skipped == [
        "a.csv, line 52: time '2016-07-03 01:00:00' is there already, in line 51; the row is left out",
        "a.csv, line 53: time '2016-07-01 12:30:00' comes after '2016-07-03 01:00:00', so the rows are not in order; "
        "the row is left out",
        "a.csv, line 32, column 'c': the value is missing (NaN); the windows that hold it are left out",
        "a.csv, line 34, column 'a': the value is infinite; the windows that hold it are left out",
    ]
    index = every(splits.train).index
    assert index is not None
    # Rows 50 and 51 are gone, and a window goes on after them; rows 30 and 32 are in no window.
    assert index.tolist() == [*range(26), *range(33, 50), *range(52, 56)]
    window = splits.train.batch(torch.tensor([index.tolist().index(48)])).x[0].T
    kept = [48, 49, 52, 53, 54]
    assert modality.in_unit(window.numpy()) == pytest.approx(rows[kept], rel=1e-5)
    # The same splits by row: what is left out of one moves no other.
    first = every(splits.validation).index
    assert first is not None
    assert int(first[0]) == 60


def test_a_split_of_nothing_but_bad_rows(tmp_path: Path) -> None:
    rows = values()
    rows[60:80:4] = np.nan
    with pytest.raises(AeframeError) as caught:
        prepared(csv(tmp_path, rows), on_error="skip")
    assert str(caught.value) == (
        "a.csv: no window of 5 rows in the validation split is without a gap or a row that is left out; lower "
        "modality.window, or set modality.missing=mask"
    )


def test_no_window_reaches_over_a_gap(tmp_path: Path) -> None:
    dates = hours(120)
    path = csv(tmp_path, dates=[*dates[:30], *dates[50:]])
    _, splits = prepared(path, cut_gaps=True)
    index = every(splits.train).index
    assert index is not None
    assert index.tolist() == [*range(26), *range(30, 56)]
    assert len(prepared(path)[1].train) == 56
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(AeframeError) as caught:
        prepared(tmp_path / "a.npy", cut_gaps=True)
    assert str(caught.value) == "a.npy has no times to find gaps by; name their column with data.time"


def test_known_anomalies_come_with_the_windows(tmp_path: Path) -> None:
    data = SeriesSimulated(rows=300, anomalies=2)
    modality = Series(window=8, stride=8)
    assert dict(modality.spec(data).extras) == {"anomaly": (8,), "label": ()}
    splits = modality.prepare(data)
    assert int(every(splits.train).extras["anomaly"].sum()) == 0
    test = every(splits.test)
    # A spike of one moment, and a shift of twelve.
    assert int(test.extras["anomaly"].sum()) == 13
    assert torch.equal(test.extras["label"].bool(), test.extras["anomaly"].any(1))
    assert dict(modality.spec(SeriesSimulated(anomalies=0)).extras) == {}


def test_sizes_that_make_no_windows() -> None:
    with pytest.raises(AeframeError) as caught:
        Series(window=1)
    assert str(caught.value) == (
        "modality series needs a window of at least 2 and a stride of at least 1, found 1 and 1"
    )


def test_a_value_too_large(tmp_path: Path) -> None:
    rows = values()
    rows[3, 0] = 1e300
    with pytest.raises(AeframeError) as caught:
        prepared(csv(tmp_path, rows), scale="none")
    assert str(caught.value) == (
        "a.csv, line 5, column 'a': 1e+300 is too large for single precision; set modality.scale=standard, or mend it"
    )


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.npy", "x.npz", "x.parquet"])
def test_what_is_written_is_in_the_unit_of_the_file_and_read_as_it_was(tmp_path: Path, name: str) -> None:
    modality = reopened(prepared(csv(tmp_path))[0])
    batch = modality.read(tmp_path / "a.csv")
    assert batch.x.shape == (20, 3, 5)
    assert batch.index is not None
    assert batch.index.tolist() == list(range(0, 100, 5))
    (path,) = modality.write(batch.x, tmp_path / name)
    again = modality.read(path)
    assert torch.allclose(again.x, batch.x, atol=1e-5)
    assert again.mask is None
    if name == "x.npz":
        assert np.load(path)["x"] == pytest.approx(values(), rel=1e-5)
    if name == "x.csv":
        assert path.read_text().splitlines()[0] == "a,b,c"
    with pytest.raises(AeframeError) as caught:
        modality.write(batch.x, path)
    assert str(caught.value) == f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere"
    with pytest.raises(AeframeError, match=r"^'x\.wav' has suffix '\.wav', expected one of "):
        modality.write(batch.x, tmp_path / "x.wav")
    assert not list(tmp_path.glob(".partial*"))


def test_columns_are_found_by_name_and_the_end_is_filled_up(tmp_path: Path) -> None:
    modality = reopened(prepared(csv(tmp_path))[0])
    rows = values(12)
    lines = [f"{row[2]},x,{row[0]},{row[1]}" for row in rows.tolist()]
    path = tmp_path / "other.csv"
    path.write_text("\n".join(["c,who,a,b", *lines]))
    batch = modality.read(path)
    assert batch.x.shape == (3, 3, 5)
    assert batch.mask is not None
    assert batch.mask[:2].all()
    assert batch.mask[2].tolist() == [[True, True, False, False, False]] * 3
    flat = batch.x.transpose(1, 2).flatten(0, 1)[:12].numpy()
    assert modality.in_unit(flat) == pytest.approx(rows, rel=1e-4)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    modality = reopened(prepared(csv(tmp_path))[0])

    def refusal(path: Path) -> str:
        with pytest.raises(AeframeError) as caught:
            modality.read(path)
        return str(caught.value)

    assert refusal(csv(tmp_path, values(4), name="short.csv")) == (
        "'short.csv' has 4 rows, expected at least one window of 5; give a longer series"
    )
    assert refusal(csv(tmp_path, values()[:, :2], name="two.csv")) == (
        "'two.csv' has no column 'c' for columns; its columns are date, a, b"
    )
    np.save(tmp_path / "two.npy", values()[:, :2])
    assert refusal(tmp_path / "two.npy") == "'two.npy' has 2 columns, expected 3 as in training"
    rows = values()
    rows[3, 0] = np.nan
    assert refusal(csv(tmp_path, rows, name="nan.csv")).startswith("nan.csv, line 5, column 'a': the value is missing")
    dates = hours(100)
    dates[4] = dates[3]
    assert refusal(csv(tmp_path, dates=dates, name="twice.csv")).startswith("twice.csv, line 6: time '2016-07-01 03:")


def test_state_comes_back(tmp_path: Path) -> None:
    modality, _ = prepared(csv(tmp_path))
    again = reopened(modality)
    assert str(again.state()) == str(modality.state())
    assert again.columns == NAMES
    assert again.time == "date"
    np.save(tmp_path / "a.npy", values())
    assert reopened(prepared(tmp_path / "a.npy")[0]).columns == ("0", "1", "2")


# -- pictures ----------------------------------------------------------------------------------------------------


def test_originals_and_reconstructions_are_drawn_over_each_other(tmp_path: Path) -> None:
    modality, splits = prepared(csv(tmp_path), scale="standard")
    x = splits.test.batch(torch.arange(10)).x
    figure = modality.render({"original": x, "reconstruction": x * 0})
    axes = figure.axes
    assert [each.get_ylabel() for each in axes] == ["a", "b", "c"]
    original, reconstruction = axes[0].get_lines()
    # Four of ten windows side by side, in the unit of the file: what is 0 in the scaled one is the mean.
    starts = (80, 83, 86, 89)
    drawn = np.asarray(original.get_ydata()).reshape(4, 6)
    assert drawn[:, :5] == pytest.approx(np.stack([values()[start : start + 5, 0] for start in starts]), rel=1e-4)
    assert np.isnan(drawn[:, 5]).all()
    flat = np.asarray(reconstruction.get_ydata()).reshape(4, 6)[:, :5]
    assert flat == pytest.approx(np.full((4, 5), values()[:60, 0].mean()), rel=1e-4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["original", "reconstruction"]
    assert [text.get_text() for text in axes[0].texts] == ["sample 1", "sample 4", "sample 7", "sample 10"]


def test_other_panels_are_rows_and_one_is_several(tmp_path: Path) -> None:
    modality, splits = prepared(csv(tmp_path))
    x = splits.test.batch(torch.arange(10)).x
    rows = modality.render({"one": x, "two": x[:7]})
    assert [axes.get_title(loc="left") for axes in rows.axes] == ["one", "two"]
    assert [len(axes.get_lines()) for axes in rows.axes] == [3, 3]
    assert [len(axes.get_lines()[0].get_xdata()) for axes in rows.axes] == [60, 42]
    grid = modality.render({"samples": x})
    assert [len(axes.get_lines()[0].get_xdata()) for axes in grid.axes] == [24, 24, 12]


# -- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["conv", "resnet", "vit", "mlp"])
def test_networks_of_the_house_take_windows_whose_values_are_missing(tmp_path: Path, encoder: str) -> None:
    rows = values()
    rows[::7, 1] = np.nan
    modality, splits = prepared(csv(tmp_path, rows), missing="mask", window=16)
    spec = modality.spec(dataset(tmp_path / "a.csv"))
    parts = {"latent": {"name": "point", "dim": 3}, "decoder": "mirror", "loss": "mse", "objective": "deterministic"}
    config = {"activation": "relu", "corruption": "none", "prior": "normal", "penalties": {}, **parts}
    model = assemble({**config, "encoder": {"name": encoder}}, spec)
    batch = splits.train.batch(torch.arange(6))
    p = model(batch)
    assert p.reconstruction.isfinite().all()
    # One by one as together.
    model.eval()
    alone = torch.cat([model(batch.rows(slice(row, row + 1))).reconstruction for row in range(6)])
    assert torch.allclose(alone, model(batch).reconstruction, rtol=1e-4)
