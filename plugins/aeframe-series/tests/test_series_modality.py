"""The modality `series`: scaling, masks, skipped rows, state, files and plots."""

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


def restored(modality: Series, **options: Any) -> Series:
    """Return a new modality with the state of another."""
    new = Series(**{"window": 5, **options})
    new.load_state(modality.state())
    return new


def all_windows(source: Any) -> Batch:
    return source.batch(torch.arange(len(source)))


# -- training ----------------------------------------------------------------------------------------------------


def test_splits_are_scaled_by_the_training_rows(tmp_path: Path) -> None:
    path = csv(tmp_path)
    modality, splits = prepared(path, stride=4)
    assert modality.spec(dataset(path)) == DataSpec((3, 5), Domain("real"))
    train = values()[:60]
    scaled = (values() - train.mean(0)) / train.std(0)
    for split, first, end in (("train", 0, 60), ("validation", 60, 80), ("test", 80, 100)):
        batch, starts = all_windows(getattr(splits, split)), range(first, end - 4, 4)
        assert batch.index is not None
        assert batch.index.tolist() == list(starts), split
        expected = np.stack([scaled[start : start + 5].T for start in starts])
        assert batch.x.numpy() == pytest.approx(expected, abs=1e-5)
        assert batch.x.dtype == torch.float32


def test_minmax_and_no_scaling(tmp_path: Path) -> None:
    _, splits = prepared(csv(tmp_path), scale="minmax", stride=1)
    x = all_windows(splits.train).x
    assert float(x.min()) == pytest.approx(0, abs=1e-6)
    assert float(x.max()) == pytest.approx(1, abs=1e-6)
    _, splits = prepared(csv(tmp_path), scale="none")
    assert splits.train.batch(torch.tensor([0])).x[0].T.numpy() == pytest.approx(values()[:5], rel=1e-6)


def test_missing_values_are_masked(tmp_path: Path) -> None:
    rows = values()
    rows[10:13, 1] = np.nan
    modality, splits = prepared(csv(tmp_path, rows), missing="mask")
    batch = splits.train.batch(torch.tensor([9, 30]))
    assert batch.mask is not None
    assert (~batch.mask).nonzero().tolist() == [[0, 1, 1], [0, 1, 2], [0, 1, 3]]
    assert batch.x[0, 1, 1:4].tolist() == [0, 0, 0]
    # The mean of the scaler excludes them.
    assert modality.unscale(np.zeros((1, 3)))[0] == pytest.approx(np.nanmean(rows[:60], 0))


def test_loss_excludes_missing_values_and_includes_corrupted_ones(tmp_path: Path) -> None:
    rows = values()
    rows[10:13, 1] = np.nan
    _, splits = prepared(csv(tmp_path, rows), missing="mask", window=20)
    batch = splits.train.batch(torch.tensor([5]))
    spec = DataSpec((3, 20), Domain("real"))
    spans = build("corruption", {"name": "spans", "ratio": 0.3, "length": 3}, shape=spec.shape, domain=spec.domain)
    torch.manual_seed(0)
    corrupted = spans(batch)
    assert corrupted.mask is not None
    assert batch.mask is not None
    assert int((~batch.mask).sum()) == 3
    assert int((~corrupted.mask).sum()) > 3
    # The loss of a zero reconstruction is the sum of squares of all observed values, corrupted or not.
    loss = build("loss", "mse", shape=spec.shape, domain=spec.domain)
    value = loss(torch.zeros(1, 1, 3, 20), batch)
    assert float(value) == pytest.approx(float(batch.x.square().sum()), rel=1e-6)
    changed = batch.x.masked_fill(~batch.mask, 1e6)
    assert torch.equal(loss(torch.zeros(1, 1, 3, 20), batch.with_x(changed)), value)


