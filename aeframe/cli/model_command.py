"""The base class of verbs that load a saved model, and arguments that they share. Imports nothing heavy."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.progress import with_progress
from aeframe.errors import AeframeError, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from aeframe.data.file_samples import FileSamples
    from aeframe.data.modality import Splits
    from aeframe.model_store.inputs import Condition
    from aeframe.model_store.trained_model import TrainedModel
    from aeframe.types import Batch


SPLITS = ("train", "validation", "test")


class ModelCommand(Command):
    """A verb whose first argument is the folder of a run."""

    _splits: Splits | None = None
    """The data of the run, after `splits` has loaded them."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="RUN", type=Path, help="folder of a run, or of a saved model")
        parser.add_argument("--device", help="device of the model: cpu, cuda, cuda:1, mps (default: cuda if available)")
        parser.add_argument("--batch-size", type=positive, help="samples in a batch (default: that of the run)")

    def open(self, args: Namespace) -> TrainedModel:
        """Load the model onto the device of ``--device``."""
        import torch

        from aeframe.devices import check_device
        from aeframe.model_store.reader import load

        device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_device(device, "--device")
        model = load(args.model, device)
        return model.with_reading_options(**_options(args.option)) if getattr(args, "option", None) else model

    def splits(self, model: TrainedModel, args: Namespace) -> Splits:
        """Load the data of the run, prepared and split as in training.

        The state of the modality and the split are those that were saved with the model. A warning is printed for each
        difference between these data and the data of the training.

        Args:
            model: The model that `open` returned.
            args: The arguments of a verb that called `add_data`.

        Raises:
            AeframeError: The model has no dataset, the data cannot be read, or they lack samples of the saved split.
        """
        from aeframe.data.fingerprint import compare, describe_fingerprint, fingerprint, replace_paths
        from aeframe.data.in_memory import build_dataset
        from aeframe.data.labels import condition_on_labels

        if self._splits is not None:
            return self._splits
        if "data" not in model.config:
            raise AeframeError(f"the config of model '{model.name}' names no dataset, so that it has no splits")
        config = replace_paths(model.config["data"], args.data or ())
        dataset = build_dataset(config)
        model.data.use_split(dataset)
        splits = model.modality.prepare(dataset, learn=False)
        current = fingerprint(config, dataset, splits, model.spec)
        consequence = (
            "the saved state and split are used, and samples that were added are ignored"
            if model.data.split
            else "the saved state is used, but no split was saved, so test samples may be training samples"
        )
        for difference in compare(model.data.fingerprint, current):
            print(f"warning: {printable(difference)}; {consequence}", file=sys.stderr)
        counts = ", ".join(f"{split} {num}" for split, num in current["rows"].items())
        print(printable(f"{describe_fingerprint(current)}: {counts}"), file=sys.stderr)
        self._splits = condition_on_labels(splits, model.config.get("label_classes", 0), model.label_names)
        return self._splits

    def samples(self, args: Namespace, model: TrainedModel, *, reads_run: bool = False) -> FileSamples:
        """Return the samples of ``FILE``, or of a split of the run's data, with notes about them printed on stderr.

        Args:
            args: The arguments of a verb that called `add_samples`.
            model: The model that `open` returned.
            reads_run: Whether the verb reads data of the run besides FILE, so that ``--data`` may be given with it.

        Raises:
            AeframeError: Neither a file nor a split was chosen, or both; or the samples cannot be read.
        """
        from aeframe.data.file_samples import FileSamples

        if (args.file is None) == (args.split is None):
            found = "neither" if args.file is None else "both"
            verb = type(self).__name__.lower()
            raise AeframeError(f"{verb} reads either FILE or --split of the run's data, found {found}; choose one")
        if args.file is None:
            splits = self.splits(model, args)
            opened = FileSamples(getattr(splits, args.split), splits.skipped)
            print_read(splits.notes, opened.skipped)
        else:
            if args.data and not reads_run:
                raise AeframeError(f"--data names the data of the run, found FILE '{args.file}' too; leave out one")
            opened = model.modality.open(args.file, args.on_error or model.modality.on_error)
            print_read(model.modality.notes, opened.skipped)
        return opened

    def batches(
        self, samples: FileSamples, model: TrainedModel, args: Namespace, rows: Tensor | None = None
    ) -> Iterator[tuple[Batch, Mapping[str, NDArray[Any]]]]:
        """Yield samples by batch, with what identifies them (see `Source`): those of `rows`, or all in order.

        The progress is shown.

        Training splits may draw random numbers for a batch, such as those of an augmentation: they are then a function
        of the run's seed.
        """
        import warnings

        import torch

        from aeframe.data.file_samples import columns_of
        from aeframe.model_store.inputs import FarFromTrainingWarning
        from aeframe.noise import LOADING, noise_of

        chosen = torch.arange(len(samples)) if rows is None else rows
        seed, printed = int(model.config.get("seed", 0)), len(model.modality.notes)
        with warnings.catch_warnings():
            parts = chosen.split(self.batch_size(args, model))
            for number, index in enumerate(with_progress(parts, len(parts), type(self).__name__.lower())):
                with noise_of(torch.device("cpu"), seed, LOADING, number):
                    batch = samples.source.batch(index)
                yield batch, columns_of(samples.source, index)
                # Its text differs by batch; one warning is enough.
                warnings.simplefilter("ignore", FarFromTrainingWarning)
        # What was changed in the samples of single batches.
        print_read(list(model.modality.notes)[printed:], ())

    def write(
        self,
        model: TrainedModel,
        batches: Iterable[Tensor],
        num: int,
        args: Namespace,
        names: Sequence[str] | None = None,
        conditions: Iterable[Tensor] | None = None,
    ) -> None:
        """Write `num` samples to ``-o OUT`` while their batches ``(B, *shape)`` are computed, and print the files.

        After an error or an interrupt nothing is left of the file or folder.
        """
        from aeframe.data.sample_batches import SampleBatches

        for path in model.modality.write(SampleBatches(batches, num, names, conditions), args.output):
            print(path)

    def identity(
        self, model: TrainedModel, batch: Batch, columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return what identifies the samples of a batch: ``index``, ``label`` and the columns that `batches` yields."""
        import numpy as np

        identity: dict[str, NDArray[Any]] = {}
        if batch.index is not None:
            identity["index"] = batch.index.numpy()
        label = batch.extras.get("label")
        if label is not None and label.ndim == 1:
            names = model.label_names
            # Index -1 is a missing label, or one that training did not have.
            identity["label"] = label.numpy() if names is None else np.array([*names, ""])[label.numpy()]
        return {**columns, **identity}

    def batch_size(self, args: Namespace, model: TrainedModel) -> int:
        """Return the batch size of ``--batch-size``, or else of the run."""
        batch_size: int | None = args.batch_size
        return batch_size or int(model.config.get("batch_size", 256))

    def condition(self, args: Namespace, model: TrainedModel, num: int) -> Condition | None:
        """Return the condition of `num` samples that ``--label`` or ``--condition`` sets; None if neither is set.

        Args:
            args: The arguments of a verb that called `add_condition`.
            model: The model that `open` returned.
            num: The number of samples.

        Raises:
            AeframeError: The model was trained without labels, or has no such label.
        """
        import torch

        from aeframe.errors import did_you_mean

        if args.label is None:
            return None if args.condition is None else torch.tensor(args.condition).expand(num, -1)
        labels, size = model.labels, model.spec.condition
        found = f"found --label {args.label}"
        if not labels.num_classes:
            remedy = f"use --condition with its {size} numbers" if size else "omit --label"
            raise AeframeError(f"model '{model.name}' was trained without label_classes, {found}; {remedy}")
        index = labels.index(args.label)
        if index is None:
            hint = did_you_mean(args.label, labels.names or ())
            raise AeframeError(
                f"model '{model.name}' has the labels {labels.describe()}, {found}{hint}; choose one of these labels"
            )
        return index


def add_samples(parser: ArgumentParser) -> None:
    """Add ``FILE`` and ``--on-error``, and ``--split`` for the data of the run instead of a file.

    For a verb that reads samples with `ModelCommand.samples`.
    """
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="samples, in a format of the modality")
    parser.add_argument("--split", choices=SPLITS, help="read this split of the run's data instead of a file")
    add_on_error(parser)
    add_data(parser)


def add_on_error(parser: ArgumentParser) -> None:
    """Add ``--on-error``, for a verb that reads a file of the user."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        help="bad files and rows: raise stops, skip leaves them out and lists them (default: as in training)",
    )
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        help="treat unusual samples otherwise than in training, as far as the modality allows it: too_long=cut",
    )


