"""Compare the negative log-likelihood, and the time that it takes, with Pythae's `get_nll` on the same weights.

A VAE of dense layers (784-512-16-512-784, Bernoulli likelihood) is trained here on binarised MNIST and its weights are
copied to the `VAE` of Pythae. Both then estimate -log p(x) of the same held-out images with K importance samples, in
turns, each in its own process and environment, with one thread. Every round has seeds of its own, so that the deviation
over rounds is the Monte Carlo error. Times are CPU seconds of the process, which other work on the machine changes less
than the wall clock; both are in the results.

    python benchmarks/pythae_nll.py mnist.npz --pythae OTHER/bin/python [--rounds 3] [--images 200] [--samples 1000]

OTHER is an environment with pythae 0.1.2. Peculiarities of its `get_nll`: it takes one image at a time and encodes
``batch_size`` copies of it for every ``batch_size`` samples; it draws a multiple of ``batch_size`` samples, at least
``batch_size``, whatever ``n_samples`` is; it returns the mean log-likelihood, not its negative; and it computes with
gradients unless the caller disables them. It is timed as it is called by default (batches of 100, with gradients), then
without gradients, then without gradients in one batch of K.

Any estimate decodes each z and computes the likelihood of its image. How long this alone takes in plain torch is
measured too: it is a bound on how many times as fast as Pythae any program can be in the same arithmetic.

Writes results/pythae_nll.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_RESULTS = Path(__file__).with_name("results") / "pythae_nll.json"
_HIDDEN, _DIM, _EPOCHS = 512, 16, 2
# A layer of Pythae, and ours with the same weight and bias; the head of our latent has the means, then the variances.
_LAYERS = {
    "encoder.layers.0.0": "encoder.layers.0",
    "decoder.layers.0.0": "decoder.layers.0",
    "decoder.layers.1.0": "decoder.last",
}
_CHUNK = 4096
"""Pairs of an image and a z that are decoded at a time, as by default in the metric `nll`."""
_ALONE = "decoder and likelihood alone"


def prepare(data: str, folder: Path, images: int) -> None:
    """Train a model, and write its weights by Pythae's names and the held-out images to ``weights.npz``."""
    import aeframe

    run = aeframe.fit(
        modality={"name": "image", "domain": "binary"},
        model="vae",
        data={"name": "mnist", "path": data},
        encoder={"name": "mlp", "hidden": [_HIDDEN]},
        latent={"dim": _DIM},
        loss="bernoulli",
        optimizer={"lr": 1e-3},
        max_epochs=_EPOCHS,
        batch_size=128,
        pictures=False,
        progress=False,
        folder=str(folder / "run"),
    )
    state = aeframe.load(run.folder).model.state_dict()
    weights: dict[str, torch.Tensor] = {}
    for part in ("weight", "bias"):
        weights |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for theirs, ours in _LAYERS.items()}
        mean, log_variance = state[f"latent.head.linear.{part}"].chunk(2)
        weights |= {f"encoder.embedding.{part}": mean, f"encoder.log_var.{part}": log_variance}
    with np.load(data) as file:
        x = (file["x_test"][:images] > 127).astype(np.float32)[:, None]
    arrays: dict[str, Any] = {"x": x, **{name: value.numpy() for name, value in weights.items()}}
    np.savez(folder / "weights.npz", **arrays)


# -- the two sides, each in its own process ----------------------------------------------------------------------------


def ours(folder: Path, samples: int, seed: int) -> dict[str, float]:
    """Return the seconds and the mean negative log-likelihood of `aeframe`, with the memory of `aeframe evaluate`."""
    import aeframe
    from aeframe.training.malloc_tuning import kept_memory

    model = aeframe.load(folder / "run", device="cpu")
    with np.load(folder / "weights.npz") as file:
        x = torch.from_numpy(file["x"])
    model.score(x[:2], importance=10)
    with kept_memory(enabled=True), timed() as times:
        scores = model.score(x, importance=samples, batch_size=_CHUNK, seed=seed)
    return {**times, "nll": float(scores.double().mean())}


def theirs(folder: Path, samples: int, seed: int, batch_size: int, *, gradients: bool) -> dict[str, float]:
    """Return the seconds and the mean negative log-likelihood of Pythae."""
    from pythae.models import VAE, VAEConfig

    with np.load(folder / "weights.npz") as file:
        weights = {name: torch.from_numpy(file[name]) for name in file}
    x = weights.pop("x")
    model = VAE(VAEConfig(input_dim=tuple(x.shape[1:]), latent_dim=_DIM, reconstruction_loss="bce")).eval()
    model.load_state_dict(weights)
    torch.manual_seed(seed)
    with torch.set_grad_enabled(gradients):
        model.get_nll(x[:2], n_samples=10, batch_size=10)
        with timed() as times:
            log_p = model.get_nll(x, n_samples=samples, batch_size=batch_size)
    return {**times, "nll": -float(log_p)}


