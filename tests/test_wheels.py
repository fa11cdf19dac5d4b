"""What is published: wheels that carry everything, and work from an empty folder without the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aeframe.cli.main import main as aeframe

ROOT = Path(__file__).parents[1]
SOURCES = {
    ROOT: ROOT / "aeframe",
    **{folder: next((folder / "src").iterdir()) for folder in sorted((ROOT / "plugins").glob("aeframe-*"))},
}
pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def installed(site: Path, *wheels: Path) -> dict[str, str]:
    """Install wheels into a folder, and return the environment of a process that finds them there."""
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--target", site, *wheels, cwd=site.parent,
    )  # fmt: skip
    # In front of everything: what the environment has of us (the checkout) is not what is imported.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AEFRAME_", "PYTEST_"))}
    return {**kept, "PYTHONPATH": str(site), "MPLBACKEND": "Agg"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Build a wheel of every distribution, by its folder; the backend is installed with the tests."""
    built = {}
    for folder in SOURCES:
        out = tmp_path_factory.mktemp("wheels")
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder, cwd=out)
        (built[folder],) = out.glob("*.whl")
    return built


def test_a_wheel_has_every_file_of_its_package_and_nothing_else(wheels: dict[Path, Path]) -> None:
    for folder, wheel in wheels.items():
        package = SOURCES[folder]
        carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        present = {
            f"{package.name}/{path.relative_to(package).as_posix()}"
            for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert carried == present
        assert f"{package.name}/py.typed" in carried
        # Templates of a new plugin's tests end in .in.
        assert [name for name in carried if re.fullmatch(r"(test_.*|conftest)\.py", name.rpartition("/")[2])] == []


def test_core_carries_its_recipes(wheels: dict[Path, Path]) -> None:
    carried = zipfile.ZipFile(wheels[ROOT]).namelist()
    assert "aeframe/conf/train.yaml" in carried
    assert "aeframe/conf/__init__.py" in carried
    assert {f"aeframe/conf/model/{name}.yaml" for name in ("ae", "vae", "vqvae", "aae")} <= set(carried)


def test_installed_wheels_train_from_an_empty_folder(wheels: dict[Path, Path], tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    environment = installed(site, *wheels.values())
    code = (
        "import aeframe, aeframe_image, aeframe.conf\n"
        "from aeframe.registry import registry\n"
        "run = aeframe.fit(model='vae', data='digits', max_batches=2, pictures=False, trainer={'accelerator': 'cpu'})\n"
        "print(aeframe.__file__, aeframe_image.__file__, *(p.state for p in registry().plugins), sep='\\n')\n"
        "print(aeframe.load(run.folder).sample(2, seed=0).shape)"
    )
    lines = run(sys.executable, "-c", code, cwd=empty, environment=environment).stdout.splitlines()
    assert lines[:2] == [str(site / name / "__init__.py") for name in ("aeframe", "aeframe_image")]
    assert set(lines[2:-1]) == {"ok"}
    assert lines[-1] == "torch.Size([2, 1, 8, 8])"

    script = site / "bin" / "aeframe-train"
    done = run(sys.executable, script, "max_epochs=1", "trainer.accelerator=cpu", cwd=empty, environment=environment)
    assert "ae on breast_cancer" in done.stderr
    (folder,) = (empty / "runs").glob("*-ae-breast_cancer")
    assert (folder / "model" / "model.safetensors").is_file()
    assert list((folder / "pictures").glob("*.png"))
    listed = run(sys.executable, site / "bin" / "aeframe", "plugins", cwd=empty, environment=environment).stdout
    assert "image (aeframe-image 0.1.0) ok" in listed


@pytest.mark.parametrize("kind", ["modality", "parts"])
def test_a_wheel_of_a_new_plugin_passes_its_suite_without_the_checkout(
    wheels: dict[Path, Path], tmp_path: Path, kind: str
) -> None:
    site, written, empty = tmp_path / "site", tmp_path / "written", tmp_path / "empty"
    empty.mkdir()
    assert aeframe(["new-plugin", "seismic", "--kind", kind, "--folder", str(written)]) == 0
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, written, cwd=empty)
    (wheel,) = tmp_path.glob("*.whl")
    environment = installed(site, wheels[ROOT], wheel)
    # Its tests are all that is left of the folder it was written in.
    (written / "tests").rename(empty / "tests")
    where = run(
        sys.executable, "-c", "import aeframe, aeframe_seismic as s; print(aeframe.__file__, s.__file__)",
        cwd=empty, environment=environment,
    ).stdout.split()  # fmt: skip
    assert all(Path(path).is_relative_to(site) for path in where)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    assert " passed" in run(*tests, cwd=empty, environment=environment).stdout


def test_every_experiment_is_known_without_the_checkout(wheels: dict[Path, Path], tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    environment = installed(site, *wheels.values())
    packages = [package for package in SOURCES.values() if (package / "conf" / "experiment").is_dir()]
    names = {file.stem for package in packages for file in (package / "conf" / "experiment").glob("*.yaml")}
    assert {"mnist_vae", "digits_quick", "pbmc_nb_vae", "ptb_lstm_vae"} <= names
    code = (
        "import json\n"
        "from aeframe.experiment.composition.loader import Loader\n"
        "print(json.dumps(Loader().get_group_options('experiment')))"
    )
    listed = run(sys.executable, "-c", code, cwd=empty, environment=environment).stdout
    assert set(json.loads(listed)) == names
    script = site / "bin" / "aeframe-train"
    done = run(sys.executable, script, "experiment=mnist_vae", "--cfg", "job", cwd=empty, environment=environment)
    assert "bernoulli" in done.stdout
