"""The command ``aeframe image-classifier DATA -o FILE``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.model_command import add_output, check_output, positive
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.data.modality import Source

_CHUNK = 256


class ImageClassifier(Command):
    """Train a small classifier on a data set with labels; its features are the feature space ``classifier``."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("data", nargs="+", metavar="DATA", help="a data set and its options: mnist data.path=...")
        parser.add_argument("--name", help="name of the classifier in results (default: name of the data set)")
        parser.add_argument("--epochs", type=positive, default=3, help="default: 3")
        parser.add_argument("--seed", type=int, default=0, help="seed of initial weights and shuffling (0)")
        add_output(parser, "a new .safetensors file")

    def run(self, args: Namespace) -> int:
        if args.output.suffix != ".safetensors":
            raise AeframeError(
                f"a classifier is written as .safetensors, found '{args.output}'; end the path in .safetensors"
            )
        check_output(args.output)
        import torch

        from aeframe.factory import build
        from aeframe_image.extractor import Classifier, save_classifier, train_classifier
        from aeframe_image.modality import Image

        config = _dataset(args.data)
        splits = Image().prepare(build("dataset", config))
        x, labels = _images_and_labels(splits.train, config)
        validation_x, validation_labels = _images_and_labels(splits.validation, config)
        torch.manual_seed(args.seed)
        network = Classifier(tuple(x.shape[1:]), int(max(labels.max(), validation_labels.max())) + 1)
        train_classifier(network, x, labels, epochs=args.epochs, seed=args.seed)
        with torch.no_grad():
            predictions = torch.cat([network.logits(chunk).argmax(1) for chunk in validation_x.split(_CHUNK)])
        accuracy = float((predictions == validation_labels).double().mean())
        about = {"data": config["name"], "epochs": args.epochs, "seed": args.seed, "accuracy": accuracy}
        saved = save_classifier(network, args.output, name=args.name or config["name"], about=about)
        print(f"{saved.name}: {accuracy:.2%} accuracy on {len(validation_x)} validation images")
        print(args.output)
        return 0


def _dataset(arguments: list[str]) -> dict[str, Any]:
    """Return the config of a dataset from its name and options ``data.OPTION=VALUE``."""
    import yaml

    name, *options = arguments
    config: dict[str, Any] = {"name": name}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key.startswith("data."):
            raise AeframeError(f"expected an option of the data set as data.OPTION=VALUE, found '{option}'")
        config[key.removeprefix("data.")] = yaml.safe_load(value)
    return config


def _images_and_labels(source: Source, config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    import torch

    batch = source.batch(torch.arange(len(source)))
    if "label" not in batch.extras:
        raise AeframeError(f"dataset '{config['name']}' has no labels to train a classifier; choose one with labels")
    return batch.x, batch.extras["label"]
