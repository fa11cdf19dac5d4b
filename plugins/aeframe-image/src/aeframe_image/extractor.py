"""A small image classifier, its file, and its features as a feature space."""

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

from aeframe.data import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.feature_spaces import FeatureSpace
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.gradient_descent import minimise
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.fit import Fit
from aeframe_image.modality import Image

_FORMAT = 1
_CHUNK = 256
_UNIT = Domain("unit")
"""Values in [0, 1]."""


class Classifier(nn.Module):
    """Strided convolutions and a dense layer, whose F outputs are the features, and a linear layer to class logits.

    Args:
        shape: ``(C, H, W)`` of its training images.
        classes: Number of classes.
        channels: Output channels of each convolution.
        features: F, the number of features.
    """

    def __init__(
        self, shape: Shape, classes: int, *, channels: tuple[int, ...] = (32, 64, 128), features: int = 64
    ) -> None:
        super().__init__()
        self.shape, self.num_features = shape, features
        self.config: dict[str, Any] = {
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
        """Return features ``(B, F)`` of images ``(B, C, H, W)`` in [0, 1], which are resized to `shape`."""
        channels, height, width = self.shape
        resized = Fit((height, width), how="resize", channels=1 if channels == 1 else 3)(x)
        features: Tensor = self.encoder(Batch(resized))
        return features

    def logits(self, x: Tensor) -> Tensor:
        """Return the class logits ``(B, classes)`` of images ``(B, C, H, W)`` in [0, 1]."""
        return self.head(self(x))


@dataclass(frozen=True, slots=True)
class Extractor:
    """A classifier from a file, with a name that identifies it."""

    network: Classifier
    name: str
    """The name in the file and the first 8 digits of the file's SHA-256, such as ``mnist-0a1b2c3d``."""

    @classmethod
    def load(cls, path: Path) -> Extractor:
        """Read a file of `save_classifier`, a safetensors file without code.

        Raises:
            AeframeError: There is no file, or it has another format.
        """
        if not path.is_file():
            raise AeframeError(f"there is no classifier '{path}'; make one with aeframe image-classifier")
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            with safe_open(path, framework="pt") as file:
                config = json.loads((file.metadata() or {})["aeframe_image"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
            if config["format"] != _FORMAT:
                raise KeyError("format")
            network = Classifier(
                tuple(config["shape"]),
                config["classes"],
                channels=tuple(config["channels"]),
                features=config["features"],
            )
            network.load_state_dict(tensors)
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise AeframeError(
                f"'{path}' is not an image classifier of this version ({' '.join(str(error).split())[:100]}); make one "
                "with aeframe image-classifier"
            ) from error
        return cls(network.eval().requires_grad_(False), f"{config['name']}-{digest[:8]}")


def save_classifier(network: Classifier, path: Path, *, name: str, about: Mapping[str, Any]) -> Extractor:
    """Write a classifier with its name and the entries of `about`, and return it as `Extractor.load` reads it."""
    config = {"format": _FORMAT, "name": name, **network.config, **about}
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with path.open("xb") as file:
        file.write(save(tensors, {"aeframe_image": json.dumps(config)}))
    return Extractor.load(path)


def in_unit(x: Tensor, domain: Domain) -> Tensor:
    """Map images from the bounds of a domain to [0, 1], clipped."""
    low, high = domain.bounds
    return ((x.float() - low) / (high - low)).clamp(0, 1)


class ClassifierFeatures(FeatureSpace):
    """The features of a classifier of images, such as one trained by ``aeframe image-classifier``.

    Results name the classifier: ``classifier-mnist-0a1b2c3d`` for the one called ``mnist`` from a file whose SHA-256
    begins with ``0a1b2c3d``. Those of two classifiers are not comparable.

    Args:
        modality: Kind of data of the model, which must be ``image``.
        spec: Shape and domain of the images.
        file: The classifier, written by ``aeframe image-classifier``.
    """

    def __init__(self, modality: Modality, spec: DataSpec, *, file: Path) -> None:
        if not isinstance(modality, Image):
            raise AeframeError(
                f"feature space classifier is for modality image, found {type(modality).__name__}; choose another one"
            )
        self._extractor, self._domain = Extractor.load(Path(file).expanduser()), spec.domain

    @property
    def label(self) -> str:
        return self._extractor.name

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self._extractor.network(in_unit(rows, self._domain)) for rows in x.split(_CHUNK)])


def train_classifier(
    network: Classifier, images: Tensor, labels: Tensor, *, epochs: int, batch_size: int = 128, seed: int = 0
) -> None:
    """Train on images ``(N, C, H, W)`` in [0, 1] and labels ``(N,)``, by AdamW with a one-cycle learning rate."""
    steps_in_epoch = max(1, len(images) // batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    network.train()
    minimise(
        network,
        lambda rows: nn.functional.cross_entropy(network.logits(images[rows]), labels[rows]),
        _shuffled_batches(len(images), batch_size, epochs, torch.Generator().manual_seed(seed)),
        optimizer,
        # One more than the steps of the optimizer, because the scheduler counts its creation as a step.
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps_in_epoch + 1),
    )
    network.eval()


def _shuffled_batches(num: int, batch_size: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield row numbers in shuffled batches for each epoch; an incomplete batch is used only if it is the only one."""
    for _ in range(epochs):
        yield from torch.randperm(num, generator=generator).split(batch_size)[: max(1, num // batch_size)]
