import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe import registry
from aeframe.errors import AeframeError
from aeframe.experiment.checks import dry_run
from aeframe.experiment.compose import compose
from aeframe.parts import Decoder, Encoder, LatentSpace, Penalty
from aeframe.parts.latents.point import Point
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Batch, DataSpec, Domain, Shape

SPEC = DataSpec((6,), Domain("real"))


class WrongWidth(Encoder):
    """Says 4 features, and gives 5."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[0], 5)
        self.out_shape = (4,)

    def forward(self, batch: Batch) -> Tensor:
        return self.linear(batch.x)


class WrongShape(Decoder):
    """Leaves out the dimension of the outputs."""

    def __init__(self, z_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(z_shape[0], out_shape[1])

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        return self.linear(z)


class Averaging(Penalty):
    """Averages over the batch, which no term may."""

    def __init__(self, *, weight: Schedule = fixed(1.0)) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, model: Any, p: Any) -> Tensor:
        return p.latent.z.square().mean()


class Curious(Point):
    """Looks at numbers, which the meta device does not have."""

    def forward(self, features: Tensor, *, sample: bool) -> Any:
        if features.abs().sum().item() < 0:
            raise ValueError("never")
        return super().forward(features, sample=sample)


class Stubborn(LatentSpace):
    """Fails in its own way."""

    def __init__(self, feature_shape: Shape) -> None:
        super().__init__()
        self.shape = (2,)
        raise RuntimeError("codes must be even\nand a second line")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("parts_of_test_dry_run")
    kinds = {WrongWidth: "encoder", WrongShape: "decoder", Averaging: "penalty", Curious: "latent", Stubborn: "latent"}
    for part, kind in kinds.items():
        setattr(module, part.__name__, part)
        name = part.__name__.lower()
        known = registry.registry()._of_kind(kind)
        known[name] = registry.Entry(kind, name, f"{module.__name__}:{part.__name__}", "", "test", "test")
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_dry_run_allocates_no_memory_and_restores_the_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = dry_run(compose(["model=vae", "encoder.hidden=[2000000]"]), SPEC)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_that_needs_values_is_run_on_the_cpu() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = dry_run(compose(["latent=curious"]), SPEC)
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["encoder=wrongwidth", "decoder=mlp"],
            "encoder 'wrongwidth' returns shape (5,) for each sample, expected (4,); correct it, or choose another "
            "encoder",
        ),
        (
            ["decoder=wrongshape"],
            "decoder 'wrongshape' returns shape (6,) for each sample, expected (1, 6); correct it, or choose another "
            "decoder",
        ),
        (
            ["latent=stubborn"],
            "latent 'stubborn' does not fit samples of shape (6,): codes must be even; change its options or choose "
            "another latent",
        ),
        (
            ["penalties.averaging={}"],
            "the term 'averaging' of the model has shape () for a batch of 2, expected (2,): one number for each "
            "sample, summed over its own elements",
        ),
        (
            ["latent.dim=many"],
            "latent 'point': option 'dim' expects int, found 'many' (Input should be a valid integer, unable to parse "
            "string as an integer)",
        ),
    ],
)
def test_the_error_names_the_part_that_does_not_fit(overrides: list[str], message: str) -> None:
    config = compose(overrides)
    with pytest.raises(AeframeError) as error:
        dry_run(config, SPEC)
    assert str(error.value) == message


def test_options_of_optimizer_and_sampler_are_checked_too() -> None:
    with pytest.raises(AeframeError, match=r"^unknown schedule 'fast'"):
        dry_run(compose(["optimizer.lr=fast"]), SPEC)
    with pytest.raises(AeframeError, match=r"^sampler 'gmm': option 'components' expects int"):
        dry_run(compose(["sampler.components=many"]), SPEC)