def test_skipped_rows_are_listed(tmp_path: Path) -> None:
    rows, dates = values(), hours(100)
    rows[30, 2] = np.nan
    rows[32, 0] = np.inf
    dates[50] = dates[49]
    dates[51] = "2016-07-01 12:30:00"
    modality, splits = prepared(csv(tmp_path, rows, dates=dates), on_error="skip")
    assert splits.skipped == [
        "a.csv, line 52: time '2016-07-03 01:00:00' repeats that of line 51; the row is skipped",
        "a.csv, line 53: time '2016-07-01 12:30:00' is earlier than '2016-07-03 01:00:00' in line 51; "
        "the row is skipped",
        "a.csv, line 32, column 'c': the value is missing (NaN); the windows that contain it are skipped",
        "a.csv, line 34, column 'a': the value is infinite; the windows that contain it are skipped",
    ]
    index = all_windows(splits.train).index
    assert index is not None
    # Windows continue across the skipped rows 50 and 51; no window contains rows 30 and 32.
    assert index.tolist() == [*range(26), *range(33, 50), *range(52, 56)]
    window = splits.train.batch(torch.tensor([index.tolist().index(48)])).x[0].T
    window_rows = [48, 49, 52, 53, 54]
    assert modality.unscale(window.numpy()) == pytest.approx(rows[window_rows], rel=1e-5)
    # Skipped rows do not move the other splits.
    first = all_windows(splits.validation).index
    assert first is not None
    assert int(first[0]) == 60


def test_split_with_a_bad_row_in_every_window(tmp_path: Path) -> None:
    rows = values()
    rows[60:80:4] = np.nan
    with pytest.raises(AeframeError) as caught:
        prepared(csv(tmp_path, rows), on_error="skip")
    assert str(caught.value) == (
        "a.csv: every window of 5 rows in the validation split contains a gap, a bad row or the "
        "end of a recording; lower modality.window, or set modality.missing=mask"
    )


def test_no_window_across_a_gap(tmp_path: Path) -> None:
    dates = hours(120)
    path = csv(tmp_path, dates=[*dates[:30], *dates[50:]])
    _, splits = prepared(path, cut_gaps=True)
    index = all_windows(splits.train).index
    assert index is not None
    assert index.tolist() == [*range(26), *range(30, 56)]
    assert len(prepared(path)[1].train) == 56
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(AeframeError) as caught:
        prepared(tmp_path / "a.npy", cut_gaps=True)
    assert str(caught.value) == "a.npy has no times, which cut_gaps requires; name the time column with data.time"


def test_windows_contain_known_anomalies(tmp_path: Path) -> None:
    data = SeriesSimulated(rows=300, anomalies=2)
    modality = Series(window=8, stride=8)
    assert dict(modality.spec(data).extras) == {"anomaly": (8,), "label": ()}
    splits = modality.prepare(data)
    assert int(all_windows(splits.train).extras["anomaly"].sum()) == 0
    test = all_windows(splits.test)
    # A spike of one time step, and a shift of twelve.
    assert int(test.extras["anomaly"].sum()) == 13
    assert torch.equal(test.extras["label"].bool(), test.extras["anomaly"].any(1))
    assert dict(modality.spec(SeriesSimulated(anomalies=0)).extras) == {}


def test_invalid_window() -> None:
    with pytest.raises(AeframeError) as caught:
        Series(window=1)
    assert str(caught.value) == (
        "modality series requires a window of at least 2 and a stride of at least 1, found 1 and 1"
    )


def test_value_too_large_for_float32(tmp_path: Path) -> None:
    rows = values()
    rows[3, 0] = 1e300
    with pytest.raises(AeframeError) as caught:
        prepared(csv(tmp_path, rows), scale="none")
    assert str(caught.value) == (
        "a.csv, line 5, column 'a': 1e+300 is too large for single precision; set modality.scale=standard, or "
        "correct it"
    )


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.npy", "x.npz", "x.parquet"])
def test_written_windows_are_unscaled_and_read_back(tmp_path: Path, name: str) -> None:
    modality = restored(prepared(csv(tmp_path))[0])
    batch = modality.read(tmp_path / "a.csv")
    assert batch.x.shape == (20, 3, 5)
    assert batch.index is not None
    assert batch.index.tolist() == list(range(0, 100, 5))
    (path,) = modality.write(batch.x, tmp_path / name)
    read_back = modality.read(path)
    assert torch.allclose(read_back.x, batch.x, atol=1e-5)
    assert read_back.mask is None
    if name == "x.npz":
        assert np.load(path)["x"] == pytest.approx(values(), rel=1e-5)
    if name == "x.csv":
        assert path.read_text().splitlines()[0] == "a,b,c"
    with pytest.raises(AeframeError) as caught:
        modality.write(batch.x, path)
    assert str(caught.value) == f"'{path}' exists and is not overwritten; remove it, or choose another path"
    with pytest.raises(AeframeError, match=r"^'x\.wav' has suffix '\.wav', expected one of "):
        modality.write(batch.x, tmp_path / "x.wav")
    assert not list(tmp_path.glob(".partial*"))


