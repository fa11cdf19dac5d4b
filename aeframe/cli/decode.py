"""``aeframe decode RUN CODES -o OUT`` decodes codes, such as those that ``aeframe encode`` wrote."""

from __future__ import annotations

import itertools
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli.codes_file import read_codes
from aeframe.cli.model_command import ModelCommand, add_condition, add_sample_output, check_output
from aeframe.cli.progress import with_progress

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.model_store.trained_model import TrainedModel


class CodesCommand(ModelCommand):
    """A verb that decodes codes, with the arguments of `add_condition`."""

    def decoded(
        self, model: TrainedModel, codes: Tensor, args: Namespace, *, draw: bool = False, between: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield the decoded samples ``(B, *shape)`` of each batch, with the progress.

        Args:
            model: The model.
            codes: The codes ``(N, *z_shape)``.
            args: The arguments of the verb.
            draw: Whether samples are drawn from the likelihood.
            between: The condition ``(N, C)`` of each code; None for the one of ``--label`` or ``--condition``.
        """
        batch_size = self.batch_size(args, model)
        parts = range(0, len(codes), batch_size)
        for start in with_progress(parts, len(parts), type(self).__name__.lower()):
            z = codes[start : start + batch_size]
            condition = self.condition(args, model, len(z)) if between is None else between[start : start + batch_size]
            yield model.decode(z, condition=condition, batch_size=len(z), draw=draw).cpu()

    def conditions(self, model: TrainedModel, args: Namespace) -> Iterator[Tensor] | None:
        """Return the condition ``(1, C)`` of all samples, for each batch; None for a model without one."""
        from aeframe.model_store.selection import condition_numbers

        condition = condition_numbers(model, self.condition(args, model, 1), 1)
        return None if condition is None else itertools.repeat(condition)


def kept(batches: Iterable[Tensor], found: list[Tensor]) -> Iterator[Tensor]:
    """Yield batches, and append each to `found`, for a picture of samples that are written too."""
    for batch in batches:
        found.append(batch)
        yield batch


class Decode(CodesCommand):
    """Decode codes z from an NPZ or Parquet file, such as those that encode wrote: to the mean, or a draw.

    The file has an array z (N, ...) or the columns z0, z1, ...; its names (name) are kept.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="CODES", type=Path, help="codes, as .npz or .parquet")
        parser.add_argument("--draw", action="store_true", help="sample from the likelihood instead of taking its mean")
        parser.add_argument("--seed", type=int, default=0, help="seed of --draw (default: 0)")
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.noise import PICTURES, noise_of

        check_output(args.output)
        model = self.open(args)
        codes, names = read_codes(args.file, model.model.latent.shape)
        with noise_of(model.device, args.seed, PICTURES):
            decoded = self.decoded(model, torch.from_numpy(codes), args, draw=args.draw)
            self.write(model, decoded, len(codes), args, names, self.conditions(model, args))
        return 0
