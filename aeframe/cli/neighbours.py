"""``aeframe neighbours RUN FILE -o OUT`` finds the samples whose codes are nearest to those of a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli.model_command import (
    SPLITS,
    ModelCommand,
    add_condition,
    add_output,
    add_samples,
    check_output,
    positive,
    print_read,
)
from aeframe.cli.rows_file import check_rows_suffix, gathered, write_rows
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from aeframe.data.file_samples import FileSamples
    from aeframe.model_store.trained_model import TrainedModel


class Neighbours(ModelCommand):
    """For each sample of a file, find the samples of the run's training split with the nearest codes.

    Distances are those of the latent space: Euclidean, angles on the sphere, of the ball's metric in the Poincaré ball.
    The output has a row for each pair: the sample (index and name), the rank from 1, the neighbour (neighbour_index,
    neighbour_name and neighbour_label where samples have them) and the distance. The codes that are searched are in
    memory; samples of the file are read, encoded and written by batch.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument("-k", type=positive, default=5, help="neighbours of each sample (default: 5)")
        parser.add_argument(
            "--among", choices=SPLITS, default="train", help="split of the run's data that is searched (default: train)"
        )
        parser.add_argument("--among-file", metavar="FILE", type=Path, help="search the samples of this file instead")
        add_condition(parser)
        add_output(parser, "a new .csv, .csv.gz, .parquet or .npz file")

    def run(self, args: Namespace) -> int:
        check_rows_suffix(args.output)
        check_output(args.output)
        model = self.open(args)
        queries = self.samples(args, model, reads_run=args.among_file is None)
        among = self._among(args, model)
        if len(among) < args.k:
            raise AeframeError(f"-k {args.k} is more than the {len(among)} samples that are searched; set it lower")
        write_rows(args.output, self._pairs(model, queries, among, args))
        print(args.output)
        return 0

    def _among(self, args: Namespace, model: TrainedModel) -> FileSamples:
        """Return the samples that are searched."""
        from aeframe.data.file_samples import FileSamples

        if args.among_file is None:
            return FileSamples(getattr(self.splits(model, args), args.among))
        printed = len(model.modality.notes)
        opened = model.modality.open(args.among_file, args.on_error or model.modality.on_error)
        print_read(list(model.modality.notes)[printed:], opened.skipped)
        return opened

    def _pairs(
        self, model: TrainedModel, queries: FileSamples, among: FileSamples, args: Namespace
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the neighbours of the samples of each batch, as columns."""
        import numpy as np
        import torch

        from aeframe.evaluation.nearest import nearest_codes

        coded = ({"z": codes.numpy(), **identity} for codes, identity in self._codes(model, among, args))
        known = gathered(coded, len(among))
        codes = torch.from_numpy(known.pop("z"))
        for batch_codes, identity in self._codes(model, queries, args):
            distance, nearest = nearest_codes(model.model.latent, batch_codes, codes, args.k)
            num = len(batch_codes)
            rows: NDArray[np.int64] = nearest.flatten().numpy()
            yield {
                **{name: np.repeat(values, args.k) for name, values in identity.items()},
                "rank": np.tile(np.arange(1, args.k + 1), num),
                **{f"neighbour_{name}": values[rows] for name, values in known.items()},
                "distance": distance.flatten().numpy(),
            }

    def _codes(
        self, model: TrainedModel, samples: FileSamples, args: Namespace
    ) -> Iterator[tuple[Tensor, dict[str, NDArray[Any]]]]:
        """Yield the codes of each batch, and the columns that identify its samples."""
        for batch, identity in self.batches(samples, model, args):
            condition = self.condition(args, model, len(batch))
            codes = model.encode(batch, condition=condition, batch_size=len(batch))
            yield codes, self.identity(model, batch, identity)