def test_columns_are_selected_by_name_and_the_last_window_is_padded(tmp_path: Path) -> None:
    modality = restored(prepared(csv(tmp_path))[0])
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
    assert modality.unscale(flat) == pytest.approx(rows, rel=1e-4)


def test_unusable_files(tmp_path: Path) -> None:
    modality = restored(prepared(csv(tmp_path))[0])

    def refusal(path: Path) -> str:
        with pytest.raises(AeframeError) as caught:
            modality.read(path)
        return str(caught.value)

    assert refusal(csv(tmp_path, values(4), name="short.csv")) == (
        "'short.csv' has 4 rows, expected at least one window of 5; use a longer series"
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


def test_state_is_restored(tmp_path: Path) -> None:
    modality, _ = prepared(csv(tmp_path))
    new = restored(modality)
    assert str(new.state()) == str(modality.state())
    assert new.columns == NAMES
    assert new.time == "date"
    np.save(tmp_path / "a.npy", values())
    assert restored(prepared(tmp_path / "a.npy")[0]).columns == ("0", "1", "2")


# -- plots -------------------------------------------------------------------------------------------------------


def test_originals_and_reconstructions_are_overlaid(tmp_path: Path) -> None:
    modality, splits = prepared(csv(tmp_path), scale="standard")
    x = splits.test.batch(torch.arange(10)).x
    figure = modality.render({"original": x, "reconstruction": x * 0})
    axes = figure.axes
    assert [ax.get_ylabel() for ax in axes] == ["a", "b", "c"]
    original, reconstruction = axes[0].get_lines()
    # Four of ten windows in the unit of the file; 0 in the scaled unit is the mean.
    starts = (80, 83, 86, 89)
    plotted = np.asarray(original.get_ydata()).reshape(4, 6)
    assert plotted[:, :5] == pytest.approx(np.stack([values()[start : start + 5, 0] for start in starts]), rel=1e-4)
    assert np.isnan(plotted[:, 5]).all()
    flat = np.asarray(reconstruction.get_ydata()).reshape(4, 6)[:, :5]
    assert flat == pytest.approx(np.full((4, 5), values()[:60, 0].mean()), rel=1e-4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["original", "reconstruction"]
    assert [text.get_text() for text in axes[0].texts] == ["sample 1", "sample 4", "sample 7", "sample 10"]


def test_panels_are_rows_and_a_single_one_is_wrapped(tmp_path: Path) -> None:
    modality, splits = prepared(csv(tmp_path))
    x = splits.test.batch(torch.arange(10)).x
    rows = modality.render({"one": x, "two": x[:7]})
    assert [axes.get_title(loc="left") for axes in rows.axes] == ["one", "two"]
    assert [len(axes.get_lines()) for axes in rows.axes] == [3, 3]
    assert [len(axes.get_lines()[0].get_xdata()) for axes in rows.axes] == [60, 42]
    grid = modality.render({"samples": x})
    assert [len(axes.get_lines()[0].get_xdata()) for axes in grid.axes] == [24, 24, 12]


# -- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["shortcut_conv", "conv", "resnet", "vit", "mlp"])
def test_encoders_accept_windows_with_missing_values(tmp_path: Path, encoder: str) -> None:
    rows = values()
    rows[::7, 1] = np.nan
    modality, splits = prepared(csv(tmp_path, rows), missing="mask", window=16)
    spec = modality.spec(dataset(tmp_path / "a.csv"))
    parts = {"latent": {"name": "point", "dim": 3}, "decoder": "mirror", "loss": "mse", "objective": "deterministic"}
    config = {"activation": "relu", "corruption": "none", "prior": "normal", "penalties": {}, **parts}
    model = assemble({**config, "encoder": {"name": encoder}}, spec)
    batch = splits.train.batch(torch.arange(6))
    out = model(batch)
    assert out.reconstruction.isfinite().all()
    # Results do not depend on the batch.
    model.eval()
    one_by_one = torch.cat([model(batch.rows(slice(row, row + 1))).reconstruction for row in range(6)])
    assert torch.allclose(one_by_one, model(batch).reconstruction, rtol=1e-4)
