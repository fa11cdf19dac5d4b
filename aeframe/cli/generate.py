"""``aeframe generate RUN [sampler=NAME] -n 64 -o OUT``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from aeframe.cli.model_command import ModelCommand, add_data, add_output, check_output, positive
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.model_store.trained_model import TrainedModel


class Generate(ModelCommand):
    """Write new samples: codes from the model's sampler, decoded."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument(
            "sampler",
            nargs="*",
            metavar="sampler=NAME",
            help="another density of codes than the run's, and its options (sampler.components=20); "
            "one that is fitted is fitted to the run's training data",
        )
        parser.add_argument("-n", "--num", type=positive, default=64, help="how many (default: 64)")
        parser.add_argument(
            "--seed", type=int, help="the same seed gives the same samples (default: new ones each time)"
        )
        parser.add_argument("--draw", action="store_true", help="draw from the likelihood instead of taking its mean")
        add_data(parser)
        told = parser.add_mutually_exclusive_group()
        told.add_argument("--label", type=int, help="the class of all of them, for a model with label_classes")
        told.add_argument(
            "--condition", metavar="C,C,...", type=_numbers, help="what they are all told, for a model with a condition"
        )
        add_output(parser, "a new file or folder, in a format of the model's modality")

    def run(self, args: Namespace) -> int:
        import torch

        check_output(args.output)
        model = self.open(args)
        if args.sampler:
            model = self._other(model, chosen(args.sampler), args)
        seed = torch.seed() if args.seed is None else args.seed
        x = model.sample(
            args.num,
            seed=seed,
            condition=None if (told := _told(args, model)) is None else torch.tensor(told).expand(args.num, -1),
            batch_size=self.batch_size(args, model),
            draw=args.draw,
        )
        for path in model.modality.write(x.cpu(), args.output):
            print(path)
        return 0

    def _other(self, model: TrainedModel, sampler: dict[str, Any], args: Namespace) -> TrainedModel:
        """Return the model with another sampler, fitted to the data of its run where it must be."""
        from aeframe.model.density import first_batches
        from aeframe.registry import registry

        if not registry().load("sampler", sampler["name"]).fitted:
            return model.with_sampler(sampler)
        batches = first_batches(self.splits(model, args).train, self.batch_size(args, model))
        return model.with_sampler(sampler, batches, seed=int(model.config.get("seed", 0)))


def _told(args: Namespace, model: TrainedModel) -> list[float] | None:
    """Return the C numbers of the condition that was asked for."""
    if args.label is None:
        given: list[float] | None = args.condition
        return given
    classes, whole = model.config.get("label_classes", 0), model.spec.condition
    found = f"found --label {args.label}; give"
    if not classes:
        instead = "--condition with all of its numbers" if whole else "none"
        raise AeframeError(f"model '{model.name}' was trained without label_classes, {found} {instead}")
    known = f"model '{model.name}' is told labels 0 to {classes - 1}"
    if classes < whole:
        raise AeframeError(f"{known} beside other numbers, {found} --condition with all of its numbers")
    if not 0 <= args.label < classes:
        raise AeframeError(f"{known}, {found} such a label")
    return [float(each == args.label) for each in range(classes)]


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"expected numbers with commas between them, found '{text}'") from None


def chosen(words: list[str]) -> dict[str, Any]:
    """Read ``sampler=NAME`` and ``sampler.OPTION=VALUE`` as a config.

    Raises:
        AeframeError: Anything else, or no name.
    """
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or (key != "sampler" and not key.startswith("sampler.")):
            raise AeframeError(f"expected sampler=NAME or sampler.OPTION=VALUE, found '{word}'")
        found["name" if key == "sampler" else key.removeprefix("sampler.")] = yaml.safe_load(value)
    if not isinstance(found.get("name"), str):
        raise AeframeError("the options are of no sampler; say which with sampler=NAME")
    return found
