"""What a user can get wrong: one sentence, exit code 2, and nothing written."""

from __future__ import annotations

import shutil
import warnings
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
from aeframe.experiment.checks import SuspiciousConfigWarning
from aeframe.experiment.main import main

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(
    not registry.registry().has("modality", "image"), reason="images come with aeframe-image, which is not installed"
)

QUICK = ["max_batches=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data, and the same with one fault each."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(0)
    rows = generator.random((20, 4), np.float32)
    for name, place, value in (("ok", (0, 0), 0.5), ("nan", (3, 2), np.nan), ("big", (5, 1), 7.0)):
        changed = rows.copy()
        changed[place] = value
        np.save(folder / f"{name}.npy", changed)
    np.save(folder / "one.npy", rows[:1])
    np.save(folder / "bright.npy", np.full((20, 8, 8), 3.5, np.float32))
    (folder / "words.csv").write_text("a,b\n1,2\n3,x\n" + 10 * "1,2\n", encoding="utf-8")
    for name in ("empty", "pictures", "one"):
        (folder / name).mkdir()
    for number in range(12):
        pixels = generator.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
    Image.fromarray(pixels).save(folder / "one" / "only.png")
    corrupt = folder / "pictures" / "07.png"
    corrupt.write_bytes(corrupt.read_bytes()[:-40])
    return folder


@pytest.fixture(autouse=True)
def workplace(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS", "AEFRAME_RUN_ID"):
        monkeypatch.setenv(variable, "")
    place = tmp_path / "work"
    shutil.copytree(files, place)
    monkeypatch.chdir(place)
    registry.reset()
    yield place
    registry.reset()


def tree(folder: Path) -> dict[Path, bytes | None]:
    # What Python keeps of a file that it imported is its own affair.
    found = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.read_bytes() if path.is_file() else None for path in found}


def refused(capsys: pytest.CaptureFixture[str], place: Path, *words: str) -> str:
    """Run a command that must be refused, and return its one sentence."""
    before = tree(place)
    capsys.readouterr()
    assert main([*words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert tree(place) == before
    return said.err.removeprefix("error: ").rstrip("\n")


LOSSES = registry.registry().names("loss")
FITTING = (name for name in LOSSES if "real" in registry.registry().load("loss", name).domains)
# A config cannot name a function of the user.
*MOST, LAST = (name for name in FITTING if name != "own")
WHOLE = "Input should be a valid integer, unable to parse string as an integer"
CASES = {
    # Names, options, types.
    "loss=mes": f"unknown loss 'mes', did you mean 'mse'?; known are {', '.join(LOSSES)}",
    "latnt.dim=3": "a run has no setting and no part 'latnt', did you mean 'latent'?",
    "latent.dmi=3": "latent 'point' has no option 'dmi', did you mean 'dim'?; its options are dim, spatial, "
    "activation, noise, noise_scale",
    "latent.dim=wide": f"latent 'point': option 'dim' expects int, found 'wide' ({WHOLE})",
    "data=numbers data.path=2024": "dataset 'numbers': option 'path' expects Path, found 2024 (Input is not a valid "
    "path for <class 'pathlib.Path'>); write '\"2024\"' for the text 2024",
    "data=numbers data.path=x.csv data.columns=[a,true]": "dataset 'numbers': option 'columns.1' expects tuple[str, "
    "...] | None, found ['a', True] (Input should be a valid string); write '\"true\"' for the text true",
    "folder=300": "setting 'folder' expects str | null, found 300 (Input should be a valid string); write '\"300\"' "
    "for the text 300",
    "batch_size=many": "setting 'batch_size' expects int | auto | null, found 'many'",
    "optimizers.enemy.every=2": "settings name an unknown optimizer group 'enemy'; the groups of this model "
    "are autoencoder; remove the settings with '~optimizers.enemy'",
    "encoder=conv": "encoder conv needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape "
    "(30,); choose encoder=mlp",
    "loss=bernoulli": "loss 'bernoulli' is for data that are binary or unit, but these are real; choose "
    f"loss={', '.join(MOST)} or {LAST}",
    # Files and folders.
    "data=numbers data.path=nowhere.csv": "there is no file 'nowhere.csv', did you mean 'words.csv'?",
    "data=image_npz data.path=nowhere.npz": "dataset 'image_npz': there is no file 'nowhere.npz'; set the path of an "
    "NPZ or NPY file",
    "data=image_folder data.path=nowhere": "dataset 'image_folder' at 'nowhere' expects a folder, which does not "
    "exist; set data.path to a folder of images",
    # The formats depend on how Pillow was built.
    "data=image_folder data.path=empty": "dataset 'image_folder' at 'empty' has no images in 'empty'; expected files "
    "that end in ...",
    "data=image_folder data.path=pictures batch_size=4": "image 'pictures/07.png' cannot be decoded (Truncated File "
    "Read); replace it, or leave such files out with on_error=skip",
    # Values and counts.
    "data=numbers data.path=words.csv": "words.csv, line 3, column 'b': 'x' is not a number; correct it, or leave the "
    "row out with modality.on_error=skip",
    "data=numbers data.path=nan.npy batch_size=4": "nan.npy, row 3, column 2: the value is missing (NaN); fill it, "
    "leave the row out with modality.on_error=skip, or set modality.missing=mask to leave the value out",
    "data=numbers data.path=big.npy batch_size=4 modality.domain=unit modality.scale=none": "big.npy, row 5, column 1: "
    "7 is outside domain 'unit'; correct it, leave the row out with modality.on_error=skip, or set another "
    "modality.domain",
    "data=image_npz data.path=bright.npy": "dataset 'image_npz': 'bright.npy', row 0, has values from 3.5 to 3.5, "
    "expected floats in [0, 1]; scale them, save whole numbers 0 to 255 as uint8, or set the values of black and "
    "white, such as modality.range=[0,3.5]",
    "data=numbers data.path=one.npy": "one.npy has too few rows, 1: 1 for validation and 1 for test leave 0 "
    "for training, which needs at least 2; add rows, or lower validation and test",
    "data=image_folder data.path=one": "dataset 'image_folder' at 'one' has too few images, 1: 1 for validation and "
    "1 for test leave 0 for training, which needs at least 2; add images, or lower validation and test",
    "data=numbers data.path=ok.npy batch_size=64": "batch_size=64 is larger than the 16 training samples; set "
    "batch_size=16 or less",
    # Numbers out of range.
    "batch_size=0": "batch_size counts samples and must be at least 1, found 0",
    "batch_size=1": "batch_size=1 counts the samples of all devices, and training needs at least two; set "
    "batch_size=2 or more",
    "max_epochs=0": "setting 'max_epochs' must be at least 1, found 0; set max_epochs to such a number",
    "max_batches=0": "setting 'max_batches' must be at least 1, found 0; set max_batches to such a number",
    "latent.dim=0": "a latent needs dim of at least 1, found a linear layer with 0 outputs; set latent.dim=1 or more",
    "model=vae latent.dim=-1": "a latent needs dim of at least 1, found a linear layer with -2 outputs; set "
    "latent.dim=1 or more",
    "model=vqvae latent.dim=0": "a codebook needs dim of at least 1, found 0; set latent.dim",
    "ema=2": "setting 'ema' must lie between 0 and 1, exclusive, found 2; set ema to such a number",
    "workers=-1": "setting 'workers' must be at least 0, found -1; set workers to such a number",
    "log_every=0": "setting 'log_every' must be at least 1, found 0; set log_every to such a number",
    "steps_per_call=0": "setting 'steps_per_call' must be at least 1, found 0; set steps_per_call to such a number",
    "patience=0": "setting 'patience' must be at least 1, found 0; set patience to such a number",
    "clip=0": "setting 'clip' must be above 0, found 0; set clip to such a number",
    "optimizers.autoencoder.clip=-1": "setting 'optimizers.autoencoder.clip' must be above 0, found -1; set "
    "optimizers.autoencoder.clip to such a number",
    "accumulate=0": "optimizer group 'autoencoder' needs accumulate >= 1, every >= 1 and start >= 0, found 0, 1 and 0",
    "seed=-1": "setting 'seed' must lie between 0 and 4294967295, found -1; set seed to such a number",
    "label_classes=-1": "setting 'label_classes' must be at least 0, found -1; set label_classes to such a number",
    "trainer.devices=0": "setting 'trainer.devices' must be at least 1, -1 or auto for all, or a list of distinct "
    "indices, found 0; set trainer.devices to one of these",
    "trainer.threads=0": "setting 'trainer.threads' must be at least 1, found 0; set trainer.threads to such a number",
    "trainer.precision=bf16": "setting 'trainer.precision' has no value 'bf16', did you mean 'bf16-mixed'?; choose "
    "32-true, bf16-mixed, 16-mixed, 64-true, transformer-engine, transformer-engine-float16",
    "trainer.precision=bf16-true": "setting 'trainer.precision=bf16-true' would keep weights, likelihoods and "
    "codebooks in 8 to 11 bits, which no recipe trains with; set trainer.precision=bf16-mixed",
    "trainer.precision=16-mixed": "trainer.precision=16-mixed needs a GPU, found a CPU; set "
    "trainer.precision=bf16-mixed",
    "trainer.accelerator=cpuu": "setting 'trainer.accelerator' has no value 'cpuu', did you mean 'cpu'?; choose auto, "
    "cpu, gpu, cuda, mps, tpu",
    # Runs.
    "resume=nowhere": "there is no folder 'nowhere'",
    "resume=empty": "'empty' is not a run folder: it has no config.yaml; use the folder of a run",
    "resume=ok.npy": "'ok.npy' is a file, expected the folder of a run or of a saved model",
    "folder=pictures": "run folder 'pictures' exists and is not empty; continue that run with resume=pictures, or "
    "choose another with folder=PATH",
    "folder=ok.npy": "'ok.npy' is a file, a run needs a folder; choose another with folder=PATH",
}


@pytest.mark.parametrize("words", CASES)
def test_it_is_refused_in_one_sentence(words: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = words.split(" ")
    quick = [] if words.startswith("resume=") else [w for w in QUICK if w.partition("=")[0] not in words]
    sentence, expected = refused(capsys, workplace, *given, *quick), CASES[words]
    if expected.endswith("..."):
        sentence = sentence[: len(expected) - 3] + "..."
    assert sentence == expected


def test_corrupt_files_are_skipped_when_asked_and_counted(workplace: Path) -> None:
    words = ["data=image_folder", "data.path=pictures", "batch_size=4", "modality.on_error=skip", "folder=run"]
    assert main([*words, *QUICK]) == 0
    assert (workplace / "run" / "skipped.txt").read_text(encoding="utf-8").splitlines() == [
        "image 'pictures/07.png' cannot be decoded (Truncated File Read); replace it, or leave such files out with "
        "on_error=skip"
    ]


def test_a_linear_code_as_large_as_its_input_is_warned_of(workplace: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SuspiciousConfigWarning)
        assert main(["model=linear_ae", "latent.dim=40", "folder=run", *QUICK]) == 0
    said = [str(each.message) for each in caught if issubclass(each.category, SuspiciousConfigWarning)]
    assert said == [
        "the code of this linear autoencoder has 40 numbers and a sample 30, so it can learn the identity; "
        "choose latent.dim below 30"
    ]


def test_a_machine_without_the_device_says_so(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["trainer.accelerator=cuda", "max_batches=2", "pictures=false"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Lightning cannot run with trainer.accelerator=cuda trainer.devices=1 ")
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs whose models differ, and a third that is of another kind."""
    folder = tmp_path_factory.mktemp("runs")
    small: dict[str, Any] = {"encoder": {"hidden": [8]}, "batch_size": 200, "max_batches": 2, "pictures": False}
    for name, recipe, dim in (("four", "ae", 4), ("five", "ae", 5), ("adversarial", "aae", 4)):
        aeframe.fit(
            model=recipe,
            data="breast_cancer",
            latent={"dim": dim},
            folder=str(folder / name),
            trainer={"accelerator": "cpu", "threads": 1},
            **small,
        )
    return folder


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ("five", "'latent.head.linear.weight' is (5, 8) in it and (4, 8) in the model of this run's config"),
        ("adversarial", "'critics.discriminator_z.layers.1.0.weight' is (256, 4) in it and missing in the model of "
                        "this run's config"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_model_is_refused(
    runs: Path, workplace: Path, capsys: pytest.CaptureFixture[str], other: str, sentence: str
) -> None:
    run = workplace / "run"
    shutil.copytree(runs / "four", run)
    shutil.copy(runs / other / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")
    before = {folder: tree(run / folder) for folder in ("checkpoints", "model")}
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory")
        assert main(["resume=run", "max_batches=4"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: this checkpoint is of another model: {sentence}; resume the run that it belongs to"
    )
    assert {folder: tree(run / folder) for folder in before} == before


def test_a_saved_model_with_the_tensors_of_another_is_refused(
    runs: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = workplace / "run"
    shutil.copytree(runs / "four", run)
    shutil.copy(runs / "five" / "model" / "model.safetensors", run / "model" / "model.safetensors")
    before = tree(workplace)
    assert aeframe_main(["evaluate", "run"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "is damaged: its SHA-256 is " in said
    assert said.count("\n") == 1
    assert tree(workplace) == before


def test_a_loss_that_does_not_say_its_data_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "mute.py").write_text(
        "from aeframe import hookimpl\nfrom aeframe.parts import Loss\n\n@hookimpl\ndef register_losses(register):\n"
        "    register('mute', 'mute:Mute')\n\nclass Mute(Loss):\n    pass\n",
        encoding="utf-8",
    )
    assert refused(capsys, workplace, "--plugin", "mute.py", "loss=mute") == (
        "loss 'mute' does not state the domains of its data; give mute.Mute the class attribute domains, "
        'such as frozenset({"real", "unit"})'
    )
