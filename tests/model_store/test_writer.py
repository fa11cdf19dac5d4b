from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from aeframe import registry
from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError
from aeframe.model_store.integrity import file_hashes
from aeframe.model_store.reader import load
from aeframe.model_store.tensors import load_tensors, read_tensors, write_tensors
from aeframe.model_store.writer import save_model
from aeframe.types import Batch
from aeframe.version import __version__

from .conftest import VAE, Save

RECIPES: dict[str, dict[str, Any]] = {
    "vae": {},
    "mixture": {"prior": {"name": "mixture", "components": 4}},
    "gmm": {"latent": "point", "objective": "deterministic", "sampler": {"name": "gmm", "components": 3}},
    "vq": {
        "latent": {"name": "vq", "codebook_size": 8, "dim": 2, "tokens": 3}, "objective": "deterministic",
        "sampler": "codes",
    },
    "fsq": {"latent": {"name": "fsq", "levels": [3, 3], "tokens": 3}, "objective": "deterministic", "sampler": "codes"},
    "aae": {"latent": "point", "objective": "adversarial", "critics": {"discriminator_z": {}}},
    "penalties": {"latent": "point", "objective": "deterministic", "penalties": {"l1": {}, "contractive": {}}},
    "activation": {"activation": {"name": "prelu", "init": 0.1}},
}  # fmt: skip


