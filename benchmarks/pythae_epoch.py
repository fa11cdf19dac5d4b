"""Compare the time of an epoch and of a whole run with Pythae, on the same images, architecture, loss and split.

Two VAEs of MNIST: the dense layers that Pythae uses if no architecture is passed (784-512-16-512-784), and its ResNet
(``Encoder_ResNet_VAE_MNIST``, ``Decoder_ResNet_AE_MNIST``), here written as two modules that `aeframe.fit` takes. Both
sides train with Adam in batches of 100 on pixels in [0, 1] with a Bernoulli likelihood, validate after each epoch, and
save the best model. They alternate, each in its own process and environment, with one thread.

    python benchmarks/pythae_epoch.py mnist.npz --pythae OTHER/bin/python [--quick] [--rounds 3] [--case mlp|resnet ...]

OTHER is an environment with pythae 0.1.2. An epoch has its validation and, for ours, its checkpoint. The time of the
process has imports, data, three epochs and the saved model; ours also tests this model, which Pythae does not. Neither
side draws pictures. The ratio is that of CPU seconds, which other work on the machine changes less than the wall clock;
both are in the results. The first 50,000 images are for training and the other 10,000 for validation; ``--quick`` takes
a tenth of both for the ResNet.

Losses are those of the validation split after the last epoch, in nats an image: the negative bound with one sample of
z. They differ by the initial weights and the order of the images.

Writes results/pythae_epoch.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

_RESULTS = Path(__file__).with_name("results") / "pythae_epoch.json"
_CASES = ("mlp", "resnet")
_SIDES = ("aeframe", "pythae")
_DIM, _BATCH, _EPOCHS, _LR = 16, 100, 3, 1e-3
_TRAINING = 50_000
_AIM = 1.3


def prepare(data: str, path: Path, *, share: float) -> None:
    """Write a share of the training and of the validation images to an npz file, as uint8 ``(N, 28, 28)``."""
    with np.load(data) as file:
        training, validation = np.split(file["x_train"], [_TRAINING])
        test = file["x_test"]
    count = [round(share * len(images)) for images in (training, validation, test)]
    np.savez(path, train=training[: count[0]], validation=validation[: count[1]], test=test[: count[2]])


class Marks:
    """The CPU seconds and the seconds of the wall clock at the beginning of each epoch and at the end of the last."""

    def __init__(self) -> None:
        self.cpu, self.wall = list[float](), list[float]()

    def add(self) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())

    def medians(self) -> dict[str, float]:
        """Return the median time of an epoch."""
        return {
            "epoch_cpu_seconds": statistics.median(np.diff(self.cpu).tolist()),
            "epoch_seconds": statistics.median(np.diff(self.wall).tolist()),
        }


# -- the two sides, each in its own process ----------------------------------------------------------------------------


def ours(case: str, path: Path, folder: Path, seed: int) -> dict[str, float]:
    """Train with `aeframe.fit`; return the time of an epoch and the last validation loss."""
    import lightning.pytorch as L

    import aeframe

    marks = Marks()

    class EpochTimes(L.Callback):
        """Mark the beginning of each epoch, and the end of training."""

        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            marks.add()

        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            marks.add()

    with np.load(path) as file:
        images = {name: file[name] for name in file}
    networks = resnet() if case == "resnet" else {"encoder": {"name": "mlp", "hidden": [512]}}
    run = aeframe.fit(
        images["train"],
        validation=images["validation"],
        test=images["test"],
        model="vae",
        **networks,
        latent={"dim": _DIM},
        loss="bernoulli",
        optimizer={"lr": _LR},
        max_epochs=_EPOCHS,
        batch_size=_BATCH,
        seed=seed,
        callbacks=[EpochTimes()],
        pictures=False,
        folder=str(folder),
    )
    table = run.history
    bounds = table[(table["split"] == "val") & (table["name"] == "bound")]["value"]
    parameters = sum(parameter.numel() for parameter in run.model.model.parameters())
    return {**marks.medians(), "validation_loss": float(bounds.iloc[-1]), "parameters": parameters}


def resnet() -> dict[str, Any]:
    """Return the encoder and the decoder of Pythae's ResNet for MNIST, up to the layers of mean and variance.

    The decoder returns logits instead of their sigmoid, as our Bernoulli likelihood takes them.
    """
    from torch import Tensor, nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.ReLU(), nn.Conv2d(128, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 128, 1)
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = x + self.layers(x)
            return output

    encoder = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, padding=1), nn.Conv2d(64, 128, 4, 2, padding=1), nn.Conv2d(128, 128, 3, 2, padding=1),
        Residual(), Residual(), nn.Flatten(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(_DIM, 2048), nn.Unflatten(1, (128, 4, 4)), nn.ConvTranspose2d(128, 128, 3, 2, padding=1),
        Residual(), Residual(), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 3, 2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 3, 2, padding=1, output_padding=1),
    )  # fmt: skip
    return {"encoder": encoder, "decoder": decoder}


def theirs(case: str, path: Path, folder: Path, seed: int) -> dict[str, float]:
    """Train with Pythae's pipeline; return the time of an epoch and the last validation loss."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_AE_MNIST, Encoder_ResNet_VAE_MNIST
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    marks, losses = Marks(), list[float]()

    class EpochTimes(TrainingCallback):  # type: ignore[misc, unused-ignore]
        """Mark the beginning of each epoch, and the end of training; keep the validation losses."""

        def on_epoch_begin(self, training_config: Any, **kwargs: Any) -> None:
            marks.add()

        def on_log(self, training_config: Any, logs: dict[str, float], **kwargs: Any) -> None:
            losses.append(logs["eval_epoch_loss"])
            if len(losses) == _EPOCHS:
                marks.add()

    with np.load(path) as file:
        train, validation = (file[name][:, None] / 255.0 for name in ("train", "validation"))
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=_DIM, reconstruction_loss="bce")
    if case == "resnet":
        model = VAE(config, encoder=Encoder_ResNet_VAE_MNIST(config), decoder=Decoder_ResNet_AE_MNIST(config))
    else:
        model = VAE(config)
    training = BaseTrainerConfig(
        output_dir=str(folder),
        num_epochs=_EPOCHS,
        learning_rate=_LR,
        per_device_train_batch_size=_BATCH,
        per_device_eval_batch_size=_BATCH,
        seed=seed,
        no_cuda=True,
    )
    TrainingPipeline(model=model, training_config=training)(train, validation, callbacks=[EpochTimes()])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {**marks.medians(), "validation_loss": losses[-1], "parameters": parameters}


