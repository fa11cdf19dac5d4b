"""Features of images by a small classifier, whose file is named in every number that is made with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.gradient_descent import minimise
from aeframe.types import Batch, Domain, Shape
from aeframe_image.fit import Fit

_FORMAT = 1
_UNIT = Domain("unit")


class Classifier(nn.Module):
    """Strided convolutions, a dense layer, and a logit for each class; the dense layer's units are the features.

    Args:
        shape: ``(C, H, W)`` of the images it was made for.
        classes: How many there are.
        channels: One number for each convolution.
        features: Units of the dense layer.
    """

    def __init__(
        self, shape: Shape, classes: int, *, channels: tuple[int, ...] = (32, 64, 128), features: int = 64
    ) -> None:
        super().__init__()
        self.shape, self.num_features = shape, features
        self.plain: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "channels": list(channels),
            "features": features,
        }
        self.encoder = build(
            "encoder",
            {"name": "conv", "channels": channels, "norm": "group", "dense": features},
            shape=shape,
            domain=_UNIT,
            activation=MakeActivation.named("relu"),
        )
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(B, F)`` of images ``(B, C, H, W)`` in [0, 1], squeezed to its own size and channels."""
        channels, height, width = self.shape
        fitted = Fit((height, width), "resize", 1 if channels == 1 else 3)(x)
        features: Tensor = self.encoder(Batch(fitted))
        return features

    def logits(self, x: Tensor) -> Tensor:
        """Return ``(B, classes)``."""
        return self.head(self(x))


@dataclass(frozen=True, slots=True)
class Extractor:
    """A classifier from a file, and the name that tells it from every other."""

    network: Classifier
    name: str
    """What its maker called it and the beginning of its file's SHA-256: ``mnist-0a1b2c3d``."""

    @classmethod
    def load(cls, path: Path) -> Extractor:
        """Read a file that `save_classifier` wrote; nothing of it is run.

        Raises:
            AeframeError: No file, or another one.
        """
        if not path.is_file():
            raise AeframeError(f"there is no classifier '{path}'; make one with aeframe image-classifier")
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            with safe_open(path, framework="pt") as file:
                known = json.loads((file.metadata() or {})["aeframe_image"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
            if known["format"] != _FORMAT:
                raise KeyError("format")
            network = Classifier(
                tuple(known["shape"]),
                known["classes"],
                channels=tuple(known["channels"]),
                features=known["features"],
            )
            network.load_state_dict(tensors)
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise AeframeError(
                f"'{path}' is no classifier of images of this version ({' '.join(str(error).split())[:100]}); make one "
                "with aeframe image-classifier"
            ) from error
        return cls(network.eval().requires_grad_(False), f"{known['name']}-{digest[:8]}")


def save_classifier(network: Classifier, path: Path, *, name: str, about: Mapping[str, Any]) -> Extractor:
    """Write a classifier with its name and what is known about it; return it as it will be read."""
    known = {"format": _FORMAT, "name": name, **network.plain, **about}
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with path.open("xb") as file:
        file.write(save(tensors, {"aeframe_image": json.dumps(known)}))
    return Extractor.load(path)


def in_unit(x: Tensor, domain: Domain) -> Tensor:
    """Return images of a domain in [0, 1]; what is outside is clipped."""
    low, high = domain.bounds
    return ((x.float() - low) / (high - low)).clamp(0, 1)


def train_classifier(
    network: Classifier, images: Tensor, labels: Tensor, *, epochs: int, batch_size: int = 128, seed: int = 0
) -> None:
    """Train on images ``(N, C, H, W)`` in [0, 1] with labels ``(N,)``, by AdamW along a falling rate."""
    steps_in_epoch = max(1, len(images) // batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    network.train()
    minimise(
        network,
        lambda rows: nn.functional.cross_entropy(network.logits(images[rows]), labels[rows]),
        _shuffled_batches(len(images), batch_size, epochs, torch.Generator().manual_seed(seed)),
        optimizer,
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps_in_epoch + 1),
    )
    network.eval()


def _shuffled_batches(num: int, batch_size: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the row numbers of each batch, shuffled anew in each epoch; an incomplete last batch is dropped."""
    for _ in range(epochs):
        yield from torch.randperm(num, generator=generator).split(batch_size)[: max(1, num // batch_size)]
