"""``aeframe generate RUN [sampler=NAME] -n 64 [--where age<30] -o OUT`` generates new samples."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aeframe.cli.decode import CodesCommand
from aeframe.cli.model_command import (
    add_condition,
    add_data,
    add_draw,
    add_sample_output,
    check_output,
    positive,
)
from aeframe.errors import AeframeError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.data.where import Where
    from aeframe.model_store.inputs import Condition
    from aeframe.model_store.trained_model import TrainedModel


class Generate(CodesCommand):
    """Generate new samples: draw z from the model's sampler, and decode it.

    All z are drawn at once; they are decoded and written by batch. With --where, samples are drawn until enough fulfil
    all comparisons. Columns that the model was trained with as its condition are set instead.
    """

    _condition: Condition | None = None
    """The condition that ``--where`` states."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument(
            "sampler",
            nargs="*",
            metavar="sampler=NAME",
            help="another distribution of z than that of the run, with options (sampler.components=20); "
            "an ex-post density is fitted to the training data of the run",
        )
        parser.add_argument("-n", "--num", type=positive, default=64, help="number of samples (default: 64)")
        parser.add_argument("--seed", type=int, help="seed of the random draws (default: a random seed)")
        parser.add_argument(
            "--where",
            metavar="COMPARISON",
            action="append",
            help="samples that fulfil a comparison of a column, in the unit of the data: 'age<30', 'income=>50K' (the "
            "first of the operators = != < <= > >= counts); may be repeated, for samples that fulfil all",
        )
        add_draw(parser)
        add_data(parser)
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.data.where import Where
        from aeframe.model_store.inputs import check_draw
        from aeframe.noise import PICTURES, noise_of

        check_output(args.output)
        where = [Where.parse(text) for text in args.where or ()]
        model = self.open(args)
        where = self._set_condition(model, where, args)
        if args.sampler:
            model = self._with_sampler(model, parse_sampler(args.sampler), args)
        seed = torch.seed() if args.seed is None else args.seed
        args.draw = model.model.loss.draws_samples if args.draw is None else args.draw
        check_draw(f"model '{model.name}'", model.model.loss, model.spec, draw=args.draw)
        with noise_of(model.device, seed, PICTURES):
            conditions = self.conditions(model, args)
            if where:
                batches = self._accepted(model, where, args)
            else:
                batches = self.decoded(model, model.sample_codes(args.num), args, draw=args.draw)
            self.write(model, batches, args.num, args, conditions=conditions)
        return 0

    def condition(self, args: Namespace, model: TrainedModel, num: int) -> Condition | None:
        return super().condition(args, model, num) if self._condition is None else self._condition

    def _set_condition(self, model: TrainedModel, where: Sequence[Where], args: Namespace) -> list[Where]:
        """Set the condition of all samples that comparisons state, and return the other comparisons."""
        from aeframe.model_store.selection import condition_of

        self._condition, rest = condition_of(model, where)
        if self._condition is not None:
            stated = ", ".join(str(each) for each in where if each not in rest)
            if args.label is not None or args.condition is not None:
                raise AeframeError(f"--where {stated} is the condition, found another one too; leave out one")
            print(printable(f"{stated}: by the condition that the model was trained with"), file=sys.stderr)
        return rest

    def _accepted(self, model: TrainedModel, where: Sequence[Where], args: Namespace) -> Iterator[Tensor]:
        """Yield samples that fulfil all comparisons, and print how many draws did."""
        from aeframe.model_store.selection import Acceptance, sample_where

        acceptance, batch_size = Acceptance(), self.batch_size(args, model)
        condition = self.condition(args, model, batch_size)
        yield from sample_where(
            model, args.num, where, acceptance, condition=condition, batch_size=batch_size, draw=args.draw
        )
        compared = " and ".join(map(str, where))
        print(printable(f"{compared}: by rejection, {acceptance} were accepted"), file=sys.stderr)

    def _with_sampler(self, model: TrainedModel, sampler: dict[str, Any], args: Namespace) -> TrainedModel:
        """Return the model with another sampler; an ex-post density is fitted to the training data of the run."""
        from aeframe.model.density import batches_to_fit
        from aeframe.registry import registry

        if not registry().load("sampler", sampler["name"]).requires_fit:
            return model.with_sampler(sampler)
        seed = int(model.config.get("seed", 0))
        batches = batches_to_fit(self.splits(model, args).train, self.batch_size(args, model), seed)
        return model.with_sampler(sampler, batches, seed=seed)


def parse_sampler(overrides: list[str]) -> dict[str, Any]:
    """Return the config ``{name: NAME, OPTION: VALUE}`` that ``sampler=NAME`` and ``sampler.OPTION=VALUE`` set.

    Raises:
        AeframeError: An override sets something else, or none sets the name.
    """
    import yaml

    config: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or (key != "sampler" and not key.startswith("sampler.")):
            raise AeframeError(f"expected sampler=NAME or sampler.OPTION=VALUE, found '{override}'")
        config["name" if key == "sampler" else key.removeprefix("sampler.")] = yaml.safe_load(value)
    if not isinstance(config.get("name"), str):
        raise AeframeError("options of a sampler require its name; add sampler=NAME")
    return config
