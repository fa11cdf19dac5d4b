"""Measure the lattice that decoders of transposed convolutions draw on flat areas: ``python benchmarks/lattice.py``.

Four kinds of upsampling by 2 are compared in the decoder ``conv``, with the same data, batches and encoder: transposed
convolutions with independent initial weights, with equal sums of all phases, with equal weights of all phases
(`equalise_phases`, the decoder as it is), and nearest neighbours followed by a convolution, which takes more than twice
as many products. Pictures are 32 x 32 pixels, rectangles on a flat ground, all of random colours. It writes
``results/lattice.json``: before training and after 200 steps, from two seeds, the share of the power of flat areas that
has period 2 or 4, the root mean square of this lattice in grey levels, and the squared error. ``--pictures FILE`` draws
originals and reconstructions of the first seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.networks.blocks import Upsample
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

RESULTS = Path(__file__).with_name("results")
SEEDS = (0, 1)
NUM_STEPS = 200
SIZE, WINDOW, BATCH_SIZE = 32, 8, 32


def scenes(num: int, seed: int) -> Tensor:
    """Return pictures ``(num, 3, 32, 32)`` in [0, 1]: a rectangle on a flat ground of another colour."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(num, 3, 1, 1, generator=generator).repeat(1, 1, SIZE, SIZE)
    corners = torch.randint(0, SIZE - 16, (num, 2), generator=generator).tolist()
    sizes = torch.randint(6, 16, (num, 2), generator=generator).tolist()
    colours = torch.rand(num, 3, 1, 1, generator=generator)
    for image, (top, left), (height, width), colour in zip(x, corners, sizes, colours, strict=True):
        image[:, top : top + height, left : left + width] = colour
    return x


def lattice_share(output: Tensor, x: Tensor) -> tuple[float, float]:
    """Return the share of the power of flat areas with period 2 or 4, and the root mean square of this lattice.

    Flat areas are windows of 8 x 8 pixels away from the border in which x is constant. The power of a window is that of
    the deviations from its mean. Of white noise, 15 of 63 frequencies have these periods, a share of 0.24.

    Args:
        output: Pictures ``(N, C, H, W)``.
        x: The originals, in the same shape.
    """
    lattice = total = 0.0
    num_windows = 0
    frequencies = torch.zeros(WINDOW, WINDOW, dtype=torch.bool)
    frequencies[:: WINDOW // 4, :: WINDOW // 4] = True
    frequencies[0, 0] = False
    for top in range(4, x.shape[2] - 4 - WINDOW + 1, 4):
        for left in range(4, x.shape[3] - 4 - WINDOW + 1, 4):
            area = (..., slice(top, top + WINDOW), slice(left, left + WINDOW))
            flat = (x[area].flatten(2).std(2) == 0).all(1)
            power = torch.fft.fft2(output[area][flat].double(), norm="forward").abs().square()
            power[..., 0, 0] = 0
            lattice += float(power[..., frequencies].sum())
            total += float(power.sum())
            num_windows += int(flat.sum()) * x.shape[1]
    return lattice / max(total, 1e-30), 255 * (lattice / max(num_windows, 1)) ** 0.5


class _Resize(nn.Module):
    """Nearest neighbours and a convolution of the encoder's kernel, in the place of `Upsample`, for even sizes."""

    def __init__(self, inner: Upsample) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner.conv.in_channels, inner.conv.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(nn.functional.interpolate(x, scale_factor=2.0))
        return result


@torch.no_grad()
def _independent(upsample: Upsample) -> nn.Module:
    upsample.conv.reset_parameters()
    return upsample


@torch.no_grad()
def _equal_sums(upsample: Upsample) -> nn.Module:
    upsample.conv.reset_parameters()
    # (in, out, 4, 4) -> (in, out, 2, phases along H, 2, phases along W)
    weight = upsample.conv.weight
    by_phase = weight.reshape(*weight.shape[:2], 2, 2, 2, 2)
    # The sums, and the weights, keep their variances.
    mean = 2 * by_phase.mean((2, 3, 4, 5), keepdim=True)
    weight.copy_((by_phase - by_phase.mean((2, 4), keepdim=True) + mean).reshape(weight.shape))
    return upsample


KINDS: dict[str, Callable[[Upsample], nn.Module]] = {
    "independent weights": _independent,
    "equal sums": _equal_sums,
    "equal weights": lambda upsample: upsample,
    "nearest and convolution": _Resize,
}


def make_model(kind: str, seed: int) -> Autoencoder:
    """Return an autoencoder whose decoder has this kind of upsampling."""
    torch.manual_seed(seed)
    config = {
        "corruption": "none",
        "encoder": {"name": "conv", "channels": [32, 64]},
        "latent": {"name": "point", "dim": 32},
        "prior": "normal",
        "decoder": "mirror",
        "loss": {"name": "mse", "activation": "identity"},
        "objective": "deterministic",
        "activation": "relu",
    }
    model = assemble(config, DataSpec((3, SIZE, SIZE), Domain("unit")))
    for module in list(model.decoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Upsample):
                setattr(module, name, KINDS[kind](child))
    return model


def step(model: Autoencoder, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    """Make one step of training."""
    terms = model.terms(model(Batch(x), sample=True), TrainingProgress(planned=NUM_STEPS, rows=len(x)))
    optimizer.zero_grad()
    terms.total().mean().backward()
    optimizer.step()


def measure(model: Autoencoder, x: Tensor) -> dict[str, float]:
    """Return share and size of the lattice, and the squared error per element."""
    output = reconstructions(model, x)
    share, rms = lattice_share(output, x)
    return {"share": share, "rms": rms, "mse": float((output - x).square().mean())}


@torch.no_grad()
def reconstructions(model: Autoencoder, x: Tensor) -> Tensor:
    """Return the reconstructions of pictures, in evaluation mode."""
    result: Tensor = model.eval().loss.mean(model.decode(model.embed(Batch(x)).mean))
    model.train()
    return result


def draw(rows: list[Tensor], file: Path) -> None:
    """Write rows of pictures, enlarged four times."""
    from PIL import Image

    grid = torch.cat([torch.cat(list(row.clamp(0, 1)), 2) for row in rows], 1)
    pixels = (grid.permute(1, 2, 0) * 255).round().byte().repeat_interleave(4, 0).repeat_interleave(4, 1)
    Image.fromarray(pixels.numpy()).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = scenes(4000, 0), scenes(100, 1)
    results: dict[str, Any] = {}
    rows = [test[:8]]
    for kind in KINDS:
        results[kind] = []
        for seed in SEEDS:
            model = make_model(kind, seed)
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            before = measure(model, test)
            for _ in range(NUM_STEPS):
                step(model, optimizer, train[torch.randint(len(train), (BATCH_SIZE,))])
            results[kind].append({"before": before, "after": measure(model, test)})
            if seed == SEEDS[0]:
                rows.append(reconstructions(model, test[:8]))
            print(kind, seed, results[kind][-1], flush=True)
    (RESULTS / "lattice.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if args.pictures:
        draw(rows, args.pictures)


if __name__ == "__main__":
    main()
