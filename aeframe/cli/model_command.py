"""The verbs that open a saved model. Imports nothing heavy."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli import Command
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.data.modality import Splits
    from aeframe.model_store.trained_model import TrainedModel


class ModelCommand(Command):
    """A verb whose first argument is a run."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="RUN", type=Path, help="folder of a run, or of a saved model")
        parser.add_argument("--device", help="where to compute: cpu, cuda, cuda:1, mps (the first GPU if there is one)")
        parser.add_argument("--batch-size", type=positive, help="samples at a time (that of the run)")

    def open(self, args: Namespace) -> TrainedModel:
        """Return the model, on the device that was asked for."""
        import torch

        from aeframe.devices import check_device
        from aeframe.model_store.reader import load

        device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_device(device, "--device")
        return load(args.model, device)

    def splits(self, model: TrainedModel, args: Namespace) -> Splits:
        """Load the data of the run, prepared by the state and divided by the split that were saved with the model.

        A warning is printed for each difference between these data and those of the training.

        Args:
            model: As `open` returned it.
            args: Of a command that called `add_data`.

        Raises:
            AeframeError: A model without a data set, data that cannot be read, or that lack rows of the saved split.
        """
        from aeframe.data.fingerprint import compare, described, fingerprint, other_place
        from aeframe.data.labels import labelled
        from aeframe.factory import build

        if "data" not in model.config:
            raise AeframeError(f"model '{model.name}' does not name the data it was trained on, so there is no split")
        config = other_place(model.config["data"], args.data or ())
        dataset = build("dataset", config)
        model.data.use_split(dataset)
        splits = model.modality.prepare(dataset, learn=False)
        found = fingerprint(config, dataset, splits, model.spec)
        rest = (
            "the saved state and split are used, and samples that were added are left out"
            if model.data.split
            else "the saved state is used, but no split was saved, so test samples may be training samples"
        )
        for sentence in compare(model.data.fingerprint, found):
            print(f"warning: {sentence}; {rest}", file=sys.stderr)
        counts = ", ".join(f"{split} {num}" for split, num in found["rows"].items())
        print(f"{described(found)}: {counts}", file=sys.stderr)
        return labelled(splits, model.config.get("label_classes", 0))

    def batch_size(self, args: Namespace, model: TrainedModel) -> int:
        """Return how many samples go at a time."""
        asked: int | None = args.batch_size
        return asked or int(model.config.get("batch_size", 256))


def add_data(parser: ArgumentParser) -> None:
    """Add ``--data PATH``, for a command that reads the data of the run with `ModelCommand.splits`."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        action="append",
        help="where the run's data are now (as in training); OPTION=PATH for another option than data.path",
    )


def add_output(parser: ArgumentParser, help_text: str) -> None:
    """Add ``-o OUT``."""
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=help_text)


def check_output(path: Path) -> None:
    """Refuse to write over anything, before any work is done."""
    if path.exists():
        raise AeframeError(f"'{path}' exists, and nothing is written over it; choose another with --output")
    if not path.parent.is_dir():
        raise AeframeError(f"there is no folder '{path.parent}' to write '{path.name}' into; make it first")


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, found '{text}'")
    return int(text)
