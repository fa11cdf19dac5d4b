"""The README: its commands compose and run, and its Python blocks work as written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import aeframe
from aeframe import registry
from aeframe.cli.main import main as aeframe_main
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.experiment.main import main
from aeframe.trust import trust

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("python", "aeframe", "make", "pip")
QUICK = ["max_batches=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1"]
# A placeholder for the reader's run folder.
RUN = re.compile(r"runs/\S+")

pytestmark = pytest.mark.skipif(
    not registry.registry().has("dataset", "digits"), reason="the README trains on images, which are not installed"
)


def commands() -> list[list[str]]:
    """Return every command as a list of arguments: the indented lines that begin with a program, without comments."""
    lines = [line.strip() for line in FENCED.sub("", README).splitlines() if line.startswith("    ")]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(PROGRAMS)]


def blocks() -> list[str]:
    return [text for language, text in FENCED.findall(README) if language == "python"]


def block_of_file(name: str) -> str:
    """Return the block that begins with a comment with the name of a file."""
    (block,) = [text for text in blocks() if text.startswith(f"# {name}")]
    return block


TRAIN = [arguments[2:] for arguments in commands() if arguments[:2] == ["python", "train.py"]]
AEFRAME = [arguments[1:] for arguments in commands() if arguments[0] == "aeframe"]


@pytest.fixture(autouse=True)
def workplace(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Work in a folder that contains only the plugin of the README, trusted as in the README."""
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS", "AEFRAME_RUN_ID"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "aeplugin.py").write_text(block_of_file("aeplugin.py"), encoding="utf-8")
    (tmp_path / "my_losses.py").write_text(block_of_file("my_losses.py"), encoding="utf-8")
    registry.reset()
    assert ["plugins", "trust", "."] in AEFRAME
    trust(tmp_path)
    yield tmp_path
    registry.reset()
    sys.modules.pop("my_losses", None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = dict(word.split("=") for word in QUICK)
    return aeframe.fit(
        model="vae",
        data="digits",
        folder=str(tmp_path_factory.mktemp("readme") / "run"),
        overrides=[f"{key}={value}" for key, value in settings.items()],
    ).folder


def test_every_command_and_block_of_the_readme_is_tested() -> None:
    subcommands = ("finish", "advise", "evaluate", "encode", "generate", "compare", "report", "plugins")
    known = {"python train.py", *(f"aeframe {name}" for name in subcommands)}
    assert {" ".join(arguments[:2]) for arguments in commands() if arguments[0] in ("python", "aeframe")} == known
    assert len(TRAIN) >= 7
    assert {language for language, _ in FENCED.findall(README)} == {"python"}
    first = {text.splitlines()[0].split(",")[0] for text in blocks()}
    assert first == {"import aeframe", "# aeplugin.py", "# my_losses.py"}


@pytest.mark.parametrize("arguments", TRAIN, ids=" ".join)
def test_every_training_command_composes_and_its_parts_fit(
    arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments == ["--help"]:
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("usage: aeframe-train ")
    elif arguments[0] == "-m":
        for model in arguments[1].removeprefix("model=").split(","):
            check(compose([f"model={model}", *arguments[2:]]))
    elif arguments[0].startswith("resume="):
        config = run / "config.yaml"
        before = config.read_text(encoding="utf-8")
        assert main([f"resume={run}", *arguments[1:], "max_batches=3"]) == 0
        assert "max_batches: 3" in config.read_text(encoding="utf-8") != before
    else:
        check(compose(arguments))


def test_every_named_change_of_a_part_fits() -> None:
    changes = re.findall(r"`((?:loss|encoder|activation|prior|corruption)=\w+)`", README)
    assert len(changes) == 5
    for change in changes:
        check(compose(["model=vae", "data=digits", change]))


def test_the_readme_names_every_recipe_and_existing_datasets() -> None:
    section = README[README.index("## Models") : README.index("## Data")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    # The recipes of a plugin are listed in its own README.
    assert sorted(named) == core_recipes()
    data = README[README.index("## Data") : README.index("## Add a part")]
    for name in ("digits", "mnist", "fashion_mnist", "cifar10", "image_folder", "image_npz", "numbers"):
        assert name in data
        assert registry.registry().has("dataset", name)


@pytest.mark.parametrize("arguments", AEFRAME, ids=" ".join)
def test_every_other_command_runs(arguments: list[str], run: Path, workplace: Path) -> None:
    (workplace / "images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(workplace / "images" / f"{number}.png")
    (workplace / "runs").symlink_to(run.parent)
    assert aeframe_main([RUN.sub(str(run), word) for word in arguments]) == 0
    if "-o" in arguments:
        assert (workplace / arguments[arguments.index("-o") + 1]).exists()


def cell(folder: Path, file: str, row: str, column: int, table: int = 0) -> float:
    """Return the number of a row, by its name, in a table of a Markdown file."""
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.startswith(f"| {row} |")][table]
    return float(found.split("|")[column + 1].split()[0])


def claimed_values(results: Path) -> dict[str, list[tuple[float, int]]]:
    """Return by file what the table of the README states, in its order, with the number of digits."""
    tvae, gaps, scores, sparse = "tvae_300_epochs.md", "imputation.md", "anomalies.md", "sparse_features.md"
    epochs = json.loads((results / "omics_epoch.json").read_text(encoding="utf-8"))["times_as_fast"]
    return {
        tvae: [(cell(results, tvae, "AUC of income", column), 3) for column in (1, 2, 3)],
        gaps: [
            (cell(results, gaps, method, 4), 3) for method in ("table_vae", "IterativeImputer", "KNNImputer")
        ],
        scores: [
            *((cell(results, scores, m, 5), 3) for m in ("ae", "PCA", "nearest neighbours", "isolation forest")),
            *((cell(results, scores, m, 5, table=1), 3) for m in ("isolation forest", "ae")),
        ],
        sparse: [
            (cell(results, sparse, "topk_sae", 1), 3),
            (cell(results, sparse, "gated_sae", 1), 3),
            (cell(results, sparse, "gated_sae", 2), 1),
            (cell(results, sparse, "PCA-64", 1), 3),
        ],
        "omics_epoch.json": [(epochs, 1)],
    }  # fmt: skip


def test_each_figure_is_in_the_file_that_it_links_to() -> None:
    section = README[README.index("## What to use when") : README.index("## One picture")]
    rows = [line for line in section.splitlines() if "](benchmarks/results/" in line]
    assert len(rows) == 6
    claimed: dict[str, list[float]] = {}
    for row in rows:
        (link,) = re.findall(r"\]\((benchmarks/results/\S+)\)", row)
        claimed[Path(link).name] = [float(word) for word in re.findall(r"\d*\.\d+", row.partition(link)[2])]
    expected = {
        file: [round(value, digits) for value, digits in values] for file, values in claimed_values(RESULTS).items()
    }
    assert claimed == {**expected, "mnist_models.md": []}
    for arguments in re.findall(r"`(model=[^`]+)`", section):
        names = dict(word.split("=") for word in arguments.split())
        assert registry.registry().has("dataset", names.get("data", "numbers"))
        assert names["model"] in {*core_recipes(), "tvae", "table_vae"}


def test_the_first_block_trains_on_an_array() -> None:
    block = blocks()[0]
    quick = "max_batches=2, pictures=False, trainer={'accelerator': 'cpu', 'threads': 1}"
    shorter = block.replace('model="vae"', f'model="vae", {quick}')
    assert shorter != block
    names: dict[str, Any] = {"x": np.random.default_rng(0).normal(size=(700, 5))}
    exec(compile(shorter, "README.md", "exec"), names)
    assert names["codes"].shape == (700, 16)


def test_the_block_of_the_section_use_works_as_written() -> None:
    block = blocks()[1]
    # Only the length of the run and the device are changed.
    shorter = block.replace("max_epochs=20", "max_epochs=1, trainer={'accelerator': 'cpu', 'threads': 1}")
    assert shorter != block
    names: dict[str, torch.Tensor] = {}
    exec(compile(shorter, "README.md", "exec"), names)
    assert names["x"].shape == (16, 1, 8, 8)
    assert torch.equal(names["z"], names["q"].mean)
    assert names["x_hat"].shape == names["x"].shape
    assert names["between"].shape == (1, 8, 1, 8, 8)
    assert names["bound"].shape == (16,)


def test_the_plugin_works_as_written(workplace: Path) -> None:
    (arguments,) = [arguments for arguments in TRAIN if "loss=cauchy" in arguments]
    assert main([*arguments, *QUICK, "folder=run"]) == 0
    model = aeframe.load("run")
    x = torch.rand(3, 1, 8, 8)
    z = model.encode(x)
    with torch.no_grad():
        decoded = model.model.loss.mean(model.model.decode(z))
    expected = torch.log1p((2 * (decoded - x)) ** 2).flatten(1).sum(1)
    torch.testing.assert_close(model.score(x), expected)


def test_make_has_the_two_commands() -> None:
    targets = [arguments[1] for arguments in commands() if arguments[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], capture_output=True, text=True, check=True, cwd=ROOT)
        assert "train.py" in done.stdout or "pytest" in done.stdout


def test_linked_files_exist() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