def x_of(num: int = 12) -> torch.Tensor:
    return torch.randn(num, 30, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_saved_model_is_opened_with_the_same_tensors(save: Save, recipe: str) -> None:
    saved, model = save(**RECIPES[recipe])
    stored, expected = saved.model.state_dict(), model.state_dict()
    assert list(stored) == list(expected)
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    with torch.no_grad():
        assert torch.allclose(saved.encode(x_of()), model(Batch(x_of()), sample=False).latent.mean, atol=1e-6)
    assert saved.sample(3, seed=0).shape == (3, 30)
    assert saved.progress.state_dict() == {"batch": 30, "epoch": 0, "batch_in_epoch": 0, "planned": 40, "rows": 0}
    assert not saved.model.training


def test_opening_restores_the_random_generator(save: Save, tmp_path: Path) -> None:
    save()
    state = torch.get_rng_state()
    load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_files_hold_no_code_and_nothing_unpickles(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a pickle was opened")

    save()
    for name in ("torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        monkeypatch.setattr(name, refuse)
    load(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "model").iterdir()) == [
        "card.md", "config.yaml", "modality.json", "modality.safetensors", "model.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model"]


def test_the_config_is_of_names_and_plain_values(save: Save, tmp_path: Path) -> None:
    saved, _ = save()
    text = (tmp_path / "run" / "model" / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert "_target_" not in text
    assert config == saved.config
    assert config["format"] == 1
    assert config["aeframe"] == __version__
    assert config["spec"] == {"shape": [30], "domain": "real", "condition": 0}
    assert config["plugins"] == {}
    assert {key: config[key] for key in ("encoder", "objective", "data", "seed")} == {
        key: VAE[key] for key in ("encoder", "objective", "data", "seed")
    }
    assert "max_epochs" not in config


def test_another_process_finds_the_same_numbers(save: Save, tmp_path: Path) -> None:
    saved, _ = save(prior={"name": "mixture", "components": 4})
    program = (
        "import sys, json, torch, aeframe; torch.set_num_threads(1); model = aeframe.load(sys.argv[1]);"
        "x = torch.randn(12, 30, generator=torch.Generator().manual_seed(5));"
        "print(json.dumps([t.tolist() for t in (model.encode(x), model.score(x), model.sample(3, seed=4),"
        " model.reconstruct(x))]));"
        "assert 'lightning' not in sys.modules and 'hydra' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    x = x_of()
    here = [saved.encode(x), saved.score(x), saved.sample(3, seed=4), saved.reconstruct(x)]
    assert json.loads(done.stdout) == [t.tolist() for t in here]


def test_the_modality_is_prepared_as_in_training(save: Save, tmp_path: Path) -> None:
    saved, _ = save()
    path = tmp_path / "new.csv"
    saved.modality.write(x_of(), path)
    assert torch.allclose(saved.modality.read(path).x, x_of(), atol=1e-4)


def test_saving_again_replaces_and_a_failed_save_does_not(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    second, _ = save()
    assert torch.equal(load(tmp_path / "run").encode(x_of()), second.encode(x_of()))
    monkeypatch.setattr("aeframe.model_store.writer.make_card", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save()
    monkeypatch.undo()
    assert torch.equal(load(tmp_path / "run").encode(x_of()), second.encode(x_of()))
    third, _ = save()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model"]
    assert not torch.equal(third.encode(x_of()), second.encode(x_of()))


def test_after_a_save_interrupted_between_its_renames_the_previous_model_is_opened(save: Save, tmp_path: Path) -> None:
    saved, _ = save()
    (tmp_path / "run" / "model").rename(tmp_path / "run" / ".model.previous")
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        assert torch.equal(load(path).encode(x_of()), saved.encode(x_of()))


def test_a_tensor_shared_by_two_parts_is_stored_once(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def __init__(self, fill: float) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a
            self.register_buffer("transposed", torch.full((2, 4), fill).T)
            self.register_buffer("view", torch.full((6,), fill)[2:4])
            self.register_buffer("empty", torch.zeros(0))

    written, read = Pair(2.0), Pair(0.0)
    write_tensors(tmp_path / "t.safetensors", written.state_dict())
    assert sorted(load_file(tmp_path / "t.safetensors")) == ["a.bias", "a.weight", "empty", "transposed", "view"]
    load_tensors(read, tmp_path / "t.safetensors")
    for name, tensor in read.state_dict().items():
        assert torch.equal(tensor, written.state_dict()[name])
    assert read.a is read.b


def broken(folder: Path, what: str) -> str:
    """Damage a saved model, and return the error message of opening it."""
    config_path, tensors_path = folder / "config.yaml", folder / "model.safetensors"
    config, tensors = yaml.safe_load(config_path.read_text()), read_tensors(tensors_path)
    other = f"'{tensors_path}' does not fit the parts in config.yaml"
    message = ""
    if what == "format":
        config |= {"format": 2, "aeframe": "7.0"}
        message = f"model '{folder}' has format 2, aeframe {__version__} reads up to format 1; install aeframe 7.0"
    elif what == "plugin":
        config["plugins"] = {"spectra": {"distribution": "aeframe-spectra", "version": "0.3"}}
        message = (
            f"model '{folder}' needs plugin 'spectra' of aeframe-spectra 0.3, which is not installed; "
            "pip install 'aeframe-spectra==0.3'"
        )
    elif what == "file plugin":
        config["plugins"] = {"mine": {"distribution": "mine.py", "version": "file"}}
        needed = f"model '{folder}' needs plugin 'mine' of mine.py file"
        message = f"{needed}, which is not loaded; name it in AEFRAME_PLUGIN_FILES"
    elif what == "part":
        config["latent"] = {"name": "gausian"}
        known = ", ".join(registry.registry().names("latent"))
        message = f"model '{folder}': unknown latent 'gausian', did you mean 'gaussian'?; known are {known}"
    elif what == "key":
        del config["spec"]
        message = f"'{config_path}' is not that of a saved model: it has no 'spec'; copy the folder again"
    elif what == "shape":
        config["latent"] = {"name": "gaussian", "dim": 4}
        message = (
            f"{other}: tensor 'model.latent.head.linear.weight' has shape (6, 16), expected (8, 16); "
            "copy the whole folder again"
        )
    elif what == "missing":
        name = "model.latent.head.linear.bias"
        del tensors[name]
        message = f"{other}: it lacks the tensor '{name}'; copy the whole folder again"
    elif what == "left over":
        tensors["model.more"] = torch.zeros(1)
        message = f"{other}: it has an unknown tensor 'model.more'; copy the whole folder again"
    save_file(tensors, tensors_path)
    config_path.write_text(yaml.safe_dump({**config, "sha256": file_hashes(folder)}))
    return message


@pytest.mark.parametrize("what", ["format", "plugin", "file plugin", "part", "key", "shape", "missing", "left over"])
def test_errors_of_damaged_models_name_the_reason(save: Save, tmp_path: Path, what: str) -> None:
    save()
    message = broken(tmp_path / "run" / "model", what)
    with pytest.raises(AeframeError) as error:
        load(tmp_path / "run")
    assert str(error.value) == message


def test_files_that_are_damaged_or_absent(save: Save, tmp_path: Path) -> None:
    save()
    folder = tmp_path / "run" / "model"
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(AeframeError, match=r"model.safetensors' is damaged: its SHA-256 is .*; copy the whole"):
        load(folder)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "modality.json").write_text("{")
    with pytest.raises(
        AeframeError, match=r"modality.json' is damaged: its SHA-256 is .*; copy the whole folder again"
    ):
        load(folder)
    (folder / "modality.json").unlink()
    with pytest.raises(AeframeError) as error:
        load(folder)
    assert str(error.value) == (
        f"there is no file '{folder / 'modality.json'}', which a saved model has; copy the folder again"
    )


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as error:
        load(tmp_path)
    assert str(error.value) == (
        f"'{tmp_path}' holds no saved model: there is no model.safetensors in it, nor in its folder 'model'; "
        "use the folder of a finished run"
    )
    with pytest.raises(AeframeError) as error:
        load(tmp_path / "nothing")
    assert str(error.value) == f"there is no folder '{tmp_path / 'nothing'}'"


def test_a_saved_model_lists_the_plugins_it_requires(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "elsewhere" / "mine.py"
    plugin.parent.mkdir()
    plugin.write_text(
        "from aeframe import hookimpl\n"
        "@hookimpl\n"
        "def register_schedules(register):\n"
        "    register('mine', 'aeframe.parts.schedules:Linear')\n"
    )
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(plugin))
    registry.reset()
    try:
        # A schedule inside an option of a part counts as well.
        saved, _ = save(objective={"name": "elbo", "beta": {"name": "mine", "end": 2.0}})
        assert saved.config["plugins"] == {"mine": {"distribution": "mine.py", "version": "file"}}
        assert "mine.py" in (tmp_path / "run" / "model" / "card.md").read_text()
        assert str(tmp_path) not in (tmp_path / "run" / "model" / "config.yaml").read_text()
        monkeypatch.setenv("AEFRAME_DISABLE", "mine")
        registry.reset()
        with pytest.raises(AeframeError) as error:
            load(tmp_path / "run")
        assert str(error.value) == (
            f"model '{tmp_path / 'run' / 'model'}' needs plugin 'mine' of mine.py file, "
            "which is disabled: named in AEFRAME_DISABLE"
        )
    finally:
        monkeypatch.undo()
        registry.reset()


def test_the_card_describes_the_model(save: Save, tmp_path: Path) -> None:
    save(penalties={"l1": {"weight": 0.5}})
    card = (tmp_path / "run" / "model" / "card.md").read_text()
    for expected in (
        "# vae",
        "- Data: `breast_cancer`",
        "- A sample: 30, values real",
        "| latent | `gaussian` (dim 3) |",
        "| objective | `elbo` (beta {name linear, end 2.0}) |",
        "| penalty | `l1` (weight 0.5) |",
        "| mse | 0.25 |",
        "aeframe.load(",
    ):
        assert expected in card


@pytest.mark.parametrize(
    ("cwd", "path"), [("model", "."), ("model", ""), ("model/below", ".."), ("model/below", "~/model")]
)
def test_a_path_is_resolved_and_its_home_folder_expanded(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cwd: str, path: str
) -> None:
    saved, _ = save(tmp_path / "model")
    (tmp_path / "model" / "below").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / cwd)
    assert torch.equal(load(path).encode(x_of()), saved.encode(x_of()))


def test_the_model_of_an_interrupted_save_is_found_in_the_working_folder_and_by_a_link(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = save()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "model").rename(tmp_path / "run" / ".model.previous")
    monkeypatch.chdir(tmp_path / "run")
    for path in (".", "model", tmp_path / "link", tmp_path / "link" / "model"):
        assert torch.equal(load(path).encode(x_of()), saved.encode(x_of()))


def test_the_root_folder_holds_no_model() -> None:
    with pytest.raises(AeframeError, match=r"^'/' holds no saved model: "):
        load("/")


def test_a_model_is_saved_to_the_target_of_a_link(save: Save, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        save(tmp_path / "model")
    assert (tmp_path / "model").readlink() == tmp_path / "elsewhere"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "model"]


@pytest.mark.parametrize("device", ["cuda:77", "nowhere"])
def test_a_device_that_cannot_be_used_is_refused(save: Save, tmp_path: Path, device: str) -> None:
    save()
    with pytest.raises(AeframeError) as error:
        load(tmp_path / "run", device=device)
    message = str(error.value)
    assert message.startswith(f"device '{device}' cannot be used (")
    assert message.endswith("); choose another with device=")
    assert "\n" not in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_device_cuda_is_refused(save: Save, tmp_path: Path) -> None:
    save()
    with pytest.raises(AeframeError, match=r"^device 'cuda' cannot be used \(.*\); choose another with device=$"):
        load(tmp_path / "run", device="cuda")


def test_a_model_is_saved_with_its_record_and_without(save: Save, tmp_path: Path) -> None:
    found, model = save()
    assert found.data == DataRecord()
    record = DataRecord({"name": "breast_cancer"}, {"train": torch.arange(3)})
    save_model(tmp_path / "model", model, found.modality, found.config, found.sampler, metrics={}, data=record)
    assert load(tmp_path).data.split["train"].tolist() == [0, 1, 2]
    assert load(tmp_path).data.fingerprint == record.fingerprint


def test_a_saved_model_states_the_activation_of_its_reconstruction(save: Save, tmp_path: Path) -> None:
    modality = {"name": "vector", "domain": "unit", "scale": "minmax"}
    saved, _ = save(loss="mse", modality=modality)
    assert saved.config["loss"] == {"name": "mse", "activation": "steep_sigmoid"}
    z = torch.full((1, 3), 3.0)
    # Earlier versions saved null for the identity.
    file = tmp_path / "run" / "model" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(config | {"loss": {"name": "mse", "activation": None}}))
    earlier = load(tmp_path / "run")
    assert earlier.config["loss"] == {"name": "mse", "activation": "identity"}
    with torch.no_grad():
        output = earlier.model.decode(z)
        torch.testing.assert_close(saved.decode(z), (4 * output).sigmoid().squeeze(1))
        torch.testing.assert_close(earlier.decode(z), output.clamp(0, 1).squeeze(1))
