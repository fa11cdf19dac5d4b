"""``aeframe report RUN``: one HTML page of a finished run."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

import aeframe
from aeframe.cli.main import main
from aeframe.evaluation.reconstruction import PROTOCOL
from aeframe.experiment.main import main as aeframe_train

COLUMN = "<script>alert('x')</script>"
SECTIONS = ["Settings", "Learning curves", "Test metrics", "Advice", "Pictures", "Data", "Latent", "Reproduction"]
VOID = ("meta", "img", "line", "rect", "circle", "polyline")


class Page(HTMLParser):
    """What a browser finds in a page: tags, attributes, headings, text, and tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append((self.open[-1], data))
        if not {"style", "script"} & set(self.open):
            self.text += data

    def values(self, attribute: str) -> list[str]:
        """Return the values of an attribute of all elements."""
        return [value for _, name, value in self.attributes if name == attribute]

    def sections(self) -> list[str]:
        """Return the headings of the sections."""
        return [text for level, text in self.headings if level == "h2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of one epoch, on a table whose names are markup."""
    folder = tmp_path_factory.mktemp("report") / "a & <b>"
    folder.mkdir()
    table = np.random.default_rng(0).normal(size=(60, 3))
    lines = [f"{COLUMN},b,c", *(",".join(f"{value:.4f}" for value in row) for row in table), "broken,1,2"]
    (folder / "t<i>.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    overrides = [
        "model=vae", "data=numbers", f"data.path='{folder}/t<i>.csv'", "modality.on_error=skip", "latent.dim=2",
        "encoder.hidden=[8]", "max_epochs=1", "verbose=false", f"folder='{folder}/run<i>'",
    ]  # fmt: skip
    assert aeframe_train(overrides) == 0
    return folder / "run<i>"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run without its checkpoints."""
    copied = tmp_path / "run<i>"
    shutil.copytree(trained, copied, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    return copied


def report(run: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, Page]:
    """Return the report of a run as source and parsed."""
    capsys.readouterr()
    assert main(["report", str(run)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    source = (run / "report.html").read_text(encoding="utf-8")
    return source, Page(source)


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the error of a command."""
    capsys.readouterr()
    assert main(["report", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_the_page_has_all_sections_and_refers_to_nothing_outside(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, page = report(run, capsys)
    # Whether a run needs advice depends on its numbers.
    assert [name for name in page.sections() if name != "Advice"] == [name for name in SECTIONS if name != "Advice"]
    assert page.headings[0] == ("h1", "vae on numbers")
    assert [level for level, _ in page.headings].count("h1") == 1
    assert page.headings[1][0] == "h2"
    for attribute in ("src", "href", "xlink:href", "srcset", "action", "data"):
        assert all(value.startswith("data:image/png;base64,") for value in page.values(attribute)), attribute
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    style = source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes


def test_names_are_escaped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "pictures" / '"><img src=x onerror=alert(1)>.png'
    shutil.copyfile(run / "pictures" / "latent.png", path)
    record = json.loads((run / "data.json").read_text(encoding="utf-8"))
    record["notes"] = [f"column '{COLUMN}' was \x1b[2J left out"]
    record["label_names"] = ['"><svg onload=alert(2)>']
    (run / "data.json").write_text(json.dumps(record), encoding="utf-8")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    metrics["test"] |= {f"mse_{COLUMN}": 0.5, f"mse/{COLUMN}": 0.25}
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    rows = (run / "metrics.csv").read_text(encoding="utf-8")
    rows += f"1,0,val,kl/{COLUMN},1.0\n1,0,val,{COLUMN},1.0\n1,0,val,'\"\"><b>',1.0\n"
    (run / "metrics.csv").write_text(rows, encoding="utf-8")
    source, page = report(run, capsys)
    assert not {"script", "i", "b"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert f"Column '{COLUMN}' was \\x1b[2J left out." in page.text
    assert '"><svg onload=alert(2)>' in page.text
    assert "Run run<i>, finished " in page.text
    assert page.text.count(COLUMN) >= 5
    assert "t<i>.csv" in page.text
    assert '"><img src=x onerror=alert(1)>' in page.values("alt")
    assert "\x1b" not in source


def test_every_metric_is_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, page = report(run, capsys)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert {"mse_of_mean", "mse_of_pca", "kl", "kl/2"} <= metrics.keys()
    for name, value in metrics.items():
        assert name in page.text
        assert f"{value:,.5g}" in page.text
    num = json.loads((run / "data.json").read_text(encoding="utf-8"))["rows"]["test"]
    assert f"Measured on {num} test samples" in page.text
    assert f"that of predicting the mean sample ({metrics['mse_of_mean']:.3g})" in page.text
    assert f"that of PCA of as many numbers ({metrics['mse_of_pca']:.3g})" in page.text
    assert "squared units of x" in page.text
    assert "nats" in page.text
    assert f"squared error per element{PROTOCOL}" in page.text
    assert f"all {num} samples" in page.text


def test_metrics_state_how_they_have_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, page = report(run, capsys)
    num = json.loads((run / "data.json").read_text(encoding="utf-8"))["rows"]["test"]
    protocols = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["protocol"]
    # Both are values of the metric aggregate_posterior.
    assert protocols["mutual_information"] == protocols["marginal_kl"] == f"{num} samples, seed 0"
    assert "kl" not in protocols
    assert protocols["mse"] == PROTOCOL
    assert f"estimated information of the code about x{num} samples, seed 0" in page.text


def test_sounds_and_videos_have_players(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in ((1, b"RIFF"), (2, b"RIFF" * 10)):
        for panel in ("original", "reconstruction", "sample"):
            (run / "pictures" / f"{panel}-{number}.wav").write_bytes(content)
    (run / "pictures" / "original-3.mp4").write_bytes(b"film")
    (run / "pictures" / "original-<b>.wav").write_bytes(b"other")
    monkeypatch.setattr("aeframe.runs.report.players.MAX_BYTES", 130)
    _, page = report(run, capsys)
    assert page.sections().index("Sounds and videos") == page.sections().index("Pictures") + 1
    sounds = [label for tag, name, label in page.attributes if (tag, name) == ("audio", "aria-label")]
    assert sounds == ["original 1", "reconstruction 1", "original 2", "reconstruction 2", "new sample 1"]
    assert page.tags.count("video") == 0
    assert page.values("controls") == [""] * 5
    assert f"data:audio/wav;base64,{base64.b64encode(b'RIFF').decode()}" in page.values("src")
    assert "2 more files are in the folder of pictures of the run" in page.text
    monkeypatch.undo()
    (run / "report.html").unlink()
    _, page = report(run, capsys)
    assert page.tags.count("audio") == 6
    assert page.tags.count("video") == 1


def test_curves_have_text_for_readers_who_do_not_see_them(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, page = report(run, capsys)
    labels = page.values("aria-label")
    for name in ("loss", "bound", "reconstruction", "kl", "mse", "kl/1"):
        assert any(label.startswith(f"{name}: ") and " val " in label for label in labels), name
    assert any(label.startswith("loss: train ") for label in labels)
    assert any(label.startswith("KL of each dimension: 2 values from ") for label in labels)


def test_the_kl_of_dimensions_keeps_its_names(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"mse": 0.5, **{f"kl/{at}": float(at) for at in (10, 9, 2)}}
    (run / "metrics.json").write_text(json.dumps({"test": metrics}), encoding="utf-8")
    _, page = report(run, capsys)
    assert "kl/22natskl/99natskl/1010nats" in page.text
    assert not [label for label in page.values("aria-label") if label.startswith("KL of each dimension: ")]


def test_settings_that_differ_come_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, page = report(run, capsys)
    changed, _, whole = page.text.partition("The whole config")
    for key in ("data.path", "modality.on_error", "latent.dim", "max_epochs", "encoder.hidden"):
        assert key in changed
    # Neither the loss nor the batch size, which the run chose itself, was set.
    assert "loss" not in changed
    assert "batch_size" not in changed
    assert yaml.safe_load(whole.partition("Learning curves")[0])["latent"]["dim"] == 2


def test_a_part_that_differs_is_one_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["loss"] = {"name": "huber", "delta": 1.0, "activation": None}
    config["optimizer"]["lr"] = 0.5
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    _, page = report(run, capsys)
    changed = page.text.partition("The whole config")[0]
    assert "losshubermse" in changed
    assert "loss.delta" not in changed
    assert "optimizer.lr0.50.001" in changed


def test_data_and_reproduction(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, page = report(run, capsys)
    record = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert record["files"]["path"]["sha256"] in page.text
    assert "Bad files or rows that were left out: 1." in page.text
    assert f"train samples{record['rows']['train']}" in page.text
    assert f"aeframe, of the run{aeframe.__version__}" in page.text
    assert "aeframe-train \\\n  model=vae \\\n  data=numbers" in page.text
    command = page.text.partition("Command")[2].partition("Load the model")[0]
    assert ["aeframe-train", *yaml.safe_load((run / "overrides.yaml").read_text(encoding="utf-8"))] == [
        word for word in shlex.split(command) if word != "\n"
    ]
    assert f"model = aeframe.load({str(run)!r})" in page.text
    assert "seed0" in page.text


def test_pictures_are_embedded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "pictures" / "a_text.png").write_text("no picture", encoding="utf-8")
    _, page = report(run, capsys)
    embedded = [base64.b64decode(source.partition(",")[2]) for source in page.values("src")]
    names = ("reconstructions", "samples", "interpolation", "latent")
    assert embedded == [(run / "pictures" / f"{name}.png").read_bytes() for name in names]
    assert page.values("alt") == [
        "Samples and their reconstructions",
        "New samples",
        "Interpolations between codes",
        "Map of the codes",
    ]


def test_sections_without_content_are_left_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "pictures")
    shutil.rmtree(run / "model")
    for name in ("metrics.csv", "data.json", "overrides.yaml", "state.json"):
        (run / name).unlink()
    (run / "metrics.json").write_text(json.dumps({"test": {"mse": 0.5, "mae": None}}), encoding="utf-8")
    _, page = report(run, capsys)
    assert page.sections() == ["Settings", "Test metrics", "Data", "Reproduction"]
    assert "not finite" in page.text
    assert "Measured on the test split, " in page.text


def test_a_run_without_validation_has_curves_of_training(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if ",val," not in row and ",test," not in row]
    # A constant, an infinite and a very large value.
    kept += ["1,0,train,constant,3.0", "2,1,train,constant,3.0", "1,0,train,broken,inf", "1,0,train,large,1e305"]
    (run / "metrics.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    _, page = report(run, capsys)
    labels = page.values("aria-label")
    assert "constant: train from 3 to 3 over 2 batches" in labels
    assert any(label.startswith("loss: train ") for label in labels)
    assert not [label for label in labels if label.startswith(("broken", "large", "mse"))]


def test_a_recipe_that_is_not_here_leaves_the_overrides(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["name"] = "recipe_of_another_machine"
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    _, page = report(run, capsys)
    assert "The defaults of this recipe are not available here" in page.text
    assert "latent.dim=2" in page.text.partition("The whole config")[0]


def test_nothing_is_overwritten(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(run, capsys)
    page = (run / "report.html").read_bytes()
    assert error(capsys, run) == (f"error: '{run / 'report.html'}' exists already; choose another path with --output\n")
    assert (run / "report.html").read_bytes() == page
    other = tmp_path / "other.HTML"
    assert main(["report", str(run), "-o", str(other)]) == 0
    assert other.read_bytes() == page


def test_errors(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error(capsys, tmp_path / "nowhere").startswith(f"error: there is no folder '{tmp_path / 'nowhere'}'")
    assert error(capsys, run, "-o", tmp_path / "a.pdf") == (
        f"error: --output writes an HTML page, found '{tmp_path / 'a.pdf'}'; choose a name ending in .html\n"
    )
    (run / "state.json").write_text('{"status": "training"}', encoding="utf-8")
    assert error(capsys, run) == (
        f"error: a report needs a finished run, and run '{run}' is not finished (its status is 'training'); continue "
        f"it with resume={run}, or save its best model with 'aeframe finish {run}'\n"
    )
    (run / "state.json").write_text('{"status": "finished"}', encoding="utf-8")
    (run / "metrics.json").write_text('{"test": {}}', encoding="utf-8")
    assert "has no test metrics, which a report shows; finish the run again" in error(capsys, run)
    (run / "metrics.json").unlink()
    assert "is not finished (it has no metrics.json); continue it with resume=" in error(capsys, run)
    assert not (run / "report.html").exists()
