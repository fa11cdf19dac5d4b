"""Every recipe in every precision it is offered for: whole runs with an average and accumulated gradients."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

import aeframe
from aeframe.data.datamodule import DataModule
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.registry import registry
from aeframe.training.module import AutoencoderModule
from aeframe.training.warning_filters import quiet_lightning

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(
    not registry().has("dataset", "digits"), reason="data 'digits' come with aeframe-image, which is not installed"
)
RECIPES = core_recipes()
QUICK = {("sampler", "steps"): 5, ("latent", "dead_after"): 500}


def small(recipe: str) -> list[str]:
    """Return the overrides that make a recipe small and quick."""
    ours, plain = (compose(["data=digits", f"model={name}"]) for name in (recipe, "ae"))
    sizes = ["encoder.channels=[8,16]"] if ours["encoder"] == plain["encoder"] else []
    quick = [f"{part}.{option}={value}" for (part, option), value in QUICK.items() if option in ours[part]]
    return ["data=digits", f"model={recipe}", "batch_size=64", *sizes, *quick]


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_trains_tests_and_saves(recipe: str, precision: str, tmp_path: Path) -> None:
    run = aeframe.fit(
        overrides=small(recipe),
        max_batches=3,
        accumulate=2,
        ema=0.9,
        pictures=False,
        folder=tmp_path / "run",
        trainer={"precision": precision, "threads": 1, "accelerator": "cpu", "limit_val_batches": 1},
    )
    assert math.isfinite(run.metrics["loss"])
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert bool(aeframe.load(run.folder).encode(x).isfinite().all())


class Float16(MixedPrecision):
    """Lightning's float16 with a scaler, on a CPU."""

    def __init__(self) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=8.0))


# What torch has no float16 kernels for on a CPU.
@pytest.mark.parametrize("recipe", RECIPES)
def test_float16_scales_every_accumulated_gradient(recipe: str, tmp_path: Path) -> None:
    module, data = aeframe.build(overrides=small(recipe), accumulate=2, clip=1.0)
    steps: list[float] = []

    class Follow(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
            gradients = [
                p.grad.norm() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
            ]
            steps.append(float(torch.stack(gradients).norm()))

    before = {name: value.clone() for name, value in module.model.named_parameters()}
    fit(module, data, tmp_path, 4, plugins=[Float16()], callbacks=[Follow()])
    assert len(steps) >= 2
    assert all(math.isfinite(norm) for norm in steps)
    assert any(not torch.equal(before[name], value) for name, value in module.model.named_parameters())


def fit(module: AutoencoderModule, data: DataModule, folder: Path, batches: int, **arguments: Any) -> None:
    with quiet_lightning(logging.ERROR):
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=1, limit_train_batches=batches, limit_val_batches=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, inference_mode=False,
            default_root_dir=folder, **arguments,
        )  # fmt: skip
        trainer.fit(module, data)


@pytest.mark.parametrize(("precision", "instead"), [("bf16-true", "bf16-mixed"), ("16-true", "16-mixed")])
def test_what_no_recipe_trains_with_is_refused(precision: str, instead: str) -> None:
    with pytest.raises(AeframeError) as error:
        compose([f"trainer.precision={precision}"])
    assert str(error.value) == (
        f"setting 'trainer.precision={precision}' would keep weights, likelihoods and codebooks in 8 to 11 bits, which "
        f"no recipe trains with; set trainer.precision={instead}"
    )