def decoded(folder: Path, samples: int) -> dict[str, float]:
    """Return the seconds that the decoder and the likelihood take in plain torch, for as many z as the estimates have.

    The z of an image are decoded in one batch, in place where that is possible.
    """
    with np.load(folder / "weights.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file}
    x = arrays["x"].flatten(1)
    layers = [
        (arrays[f"{name}.weight"].T.contiguous(), arrays[f"{name}.bias"])
        for name in ("decoder.layers.0.0", "decoder.layers.1.0")
    ]
    total = torch.zeros(())
    with torch.inference_mode(), timed() as times:
        for image in x:
            z = torch.randn(samples, _DIM)
            hidden = torch.addmm(layers[0][1], z, layers[0][0]).relu_()
            logits = torch.addmm(layers[1][1], hidden, layers[1][0])
            total += torch.nn.functional.softplus(logits).addcmul_(image, logits, value=-1).sum()
    return times


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Yield a dictionary that receives the CPU seconds and the seconds of the block."""
    times: dict[str, float] = {}
    began, cpu_began = time.perf_counter(), time.process_time()
    yield times
    times |= {"cpu_seconds": time.process_time() - cpu_began, "seconds": time.perf_counter() - began}


# -- both ------------------------------------------------------------------------------------------------------------


def main() -> int:
    """Measure all sides in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="mnist.npz, with an array x_test")
    parser.add_argument("--pythae", metavar="PYTHON", help="the python of an environment with pythae")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000, help="K")
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        torch.set_num_threads(1)
        prepared = Path(args.data)
        if _ALONE in args.side:
            result = decoded(prepared, args.samples)
        else:
            # Options of Pythae; none are ours.
            result = (theirs if args.side else ours)(prepared, args.samples, args.seed, **args.side)
        print(json.dumps(result))
        return 0
    if args.pythae is None:
        parser.error("--pythae is required: the python of an environment with pythae")
    sides: dict[str, dict[str, Any]] = {
        "aeframe": {},
        "pythae, default": {"batch_size": 100, "gradients": True},
        "pythae, no gradients": {"batch_size": 100, "gradients": False},
        f"pythae, no gradients, batch_size={args.samples}": {"batch_size": args.samples, "gradients": False},
        _ALONE: {_ALONE: True},
    }
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.data, Path(folder), args.images)
        rounds = [
            {name: _measured(args, folder, options, seed) for name, options in sides.items()}
            for seed in range(args.rounds)
        ]
    results = _summary(args, rounds)
    _RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "rounds"}, indent=1))
    return 0


def _measured(args: argparse.Namespace, folder: str, options: dict[str, Any], seed: int) -> dict[str, float]:
    arguments = [folder, "--side", json.dumps(options), "--samples", str(args.samples), "--seed", str(seed)]
    python = args.pythae if options and _ALONE not in options else sys.executable
    done = subprocess.run([python, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {seed}, {options or 'aeframe'}: {result}", flush=True)
    return result


def _summary(args: argparse.Namespace, rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return medians over rounds, ratios of times, and the differences of the estimates in standard errors."""
    sides, compared = {}, {}
    alone = statistics.median(each[_ALONE]["cpu_seconds"] for each in rounds)
    for name in [name for name in rounds[0] if name != _ALONE]:
        values = [each[name]["nll"] for each in rounds]
        sides[name] = {
            "cpu_seconds": round(statistics.median(each[name]["cpu_seconds"] for each in rounds), 3),
            "seconds": round(statistics.median(each[name]["seconds"] for each in rounds), 3),
            "nll": statistics.fmean(values),
            "monte_carlo_deviation": statistics.stdev(values),
        }
    for name, side in list(sides.items())[1:]:
        deviation = (sides["aeframe"]["monte_carlo_deviation"] ** 2 + side["monte_carlo_deviation"] ** 2) ** 0.5
        compared[name] = {
            "times_as_fast": statistics.median(
                each[name]["cpu_seconds"] / each["aeframe"]["cpu_seconds"] for each in rounds
            ),
            "times_as_fast_at_most": side["cpu_seconds"] / alone,
            "difference": sides["aeframe"]["nll"] - side["nll"],
            "standard_error": deviation / len(rounds) ** 0.5,
        }
    return {
        "images": args.images,
        "importance_samples": args.samples,
        "threads": 1,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "sides": sides,
        f"cpu_seconds_of_{_ALONE.replace(' ', '_')}": round(alone, 3),
        "aeframe_compared_with": compared,
        "rounds": rounds,
    }


if __name__ == "__main__":
    sys.exit(main())
