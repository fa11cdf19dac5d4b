"""``aeframe generate RUN [sampler=NAME] -n 64 -o OUT`` generates new samples."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
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
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.model_store.trained_model import TrainedModel


class Generate(CodesCommand):
    """Generate new samples: draw z from the model's sampler, and decode it.

    All z are drawn at once; they are decoded and written by batch.
    """

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
        add_draw(parser)
        add_data(parser)
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.noise import PICTURES, noise_of

        check_output(args.output)
        model = self.open(args)
        if args.sampler:
            model = self._with_sampler(model, parse_sampler(args.sampler), args)
        seed = torch.seed() if args.seed is None else args.seed
        args.draw = model.model.loss.draws_samples if args.draw is None else args.draw
        with noise_of(model.device, seed, PICTURES):
            codes = model.sample_codes(args.num)
            self.write(model, self.decoded(model, codes, args), args.num, args)
        return 0

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