def child(args: argparse.Namespace) -> None:
    """Run one side, and write its result."""
    import torch

    torch.set_num_threads(1)
    run = ours if args.side == "aeframe" else theirs
    result = run(args.case[0], Path(args.data), args.folder / "run", args.seed)
    (args.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


# -- both --------------------------------------------------------------------------------------------------------------


def measured(args: argparse.Namespace, case: str, side: str, path: Path, seed: int) -> dict[str, float]:
    """Run one side in its own process; return its times and its validation loss."""
    python = sys.executable if side == "aeframe" else args.pythae
    with tempfile.TemporaryDirectory() as folder:
        command = [python, __file__, str(path), "--side", side, "--case", case, "--folder", folder, "--seed", str(seed)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr}{done.stdout}")
        result: dict[str, float] = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result |= {"process_cpu_seconds": cpu, "process_seconds": seconds}
    result = {name: round(value, 3) for name, value in result.items()}
    print(f"{case}, seed {seed}, {side}: {result}", flush=True)
    return result


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return medians over rounds, and how many times as fast ours is, with the lowest and the highest round."""
    compared: dict[str, Any] = {"aim": _AIM}
    for what in ("epoch", "process"):
        for clock in ("cpu_seconds", "seconds"):
            key = f"{what}_{clock}"
            ratios = [each["pythae"][key] / each["aeframe"][key] for each in rounds]
            compared[f"times_as_fast_{key}"] = {
                "median": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
            }  # fmt: skip
    losses = {side: [each[side]["validation_loss"] for each in rounds] for side in _SIDES}
    compared["difference_of_losses"] = statistics.fmean(losses["aeframe"]) - statistics.fmean(losses["pythae"])
    sides = {
        side: {name: statistics.median(each[side][name] for each in rounds) for name in rounds[0][side]}
        for side in _SIDES
    }
    return {"compared": compared, "sides": sides, "rounds": rounds}


def main() -> int:
    """Measure all cases, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="mnist.npz, with arrays x_train and x_test")
    parser.add_argument("--pythae", metavar="PYTHON", help="the python of an environment with pythae")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs="+", choices=_CASES, default=list(_CASES))
    parser.add_argument("--quick", action="store_true", help="a tenth of the images for the ResNet")
    parser.add_argument("--share", type=float, default=1.0, help="the share of the images that is used")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        child(args)
        return 0
    if args.pythae is None:
        parser.error("--pythae is required: the python of an environment with pythae")
    # Results of cases that are not measured now are kept.
    results: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    results |= {"threads": 1, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    for case in args.case:
        share = args.share * (0.1 if args.quick and case == "resnet" else 1.0)
        rounds = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "images.npz"
            prepare(args.data, path, share=share)
            for seed in range(args.rounds):
                order = _SIDES if seed % 2 else _SIDES[::-1]
                rounds.append({side: measured(args, case, side, path, seed) for side in order})
        results[case] = {"training_images": round(share * _TRAINING), "epochs": _EPOCHS, **summary(rounds)}
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        shown = {name: value for name, value in results[case].items() if name != "rounds"}
        print(case, json.dumps(shown, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