def print_read(notes: Iterable[str], skipped: Iterable[str]) -> None:
    """Print on stderr what was changed or guessed while samples were read, and what was left out."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    for sentence in skipped:
        print(f"skipped: {printable(sentence)}", file=sys.stderr)


def add_data(parser: ArgumentParser) -> None:
    """Add ``--data PATH``, for a verb that reads the data of the run with `ModelCommand.splits`."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        action="append",
        help="current path of the run's data (default: as in training); OPTION=PATH for an option other than data.path",
    )


def add_draw(parser: ArgumentParser) -> None:
    """Add ``--draw``: whether new samples are drawn from the likelihood, None for what the loss does by default."""
    parser.add_argument(
        "--draw",
        action=BooleanOptionalAction,
        help="draw new samples from the likelihood, or take its mean (default: drawn where samples are rows of "
        "numbers and classes, otherwise the mean); an error for a loss without noise, such as a distance",
    )


def add_condition(parser: ArgumentParser) -> None:
    """Add ``--label NAME`` and ``--condition C,C,...``, for a verb that calls `ModelCommand.condition`."""
    condition = parser.add_mutually_exclusive_group()
    condition.add_argument(
        "--label", metavar="NAME", help="label of all samples, by name or number, for a model with label_classes"
    )
    condition.add_argument(
        "--condition", metavar="C,C,...", type=_numbers, help="condition of all samples, for a conditional model"
    )


