"""The perceptual distance: how differently another network sees x and its reconstruction."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.factory import build, restoring
from aeframe.noise import noise_of
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.features import MakeEncoder, stages
from aeframe.parts.penalties.base import Penalty, first_output, reconstructed
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, DataSpec, ForwardOutput, Model


class Perceptual(Penalty):
    """The distance of x from its reconstruction in the features of a frozen network (LPIPS: Zhang et al. 2018,
    arXiv 1801.03924, without its learned weights).

    At each stage the features are brought to length 1 along their channels; their squared difference is summed over
    channels and averaged over positions, so that each stage counts alike, and the stages are added up: between 0 and
    4 for each. The network is saved with the model, which then needs no file. Of K importance samples the first counts.

    Args:
        network: An encoder; null takes strided convolutions, or dense layers for flat data.
        file: Its weights, in the safetensors format; null leaves them as drawn from `seed`, whose features are of use
            already (He, Wang & Hopcroft 2016, arXiv 1606.04801).
        sha256: Of the file, in hexadecimal; required with one.
        prefix: Of the network's tensors in the file: ``model.encoder.`` takes the encoder of a saved model.
        seed: Of random weights; they depend on nothing else of a run.
    """

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
        # A saved model has the weights, and may be opened where there is no such file.
        if file is not None and not restoring():
            _fill(self.network, Path(file).expanduser(), sha256, prefix)

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        with torch.no_grad():
            real = self._seen(out.batch)
        fake = self._seen(reconstructed(model, first_output(out), out.batch))
        apart = [(one - other).square().sum(1) for one, other in zip(real, fake, strict=True)]
        return torch.stack([each.flatten(1).mean(1) if each.ndim > 1 else each for each in apart]).sum(0)

    def _seen(self, batch: Batch) -> list[Tensor]:
        # Whatever mode the model is in: a frozen network neither drops nor learns statistics.
        self.network.eval()
        return [F.normalize(at_least_float32(features), dim=1, eps=1e-6) for features in stages(self.network, batch)]


def _fill(network: Encoder, path: Path, sha256: str | None, prefix: str) -> None:
    """Fill a network with the tensors of a file that is the one it is said to be."""
    who = f"penalty perceptual reads its network from '{path}'"
    if not path.is_file():
        raise AeframeError(f"{who}, which is not there; correct penalties.perceptual.file")
    try:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise AeframeError(f"{who}, which cannot be read ({error}); correct penalties.perceptual.file") from error
    if sha256 is None or found != sha256.lower():
        raise AeframeError(
            f"{who}, whose sha256 is {found}, expected {sha256 or 'one to be given'}; "
            "if this is the file you mean, set penalties.perceptual.sha256 to it"
        )
    try:
        stored = {
            name.removeprefix(prefix): value for name, value in load_file(path).items() if name.startswith(prefix)
        }
    except SafetensorError as error:
        raise AeframeError(f"{who}, which is no safetensors file ({error}); convert its weights") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in stored.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise AeframeError(
                f"{who}, whose tensor '{prefix}{name}' has shape {shapes.get(name)}, but that of the network has "
                f"{expected.get(name)}; set penalties.perceptual.network to the one that was saved"
            )
    # A dry run has no memory to fill.
    if not any(value.is_meta for value in network.state_dict().values()):
        network.load_state_dict(stored)
