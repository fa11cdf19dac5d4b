"""Own modules and functions as parts: shapes, copies, saved models, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aeframe
from aeframe.errors import AeframeError
from aeframe.parts import Encoder
from aeframe.parts.own import OtherCodeWarning
from aeframe.types import Batch

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(100, 6))


class OwnNet(nn.Module):
    def __init__(self, size_in: int = 6, size_out: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size_in, size_out), nn.BatchNorm1d(size_out), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class OfBatches(Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.out_shape, self.layer = (4,), nn.Linear(6, 4)

    def forward(self, batch: Batch) -> Tensor:
        features: Tensor = self.layer(batch.masked_x())
        return features


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    def fit(**settings: Any) -> Any:
        quick = {"model": "vae", "max_batches": 3, "pictures": False, "progress": False, "folder": tmp_path / "run"}
        return aeframe.fit(X, **{**quick, "trainer": {"threads": 1, "accelerator": "cpu"}, **settings})

    return fit


def test_a_run_trains_a_copy_of_a_module(fit: Any) -> None:
    torch.manual_seed(0)
    module = OwnNet()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = fit(encoder=module, decoder=nn.Linear(5, 6), latent={"dim": 5})
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    trained = run.model.model.encoder.module.state_dict()
    assert not torch.equal(trained["layers.0.weight"], before["layers.0.weight"])
    # The weights of the best epoch.
    assert int(trained["layers.1.num_batches_tracked"]) > 0


def test_a_saved_model_is_opened_with_the_code(fit: Any) -> None:
    run = fit(encoder=OwnNet(), decoder=nn.Linear(5, 6), latent={"dim": 5})
    with pytest.raises(AeframeError, match=r"an encoder of the class .*OwnNet, whose code is not saved with it"):
        aeframe.load(run.folder)
    with pytest.raises(AeframeError, match=r"a decoder of the class torch\.nn\.modules\.linear\.Linear"):
        aeframe.load(run.folder, encoder=OwnNet())
    opened = aeframe.load(run.folder, encoder=OwnNet(), decoder=nn.Linear(5, 6))
    batch = run.model.prepare(X)
    torch.testing.assert_close(opened.encode(batch), run.model.encode(batch), rtol=0, atol=0)
    torch.testing.assert_close(opened.reconstruct(batch), run.model.reconstruct(batch), rtol=0, atol=0)
    with pytest.raises(AeframeError, match="load has no argument 'encodr', did you mean 'encoder'"):
        aeframe.load(run.folder, encodr=OwnNet())


def test_a_part_may_be_an_object(fit: Any) -> None:
    run = fit(encoder=OfBatches(), decoder="mlp")
    assert run.model.model.encoder.out_shape == (4,)


@pytest.mark.parametrize(
    "loss",
    [nn.functional.mse_loss, nn.MSELoss(), nn.MSELoss(reduction="sum"), lambda x_hat, x: (x_hat - x) ** 2,
     lambda x_hat, x: ((x_hat - x) ** 2).sum(1)],
)  # fmt: skip
def test_a_function_is_the_loss(fit: Any, tmp_path: Path, loss: Any) -> None:
    own = fit(loss=loss, model="ae")
    named = fit(loss="mse", model="ae", folder=tmp_path / "named")
    assert own.metrics["reconstruction"] == pytest.approx(named.metrics["reconstruction"], rel=1e-5)


def test_a_function_sees_importance_samples_as_samples(fit: Any) -> None:
    run = fit(loss=lambda x_hat, x: (x_hat - x) ** 2, model="iwae", objective={"num_samples": 3})
    assert np.isfinite(run.metrics["loss"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": OwnNet(7)}, r"encoder OwnNet fails for x of shape \(2, 6\)"),
        ({"encoder": OwnNet}, r"found the class OwnNet; pass an object of it, OwnNet\(\.\.\.\)"),
        ({"encoder": OwnNet()}, "has no mirrored decoder"),
        ({"encoder": OwnNet(), "decoder": nn.Linear(16, 7)}, r"returns shape \(2, 7\) .*, expected \(2, 6\)"),
        ({"encoder": lambda x: x}, "encoder expects a torch.nn.Module, found function"),
        ({"encoder": 3}, "encoder expects a name"),
        ({"encoder": nn.LSTM(6, 4)}, "returns tuple, expected a tensor"),
        ({"loss": lambda x_hat, x: ((x_hat - x) ** 2).mean()}, "do not average over samples"),
    ],
)
def test_errors(fit: Any, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError, match=message):
        fit(**settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["encoder", "decoder", "loss"])
def test_a_config_alone_cannot_name_a_module_of_a_program(fit: Any, kind: str) -> None:
    with pytest.raises(AeframeError) as error:
        fit(**{kind: "own"})
    assert str(error.value) == (
        f"{kind} 'own' is a module or function of a program, found none; pass it: aeframe.fit({kind}=...)"
    )


def test_a_sigmoid_before_logits_is_an_error(fit: Any, tmp_path: Path) -> None:
    decoder = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid())
    unit = {"modality": {"name": "vector", "domain": "unit", "scale": "minmax"}, "latent": {"dim": 5}}
    with pytest.raises(AeframeError) as error:
        fit(decoder=decoder, loss="bernoulli", **unit)
    assert str(error.value) == (
        "the decoder ends in Sigmoid, and loss 'bernoulli' applies an activation of its own to the decoder's output "
        "(logits); leave out Sigmoid, or choose another loss, such as loss=mse"
    )
    fit(decoder=decoder, loss="mse", **unit)
    fit(decoder=nn.Linear(5, 6), loss="bernoulli", folder=tmp_path / "logits", **unit)


def test_other_code_than_in_training_is_said(fit: Any) -> None:
    run = fit(encoder=OwnNet(), decoder="mlp")
    with pytest.warns(OtherCodeWarning, match=r"was trained with the encoder .*OwnNet, and is opened with .*_Renamed"):
        aeframe.load(run.folder, encoder=_Renamed())


class _Renamed(OwnNet):
    """The same layers under another name."""


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x_hat, x: 1.0, "returns float, expected a tensor with one number for each element"),
        (nn.MSELoss, "loss expects a module, found the class MSELoss; pass an object of it, MSELoss(...)"),
    ],
)
def test_a_loss_that_is_no_function_of_tensors(fit: Any, loss: Any, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        fit(loss=loss)
    assert message in str(error.value)
