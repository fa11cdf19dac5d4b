"""``aeframe compare``: a table of finished runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.cli.main import main
from aeframe.runs.comparison import higher_is_better


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs in a folder: two seeds of two sizes of the code."""
    monkeypatch.setenv("COLUMNS", "200")
    for dim in (2, 8):
        for seed in (0, 1):
            folder = tmp_path / "sweeps" / f"dim{dim}-{seed}"
            folder.mkdir(parents=True)
            config: dict[str, Any] = {
                "model": {"name": "vae"},
                "latent": {"name": "gaussian", "dim": dim},
                "seed": seed,
                "folder": str(folder),
                "batch_size": 64,
            }
            (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            metrics = {"bound": 10.0 / dim + seed, "mse": 0.5 / dim, "psnr": 20.0 + dim, "kl/0": 1.0}
            (folder / "metrics.json").write_text(json.dumps({"test": metrics}))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[list[str]]:
    """Return the cells of the table that compare prints."""
    assert main(["compare", *map(str, arguments)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_the_table_has_what_differs_and_the_metrics(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = printed(capsys, runs, "--sort", "bound")
    assert header == ["run", "latent.dim", "seed", "bound", "mse"]
    assert rows == [
        ["★ dim8-0", "8", "0", "1.25", "0.0625"],
        ["dim8-1", "8", "1", "2.25", "0.0625"],
        ["dim2-0", "2", "0", "5", "0.25"],
        ["dim2-1", "2", "1", "6", "0.25"],
    ]


def test_seeds_are_averaged_and_written(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header, *rows = printed(capsys, runs, "--average", "--metrics", "bound", "-o", tmp_path / "all.csv")
    assert header == ["run", "latent.dim", "runs", "bound"]
    assert rows == [["dim2-0 and 1 more", "2", "2", "5.5 ± 0.71"], ["dim8-0 and 1 more", "8", "2", "1.75 ± 0.71"]]
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert float(first["bound"]) == 5.5
    assert float(first["psnr"]) == 22
    assert float(first["bound (deviation)"]) == pytest.approx(0.5**0.5)
    assert "kl/0" in first


def test_runs_that_agree_in_a_setting_are_averaged(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = printed(capsys, runs, "--by", "seed", "--metrics", "bound", "--sort", "bound")
    assert header == ["run", "seed", "runs", "bound"]
    assert rows == [["★ dim2-0 and 1 more", "0", "2", "3.125 ± 2.7"], ["dim2-1 and 1 more", "1", "2", "4.125 ± 2.7"]]


class Page(HTMLParser):
    """The tags, classes and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}|"


def test_the_page_has_tables_and_curves_over_one_another(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (runs / "sweeps").iterdir():
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        config["data"] = {"path": f"<b>{config['latent']['dim']}</b>"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        rows = [f"{step},{step},{split},loss,{step}.5" for step in (1, 2) for split in ("train", "val")]
        rows += ["2,2,val,mse/<i>,1.0", "1,1,val,mse/<i>,1.0"]
        (folder / "metrics.csv").write_text("\n".join(["step,epoch,split,name,value", *rows, ""]), encoding="utf-8")
    page = tmp_path / "all.html"
    printed(capsys, runs, "--average", "--sort", "bound", "-o", page)
    source = page.read_text(encoding="utf-8")
    found = Page(source)
    assert not {"script", "link", "iframe", "img", "b", "i"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name in ("src", "href") or name.startswith("on")]
    assert "url(" not in source
    assert "prefers-color-scheme: dark" in source
    assert "4 runs compared|" in found.text
    assert "1.75 ± 0.71|" in found.text
    best = "latent.dim=8, data.path=<b>8</b>"
    assert f"★ marks the best run by bound of the test split (lower is better): |{best}|" in found.text
    assert "loss, training|" in found.text
    assert "loss, validation|" in found.text
    classes = [value for name, value in found.attributes if name == "class" and value.startswith("line k")]
    # In each of three charts, and once in the legend: two lines for each of the two rows.
    assert [classes.count(f"line k{at} d0") for at in (0, 1)] == [7, 7]
    labels = [value for name, value in found.attributes if name == "aria-label" and value.startswith("loss, training")]
    assert labels[0].count("from 1.5 to 2.5 over 2 batches") == 4


def test_a_metric_that_is_best_when_high_is_sorted_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = printed(capsys, runs, "--sort", "psnr")
    assert header[3] == "psnr"
    assert [row[3] for row in rows] == ["28", "28", "22", "22"]


@pytest.mark.parametrize(
    ("metric", "higher"), [("r2", True), ("accuracy", True), ("raw_knn_accuracy", True), ("mse", False), ("kl", False)]
)
def test_the_better_direction_of_a_metric(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher


def test_errors(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (runs / "sweeps" / "dim2-0" / "metrics.json").write_text("{}")
    for arguments, message in (
        ([tmp_path / "nowhere"], "there is no folder "),
        ([tmp_path / "empty"], "no finished run in "),
        ([runs / "sweeps" / "dim2-0"], "metrics.json' has no test metrics "),
        ([runs / "sweeps" / "dim8-0", "--sort", "bond"], "no run has the metric 'bond', did you mean 'bound'?"),
        ([runs / "sweeps" / "dim8-0", "--metrics", "bond"], "no run has the metric 'bond', did you mean 'bound'?"),
        ([runs / "sweeps" / "dim8-0", "-o", tmp_path / "a.pdf"], "--output writes CSV or HTML"),
        ([runs / "sweeps" / "dim8-0", "--by", "latent.din"], "no run has the setting 'latent.din', did you mean "),
    ):
        assert main(["compare", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
