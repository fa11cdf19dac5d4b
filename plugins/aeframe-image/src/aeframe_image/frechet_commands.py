"""``aeframe image-classifier DATA -o FILE`` and ``aeframe image-frechet RUN --classifier FILE``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.model_command import ModelCommand, add_data, add_output, check_output, positive
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.data.modality import Source

_CHUNK = 256


class ImageClassifier(Command):
    """Train a small classifier on a data set with labels, whose features ``image-frechet`` and the metric ``frechet``
    measure by.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("data", nargs="+", metavar="DATA", help="a data set, and its options: mnist data.path=...")
        parser.add_argument("--name", help="what to call it in results (the data set's name)")
        parser.add_argument("--epochs", type=positive, default=3, help="default: 3")
        parser.add_argument("--seed", type=int, default=0, help="of its weights and of the order (0)")
        add_output(parser, "a new .safetensors file")

    def run(self, args: Namespace) -> int:
        if args.output.suffix != ".safetensors":
            raise AeframeError(
                f"a classifier is written as .safetensors, found '{args.output}'; choose a name that ends so"
            )
        check_output(args.output)
        import torch

        from aeframe.factory import build
        from aeframe_image.extractor import Classifier, save_classifier, train_classifier
        from aeframe_image.modality import Image

        config = _dataset(args.data)
        splits = Image().prepare(build("dataset", config))
        (x, labels), (held_x, held_labels) = (_labelled(each, config) for each in (splits.train, splits.validation))
        torch.manual_seed(args.seed)
        network = Classifier(tuple(x.shape[1:]), int(max(labels.max(), held_labels.max())) + 1)
        train_classifier(network, x, labels, epochs=args.epochs, seed=args.seed)
        with torch.no_grad():
            found = torch.cat([network.logits(each).argmax(1) for each in held_x.split(_CHUNK)])
        accuracy = float((found == held_labels).double().mean())
        about = {"data": config["name"], "epochs": args.epochs, "seed": args.seed, "accuracy": accuracy}
        saved = save_classifier(network, args.output, name=args.name or config["name"], about=about)
        print(f"{saved.name}: {accuracy:.2%} of {len(held_x)} validation images are told rightly")
        print(args.output)
        return 0


class ImageFrechet(ModelCommand):
    """Measure a model's new samples and its reconstructions against a split, by their Fréchet distance in the features
    of a classifier.

    ``floor`` is the distance of as many training images: what another draw of data has.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("--classifier", type=Path, required=True, help="a file of aeframe image-classifier")
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("-n", "--num", type=positive, help="images of each kind (as many as the split has)")
        parser.add_argument("--seed", type=int, default=0, help="of the samples (0)")

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe_image.extractor import Extractor, in_unit
        from aeframe_image.frechet import Moments, check_enough, distance_of_normals
        from aeframe_image.modality import Image

        model = self.open(args)
        if not isinstance(model.modality, Image):
            raise AeframeError(f"'{args.model}' is no model of images; image-frechet is for modality image")
        extractor, splits, size = (
            Extractor.load(args.classifier),
            self.splits(model, args),
            self.batch_size(args, model),
        )
        network, domain = extractor.network.to(model.device), model.spec.domain
        source = getattr(splits, args.split)
        num = min(args.num or len(source), len(source), len(splits.train))
        check_enough("image-frechet", num, network.num_features)

        def features(x: Tensor) -> Moments:
            return Moments.of(network(in_unit(x.to(model.device), domain)))

        rows = torch.arange(num).split(size)
        batches = [source.batch(each) for each in rows]
        sampled = model.sample(num, seed=args.seed, batch_size=size).split(size)
        kinds = {
            "samples": [features(x) for x in sampled],
            "reconstructions": [features(model.reconstruct(batch, batch_size=size)) for batch in batches],
            "floor": [features(splits.train.batch(each).x) for each in rows],
        }
        real = sum((features(batch.x) for batch in batches[1:]), features(batches[0].x)).normal()
        print(f"Fréchet distance to {num} images of the {args.split} split, by {extractor.name}")
        for kind, (first, *others) in kinds.items():
            print(f"{kind:16}{float(distance_of_normals(*real, *sum(others, first).normal())):.4f}")
        return 0


def _dataset(words: list[str]) -> dict[str, Any]:
    """Read a data set's name and its options, ``data.path=...``."""
    import yaml

    config: dict[str, Any] = {"name": words[0]}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("data."):
            raise AeframeError(f"expected an option of the data set as data.OPTION=VALUE, found '{word}'")
        config[key.removeprefix("data.")] = yaml.safe_load(value)
    return config


def _labelled(source: Source, config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    import torch

    batch = source.batch(torch.arange(len(source)))
    if "label" not in batch.extras:
        raise AeframeError(f"dataset '{config['name']}' has no labels, which a classifier learns; choose another")
    return batch.x, batch.extras["label"]
