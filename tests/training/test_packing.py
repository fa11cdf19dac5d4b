"""Many models in one vectorized step: each equals the same model trained alone."""

from __future__ import annotations

import pytest
import torch

import aeframe
from aeframe.noise import TRAINING, seed_noise
from aeframe.training.module import AutoencoderModule
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.training.packed_numbers import UnpackableError
from aeframe.training.packing import PackedMember, PackedStep
from aeframe.types import Batch, TrainingProgress

RECIPES = ["ae", "vae", "beta_vae", "dae", "iwae", "free_bits_vae", "sparse_ae", "fsq_vae", "rae_l2", "beta_tc_vae"]
RATES = (1e-3, 3e-3, 1e-2)


def modules(recipe: str, **settings: object) -> list[AutoencoderModule]:
    """Return three modules that differ in seed and learning rate."""
    x = torch.randn(60, 10, generator=torch.Generator().manual_seed(0)).numpy()
    built = [
        aeframe.build(x, model=recipe, seed=seed, optimizer={"lr": rate}, batch_size=16, **settings)[0]
        for seed, rate in enumerate(RATES)
    ]
    # Adam divides a gradient by its size, so it turns the rounding errors of gradients near 0 into whole steps in
    # single precision.
    return [module.double().train() for module in built]


def members(built: list[AutoencoderModule]) -> list[PackedMember]:
    return [
        PackedMember(module.model, make_optimizer_groups(module.model, {"name": "adam", "lr": rate})[0], module.seed)
        for module, rate in zip(built, RATES, strict=True)
    ]


def batches(step: int, rows: int) -> list[Batch]:
    return [
        Batch(torch.randn(rows, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(10 * step + m)))
        for m in range(3)
    ]


def train_alone(member: PackedMember, batch: Batch, progress: TrainingProgress) -> float:
    seed_noise(batch.x.device, member.seed, TRAINING, 0, progress.batch)
    member.model.set_progress(progress)
    output = member.model(batch, num_samples=member.model.objective.num_samples)
    loss = member.group.terms(member.model, output, progress).total().mean()
    loss.backward()
    member.group.optimizer.step()
    member.group.optimizer.zero_grad()
    return float(loss.detach())


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_packed_model_equals_the_model_alone(recipe: str) -> None:
    alone, packed = members(modules(recipe)), members(modules(recipe))
    step, progress = PackedStep(packed), TrainingProgress(planned=6)

    for number, rows in enumerate([16, 16, 12, 16, 12, 16]):
        data = batches(number, rows)
        expected = [train_alone(member, batch, progress) for member, batch in zip(alone, data, strict=True)]
        if number == 0:
            step.check(data, progress)
        terms, gradients = step.compute(data, progress)
        step.step(gradients, [None] * len(packed))
        progress.advance()
        assert terms.names[-1] == "loss"
        torch.testing.assert_close(terms.means[:, -1], torch.tensor(expected, dtype=torch.float64))

    for one, other in zip(alone, packed, strict=True):
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value)


def test_models_of_other_shapes_are_not_packed() -> None:
    mixed = [*members(modules("ae"))[:2], members(modules("ae", latent={"dim": 3}))[2]]

    with pytest.raises(UnpackableError, match="out_features differs"):
        PackedStep(mixed)
