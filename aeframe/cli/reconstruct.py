"""``aeframe reconstruct RUN FILE -o OUT`` reconstructs the samples in a file or in a split of the run's data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aeframe.cli.model_command import (
    ModelCommand,
    add_condition,
    add_sample_output,
    add_samples,
    check_output,
)

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.data.file_samples import FileSamples
    from aeframe.model_store.trained_model import TrainedModel


class Reconstruct(ModelCommand):
    """Reconstruct the samples in a file, or in a split of the run's data: encode them, and decode the code.

    z is the posterior mean; units that are hardly used are drawn twice, as in the metrics of the run. Outputs keep the
    names of the samples: files of a folder, cells, row ids.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument("--draw", action="store_true", help="draw from the likelihood instead of taking its mean")
        parser.add_argument("--seed", type=int, help="seed of the random draws (default: the seed of the run)")
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        from aeframe.data.file_samples import names_of
        from aeframe.model_store.inputs import check_draw

        check_output(args.output)
        model = self.open(args)
        check_draw(f"model '{model.name}'", model.model.loss, model.spec, draw=args.draw)
        samples = self.samples(args, model)
        conditions: deque[Tensor] = deque()
        reconstructed = self._reconstructed(model, samples, args, conditions)
        taken = iter(conditions.popleft, None) if model.spec.condition else None
        self.write(model, reconstructed, len(samples), args, names_of(samples.source), taken)
        return 0

    def _reconstructed(
        self, model: TrainedModel, samples: FileSamples, args: Namespace, conditions: deque[Tensor]
    ) -> Iterator[Tensor]:
        """Yield the reconstructions of each batch, whose condition ``(B, C)`` is appended to `conditions`."""
        import torch

        for batch, _ in self.batches(samples, model, args):
            condition = self.condition(args, model, len(batch))
            if model.spec.condition:
                own = batch.x.new_zeros(len(batch), 0) if batch.condition is None else batch.condition
                conditions.append(own if args.condition is None else torch.tensor([args.condition]))
            yield model.reconstruct(
                batch, condition=condition, batch_size=len(batch), draw=args.draw, seed=args.seed
            ).cpu()
