"""`aeframe.export_model` and ``aeframe export``: programs that compute what the model computes, without aeframe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import aeframe
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe.evaluation.anomalies import reconstruction_errors
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.export import programs
from aeframe.model_store.export.inputs import RandomInputs
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch, TrainingProgress

from .conftest import Save

torch.set_num_threads(1)

# Default recipes, with small layers. The greedy search of a decoder of texts is unrolled.
MODELS = {
    "image vae": ["data=digits", "model=vae", "encoder.channels=[4,8]"],
    "image vqvae": ["data=digits", "model=vqvae", "encoder.channels=[4,8]", "latent.codebook_size=16"],
    "text": ["data=sentences", "model=vae", "modality.max_length=4", "modality.too_long=cut", "encoder.hidden=8"],
    "omics": ["data=cells_simulated", "model=vae", "encoder.hidden=[8]"],
}


def untrained(overrides: list[str]) -> TrainedModel:
    """Return a model with random weights and the fitted modality of its data."""
    config = compose(overrides)
    modality, dataset, spec = check(config)
    modality.prepare(dataset)
    torch.manual_seed(0)
    model = assemble(config, spec).eval()
    sampler = build("sampler", "prior", model=model)
    return TrainedModel(model, modality, sampler, config, spec, TrainingProgress(), torch.device("cpu"))


def outputs(path: Path, inputs: Mapping[str, Any]) -> list[Tensor]:
    """Run an exported function as a program without aeframe would."""
    if path.suffix == ".pt2":
        return list(torch.export.load(path).module()(**inputs))
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    flat = {**{name: value for name, value in inputs.items() if name != "extras"}, **inputs.get("extras", {})}
    return [torch.from_numpy(each) for each in session.run(None, {name: value.numpy() for name, value in flat.items()})]


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["torch-export", "onnx"])
@pytest.mark.parametrize("name", MODELS)
def test_programs_return_what_the_model_returns(name: str, file_format: str, tmp_path: Path) -> None:
    model = untrained(MODELS[name])
    folder = tmp_path / "exported"
    aeframe.export_model(model, folder, format=file_format)
    written = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["functions"]
    random = RandomInputs(model)
    for function in ("encode", "decode", "score"):
        inputs = random.make(function, 4, 77)
        extras = {key: value for key, value in inputs.pop("extras", {}).items() if key in written[function]["extras"]}
        inputs |= {"extras": extras} if extras else {}
        suffix = ".onnx" if file_format == "onnx" else ".pt2"
        found = outputs(folder / f"{function}{suffix}", inputs)
        batch = Batch(inputs.get("x", torch.empty(0)), mask=inputs.get("mask"), extras=extras)
        with torch.no_grad():
            if function == "encode":
                expected = model.encode(batch)
            elif function == "decode":
                expected = model.decode(inputs["z"])
            else:
                expected = reconstruction_errors(model.model, batch)[0]
        torch.testing.assert_close(found[0].to(expected.dtype), expected, rtol=1e-5, atol=1e-5)


class Branching(nn.Module):
    """A network whose control flow depends on values, which no program can have."""

    def forward(self, x: Tensor) -> Tensor:
        return x if bool((x.sum() > 0).item()) else -x


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(save: Save, tmp_path: Path) -> None:
    model, _ = save()
    model.model.encoder.register_module("layers", nn.Sequential(Branching(), model.model.encoder.layers))
    with pytest.raises(AeframeError) as error:
        aeframe.export_model(model, tmp_path / "exported", format="torch-export")
    assert str(error.value) == (
        "model 'vae' cannot export encode because its encoder (MLPEncoder) has control flow that depends on values, "
        "and score because its encoder (MLPEncoder) has control flow that depends on values; export the rest with "
        "functions decode"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_program_that_differs_from_the_model_is_refused(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = save()
    run = programs.TorchExport.run

    def wrong(self: programs.TorchExport, path: Path, inputs: Any) -> list[tuple[Tensor, ...]]:
        return [tuple(each + 0.5 for each in results) for results in run(self, path, inputs)]

    monkeypatch.setattr(programs.TorchExport, "run", wrong)
    with pytest.raises(AeframeError, match=r"encode because its results differ from those of the model by 0\.\d+"):
        aeframe.export_model(model, tmp_path / "exported", format="torch-export", functions=["encode"])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "onx"}, "export has the formats torch-export, onnx, found 'onx', did you mean 'onnx'?"),
        (
            {"functions": ["encod"]},
            "export has the functions encode, decode, score, found 'encod', did you mean 'encode'?",
        ),
        ({"functions": []}, "export writes at least one function, found none; choose of encode, decode, score"),
        ({"folder": "run"}, "'{tmp}/run' exists already; choose another folder"),
        ({"folder": "a/b"}, "there is no folder '{tmp}/a' for 'b'; create it first"),
    ],
)
def test_bad_arguments(save: Save, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    model, _ = save()
    arguments = {"folder": "exported", "format": "onnx", **changes}
    with pytest.raises(AeframeError) as error:
        aeframe.export_model(model, tmp_path / arguments.pop("folder"), **arguments)
    assert str(error.value) == message.replace("{tmp}", str(tmp_path))


def test_the_format_onnx_names_the_extra_that_it_needs(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = save()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(AeframeError, match=r"which is not installed; run pip install 'aeframe\[onnx\]'"):
        aeframe.export_model(model, tmp_path / "exported", format="onnx")


def test_the_command_writes_files_with_their_metadata(save: Save, tmp_path: Path) -> None:
    model, _ = save(condition=2, modality={"name": "vector", "missing": "mask"})
    options = ["--format", "torch-export", "--functions", "score", "-o", str(tmp_path / "out")]
    assert main(["export", str(tmp_path / "run"), *options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metadata.json", "score.pt2"]
    inside = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "out" / "score.pt2", extra_files=inside)
    metadata = json.loads(inside["metadata.json"])
    assert metadata["inputs"] == {
        "x": {"shape": ["batch", 30], "dtype": "float32"},
        "mask": {"shape": ["batch", 30], "dtype": "bool"},
        "condition": {"shape": ["batch", 2], "dtype": "float32"},
    }
    assert metadata["model"]["recipe"] == "vae"
    assert metadata["preprocessing"]["state"] == json.loads(
        (tmp_path / "run" / "model" / "modality.json").read_text(encoding="utf-8")
    ) | {
        name: value.tolist() for name, value in model.modality.state().items() if isinstance(value, Tensor)
    }  # fmt: skip
    assert "/" not in metadata["model"]["dataset"]
    inputs = RandomInputs(model).make("score", 6, 1)
    expected = reconstruction_errors(model.model, Batch(**inputs))[0]
    torch.testing.assert_close(program.module()(**inputs)[0], expected, rtol=1e-5, atol=1e-5)