def _options(texts: Iterable[str]) -> dict[str, Any]:
    """Return the options that ``--option NAME=VALUE`` sets.

    Raises:
        AeframeError: One is written otherwise.
    """
    import yaml

    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise AeframeError(f"--option expects NAME=VALUE, found '{text}'; correct it")
        options[name.removeprefix("modality.")] = yaml.safe_load(value)
    return options


def _numbers(text: str) -> list[float]:
    """Parse numbers separated by commas, for ``type=`` of an argument."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"expected numbers separated by commas, found '{text}'") from None


def add_output(parser: ArgumentParser, help_text: str) -> None:
    """Add ``-o OUT``."""
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=help_text)


def add_sample_output(parser: ArgumentParser) -> None:
    """Add ``-o OUT`` of a verb that writes samples with `ModelCommand.write`."""
    add_output(
        parser,
        "a new file or folder, in a format of the model's modality; it is written while samples are computed, except "
        "for formats that need all of them at once (AnnData, film strips), which are held in memory",
    )


def add_picture(parser: ArgumentParser, help_text: str) -> None:
    """Add ``--picture PNG``."""
    parser.add_argument("--picture", metavar="PNG", type=Path, help=help_text)


def check_picture(path: Path | None) -> None:
    """Check ``--picture`` as `check_output`, and its suffix."""
    if path is None:
        return
    check_output(path)
    if path.suffix.lower() != ".png":
        raise AeframeError(f"--picture writes a PNG file, found '{path.name}'; use the suffix .png")


def check_output(path: Path, option: str = "--output") -> None:
    """Check, before any other work, that the output of an option can be written without overwriting anything.

    Raises:
        AeframeError: The path exists, or its folder does not.
    """
    if path.exists():
        raise AeframeError(f"'{path}' exists already; choose another path with {option}")
    if not path.parent.is_dir():
        raise AeframeError(f"there is no folder '{path.parent}' for '{path.name}'; create it first")


def positive(text: str) -> int:
    """Parse an integer of at least 1, for ``type=`` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected an integer of at least 1, found '{text}'")
    return int(text)
