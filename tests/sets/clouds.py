"""Parts of the plugin `clouds_plugin`.

Shapes: B samples, N points of a sample (padded), M points of a reconstruction.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from aeframe import AeframeError
from aeframe.data import Dataset, FileSamples, Modality, Splits, TensorSource
from aeframe.data.arrays import ArrayFile
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.parts import Corruption, Decoder, Encoder, Loss, MakeActivation
from aeframe.tensors import at_least_float32
from aeframe.types import DataSpec, Domain


class Shells(Dataset):
    """Clouds of 6 to 12 points on ellipsoids, labelled by the long axis; NaN after the last point of a cloud."""

    modality = "cloud"

    def __init__(self, *, num_samples: int = 48):
        self.num_samples = num_samples

    def describe(self):
        return {"points": 12}

    def load(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.num_samples, 12, 3, generator=generator)
        label = torch.arange(self.num_samples) % 3
        x = x / x.norm(dim=-1, keepdim=True) * (1 + torch.eye(3)[label]).unsqueeze(1)
        num = torch.randint(6, 13, (self.num_samples,), generator=generator)
        return x.masked_fill((torch.arange(12) >= num[:, None]).unsqueeze(-1), torch.nan), label


class Clouds(Modality):
    """Clouds of up to N points (N, 3); NPY files."""

    defaults = {"encoder": "pointnet", "decoder": "points", "loss": "chamfer"}  # noqa: RUF012
    metrics = ("coverage",)
    dataset = "shells"

    def spec(self, dataset):
        return DataSpec((dataset.describe()["points"], 3), Domain("real"), unordered=True)

    def apply(self, raw):
        x, label = raw
        num = len(x) // 6
        rows = torch.arange(len(x)).split([len(x) - 2 * num, num, num])
        return Splits(*(_source(x[index], label[index]) for index in rows))

    def open(self, path, on_error):
        # It refuses damaged files, and those of Python objects.
        (x,) = (file.load(name) for file in [ArrayFile(path)] for name in file.names)
        if x.ndim != 3 or x.shape[2] != 3 or x.dtype.kind not in "fiu":
            raise AeframeError(f"'{path}' has {x.dtype} {x.shape}, expected numbers (samples, points, 3)")
        return FileSamples(_source(torch.from_numpy(x).float()))

    def write_batches(self, samples, path):
        if path.suffix != ".npy":
            raise AeframeError(f"modality cloud writes .npy, found '{path}'")
        np.save(path, samples.tensor().numpy())
        return [path]

    def render(self, panels):
        figure = Figure()
        for axes, (title, x) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
            axes.scatter(*x[0, :, :2].T.numpy())
            axes.set_title(title)
        return figure


def _source(x, label=None):
    mask = x.isfinite().all(-1)
    return TensorSource(x, mask=mask, extras={} if label is None else {"label": label})


def squared_distances(x, y):
    """Return ``(..., N, M)``."""
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)


class Chamfer(Loss):
    """The mean squared distance of each point to the nearest of the other cloud, in both directions, times `weight`."""

    domains = frozenset({"real"})
    unit = "distance"
    by_position = False
    any_length = True

    def __init__(self, *, weight: float = 10.0):
        super().__init__()
        self.weight = weight

    def mean(self, output):
        return at_least_float32(output).select(-3, 0)

    def forward(self, output, batch):
        x, x_hat = batch.masked_x(), self.mean(output)
        distances = squared_distances(x, x_hat)
        if batch.mask is None:
            to_x, to_output = distances.amin(-2).mean(-1), distances.amin(-1).mean(-1)
        else:
            mask = batch.mask
            to_x = distances.masked_fill(~mask.unsqueeze(-1), torch.inf).amin(-2).mean(-1)
            to_output = distances.amin(-1).masked_fill(~mask, 0).sum(-1) / mask.sum(-1)
        return self.weight * (to_x + to_output)


class PointNet(Encoder):
    """The maximum over the points of a network's features of each point (Qi et al. 2017, arXiv 1612.00593)."""

    def __init__(self, shape, spec, *, width: int = 16, activation: MakeActivation | None = None):
        super().__init__()
        if not spec.unordered or len(shape) != 2:
            raise AeframeError(f"encoder pointnet takes unordered points (N, coordinates), found {shape}")
        make = activation or MakeActivation.named("relu")
        self.layers = nn.Sequential(nn.Linear(shape[-1], width), make(), nn.Linear(width, width))
        self.out_shape = (width,)

    def forward(self, batch):
        features = self.layers(batch.masked_x())
        if batch.mask is not None:
            features = features.masked_fill(~batch.mask.unsqueeze(-1), -1e9)
        return features.amax(1)

    def mirrored_decoder_config(self):
        return {"name": "points"}


class Points(Decoder):
    """Dense layers that return `points` points, as many as x has with 0."""

    def __init__(self, z_shape, out_shape, spec, *, points: int = 7):
        super().__init__()
        outputs, num, *rest = out_shape
        if not spec.unordered or len(rest) != 1:
            raise AeframeError(f"decoder points returns unordered points (N, coordinates), found {out_shape[1:]}")
        self.shape = (outputs, points or num, *rest)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(z_shape[0], 32), nn.ReLU(), nn.Linear(32, math.prod(self.shape))
        )

    def forward(self, z, batch=None):
        return self.layers(z).unflatten(1, self.shape)


class DropPoints(Corruption):
    """Hides each point with probability `amount`, but never the first."""

    def __init__(self, *, amount: float = 0.5):
        super().__init__()
        self.amount = amount

    def forward(self, batch):
        kept = torch.rand(batch.x.shape[:2], device=batch.x.device) >= self.amount
        kept[:, 0] = True
        return replace(batch, mask=kept if batch.mask is None else kept & batch.mask)


class Coverage(ModelMetric):
    """The fraction of the points of x within a distance of 1 of a point of the reconstruction."""

    def __init__(self):
        super().__init__()
        self.add_state("near", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model):
        return model.spec.unordered

    def update(self, model, out):
        batch = out.batch
        near = squared_distances(batch.masked_x(), model.loss.mean(out.output)).amin(-1) < 1
        mask = torch.ones_like(near) if batch.mask is None else batch.mask
        self.near = self.near + (near & mask).sum()
        self.total = self.total + mask.sum()

    def compute(self):
        return self.near / self.total
