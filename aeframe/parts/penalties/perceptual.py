"""The perceptual penalty: the distance between x and its reconstruction in the features of a frozen network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.factory import build, restoring
from aeframe.noise import noise_of
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.features import MakeEncoder, stages
from aeframe.parts.networks.pretrained_file import PretrainedFile
from aeframe.parts.penalties.base import Penalty, with_reconstruction
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, DataSpec, ForwardOutput, Model


class Perceptual(Penalty):
    """The distance between x and its reconstruction in the features of a frozen network (LPIPS: Zhang et al. 2018,
    arXiv 1801.03924, without its learned weights).

    At each stage the features are normalised to length 1 along the channels. Their squared difference is summed over
    channels and averaged over positions, which is between 0 and 4; the penalty is the sum over stages. The network's
    weights are saved with the model, so the saved model does not need the file.

    Args:
        network: An encoder; null takes strided convolutions, or dense layers for flat data.
        file: A safetensors file with the network's weights. Null leaves them random, which already yields useful
            features (He, Wang & Hopcroft 2016, arXiv 1606.04801).
        sha256: Hash of the file, in hexadecimal; required with a file.
        prefix: Prefix of the network's tensors in the file: ``model.encoder.`` takes the encoder of a saved model.
        seed: Seed of random weights, independent of the run's seed.
    """

    feeds_reconstruction = True

    def __init__(
        self,
        spec: DataSpec,
        activation: MakeActivation,
        *,
        weight: Schedule = fixed(1.0),
        network: MakeEncoder | None = None,
        file: str | None = None,
        sha256: str | None = None,
        prefix: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weight = weight
        with noise_of(torch.device("cpu"), seed):
            self.network: Encoder = (network or MakeEncoder.usual(spec, build))(spec, activation)
        self.network.requires_grad_(False)
        # While a saved model is restored, its own weights are loaded; the file may not exist there.
        if file is not None and not restoring():
            pretrained = PretrainedFile(
                Path(file).expanduser(),
                sha256,
                "penalty perceptual",
                path_key="penalties.perceptual.file",
                sha256_key="penalties.perceptual.sha256",
                network_key="penalties.perceptual.network",
            )
            pretrained.load_weights(self.network, prefix=prefix)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        with torch.no_grad():
            x_features = self._features(out.batch)
        x_hat_features = self._features(with_reconstruction(model, out.output, out.batch))
        distances = [
            (of_x - of_x_hat).square().sum(1) for of_x, of_x_hat in zip(x_features, x_hat_features, strict=True)
        ]
        # ``(B, *positions)`` for each stage; flat features have no positions.
        means = [distance.flatten(1).mean(1) if distance.ndim > 1 else distance for distance in distances]
        return torch.stack(means).sum(0)

    def _features(self, batch: Batch) -> list[Tensor]:
        # `train()` of the model has switched this network too; a frozen one needs fixed statistics and no dropout.
        self.network.eval()
        return [F.normalize(at_least_float32(features), dim=1, eps=1e-6) for features in stages(self.network, batch)]
