"""What the page requests, without a browser."""

from __future__ import annotations

import base64
import io
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from aeframe.cli.explore import Explore
from aeframe.cli.rows_file import write_rows
from aeframe.errors import AeframeError
from aeframe.explorer.callbacks import Callbacks
from aeframe.explorer.explorer import Explorer

NUM = 40


@pytest.fixture(scope="module")
def callbacks(tables: Path) -> Callbacks:
    return Callbacks(explorer_of(tables, "--points", str(NUM)), write_rows)


def explorer_of(run: Path, *words: str) -> Explorer:
    """Return the explorer that the command line opens."""
    verb, parser = Explore(), ArgumentParser()
    verb.arguments(parser)
    return verb.explorer(parser.parse_args([str(run), *words]))


def png_of(media: list[dict[str, Any]]) -> bytes:
    assert media[0]["mime"] == "image/png"
    return base64.b64decode(media[0]["base64"])


def test_the_overview_lists_columns_and_directions(callbacks: Callbacks) -> None:
    overview = callbacks.overview()
    assert (overview["num"], overview["colour"], overview["why_no_sliders"]) == (NUM, "label", None)
    assert overview["columns"] == ["index", "label"]
    assert len(overview["directions"]["principal"]) == len(overview["directions"]["numbers"]) == 4
    points = np.frombuffer(callbacks.points(), "<f4").reshape(-1, 2)
    assert np.array_equal(points, callbacks.explorer.embedding.points)


def test_columns_are_numbers_or_categories(callbacks: Callbacks) -> None:
    label = callbacks.column("label")
    assert label["kind"] == "category"
    values = np.frombuffer(base64.b64decode(label["values"]), "<i4")
    found = np.array(label["names"])[values]
    assert found.tolist() == callbacks.explorer.embedding.columns["label"].astype(str).tolist()
    assert sum(label["counts"]) == NUM
    assert callbacks.column("index")["kind"] == "number"
    with pytest.raises(AeframeError, match="no column 'labl', did you mean 'label'"):
        callbacks.column("labl")


def test_a_sample_has_its_reconstruction_and_its_neighbours(callbacks: Callbacks) -> None:
    detail = callbacks.detail(3)
    assert detail["at"] == 3
    assert png_of(detail["original"]) != png_of(detail["reconstruction"])
    codes = callbacks.explorer.embedding.codes
    nearest = (codes - codes[3]).norm(dim=1).argsort()[1:7].tolist()
    assert [neighbour["at"] for neighbour in detail["neighbours"]] == nearest
    assert png_of(detail["neighbours"][0]["media"]).startswith(b"\x89PNG")
    assert callbacks.sample(3)["title"] == detail["title"]


def test_sliders_decode_the_code_that_they_move(callbacks: Callbacks) -> None:
    still, moved = callbacks.decode(3, "principal", [0.0]), callbacks.decode(3, "principal", [3.0, 0.0, -1.0])
    assert png_of(still["media"]) != png_of(moved["media"])
    explorer = callbacks.explorer
    x = explorer.source.batch(torch.tensor([int(explorer.embedding.rows[3])])).x
    x_hat = explorer.model.decode(explorer.embedding.codes[3:4])
    # With the columns and the scale of the sample.
    assert png_of(still["media"]) == explorer.model.modality.show(torch.cat([x, x_hat]))[1][0].content
    assert png_of(callbacks.decode(None, "numbers", [])["media"])


def test_a_path_starts_and_ends_at_its_samples(callbacks: Callbacks) -> None:
    path, points = callbacks.path(2, 9, 5), callbacks.explorer.embedding.points
    assert len(path["frames"]) == len(path["points"]) == 5
    assert np.allclose([path["points"][0], path["points"][-1]], points[[2, 9]], atol=1e-4)
    assert png_of(path["frames"][0]) != png_of(path["frames"][-1])


def test_new_samples_depend_on_the_seed(callbacks: Callbacks) -> None:
    first, again, other = (callbacks.samples(2, seed, None)["samples"] for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_chosen_points_are_exported_with_their_codes(callbacks: Callbacks, suffix: str) -> None:
    _, content = callbacks.export(suffix, [5, 1])
    frame = pd.read_csv(io.BytesIO(content)) if suffix == ".csv" else pd.read_parquet(io.BytesIO(content))
    assert list(frame) == ["index", "label", "x", "y", "z0", "z1", "z2", "z3"]
    embedding = callbacks.explorer.embedding
    assert frame["index"].tolist() == embedding.columns["index"][[5, 1]].tolist()
    assert np.allclose(frame[["x", "y"]], embedding.points[[5, 1]])
    assert np.allclose(frame[["z0", "z1", "z2", "z3"]], embedding.codes[[5, 1]])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda c: c.sample(NUM), "the map has the points 0 to 39, found 40"),
        (lambda c: c.detail(-1), "the map has the points 0 to 39, found -1"),
        (lambda c: c.path(0, 99, 4), "the map has the points 0 to 39, found 99"),
        (lambda c: c.decode(0, "sideways", [1.0]), "along principal or numbers, found 'sideways'"),
        (lambda c: c.decode(0, "numbers", [1.0] * 5), "moves along 4 directions by finite numbers"),
        (lambda c: c.decode(0, "numbers", [float("nan")]), "moves along 4 directions by finite numbers"),
        (lambda c: c.export(".exe", [1]), "exports .csv and .parquet, found '.exe'"),
        (lambda c: c.export(".csv", []), "no points are chosen"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(callbacks: Callbacks, request_: Any, message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        request_(callbacks)
    assert message in str(caught.value)


def test_codes_of_a_quantiser_have_a_path_and_no_sliders(make_model: Any) -> None:
    explorer = explorer_of(make_model(["model=vqvae", "data=breast_cancer"]), "--points", "8")
    assert "integer codes" in str(explorer.why_no_sliders)
    with pytest.raises(AeframeError, match="integer codes"):
        explorer.decode(0, "principal", [1.0])
    shown, points = explorer.path(0, 5, 3)
    assert len(shown) == 3
    assert points is not None


def test_a_conditional_model_takes_the_condition_of_samples(make_model: Any) -> None:
    explorer = explorer_of(make_model(["model=cvae", "data=breast_cancer", "label_classes=2"]), "--points", "12")
    assert explorer.has_condition
    assert len(explorer.new_samples(2, 0, None)) == len(explorer.new_samples(2, 0, 3)) == 2
    assert explorer.decode(4, "principal", [1.0])
    assert len(explorer.path(0, 7, 3)[0]) == 3
