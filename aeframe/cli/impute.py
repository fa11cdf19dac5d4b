"""``aeframe impute RUN FILE -o OUT`` fills the missing values of a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli.model_command import (
    ModelCommand,
    add_condition,
    add_on_error,
    add_output,
    check_output,
    positive,
    print_read,
)
from aeframe.errors import AeframeError, printable

if TYPE_CHECKING:
    from aeframe.data.file_samples import FileSamples
    from aeframe.data.filled_samples import FilledBatch
    from aeframe.model_store.imputation import Imputation
    from aeframe.model_store.trained_model import TrainedModel

_MAX_SHOWN = 12
"""Columns that the summary names."""


class Impute(ModelCommand):
    """Fill the missing values of a file: encode the samples, decode them, fill the gaps, and repeat that.

    The values are means and the most probable classes, or with --draw samples of about p(missing | observed). Observed
    values are kept, and in tables everything that is no missing value of a column of the model.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="samples, in a format of the modality")
        add_on_error(parser)
        add_condition(parser)
        parser.add_argument("--draw", action="store_true", help="draw the values instead of taking their mean")
        parser.add_argument(
            "-m",
            "--multiple",
            metavar="M",
            type=positive,
            help="write M files OUT-1, ..., OUT-M with independent draws; file m has the seed SEED + m - 1",
        )
        parser.add_argument("--iterations", type=positive, default=10, help="number of iterations (default: 10)")
        parser.add_argument("--seed", type=int, default=0, help="seed of --draw (default: 0)")
        add_output(parser, "a new file, in a format of the model's modality; tables keep all other cells of FILE")

    def run(self, args: Namespace) -> int:
        from aeframe.data.file_samples import names_of
        from aeframe.data.filled_samples import FilledSamples
        from aeframe.model_store.imputation import Imputation, accepting_missing

        if args.multiple is not None and not args.draw:
            raise AeframeError("-m writes several draws, found no --draw, without which all are equal; add --draw")
        outputs = [args.output] if args.multiple is None else numbered(args.output, args.multiple)
        for output in outputs:
            check_output(output)
        model = accepting_missing(self.open(args))
        samples = model.modality.open(args.file, args.on_error or model.modality.on_error)
        print_read(model.modality.notes, samples.skipped)
        for number, output in enumerate(outputs):
            counts: Counter[str] = Counter()
            imputation = Imputation(args.iterations, args.draw, args.seed + number)
            batches = self._filled(model, samples, args, imputation, counts)
            filled = FilledSamples(batches, len(samples), names_of(samples.source))
            for path in model.modality.write_filled(filled, args.file, output):
                print(path)
            if number == 0:
                print(_summary(counts, len(samples)), file=sys.stderr)
        return 0

    def _filled(
        self,
        model: TrainedModel,
        samples: FileSamples,
        args: Namespace,
        imputation: Imputation,
        counts: Counter[str],
    ) -> Iterator[FilledBatch]:
        """Yield each batch with its missing values filled, and add the number of these by column to `counts`."""
        import torch

        from aeframe.model_store.imputation import impute_batch

        start = 0
        for batch, _ in self.batches(samples, model, args):
            condition = self.condition(args, model, len(batch))
            rows = torch.arange(start, start + len(batch)) if batch.index is None else batch.index
            filled = impute_batch(model, batch, rows, imputation, condition=condition)
            counts.update(model.modality.count_missing(filled.missing))
            start += len(batch)
            yield filled


def numbered(path: Path, num: int) -> list[Path]:
    """Return the paths ``OUT-1.csv``, ..., ``OUT-num.csv`` for ``OUT.csv``; ``.csv.gz`` stays together."""
    from aeframe.data.tables.compression import SUFFIXES

    suffixes = path.suffixes[-2:] if path.suffix.lower() in SUFFIXES else path.suffixes[-1:]
    ending = "".join(suffixes)
    return [path.with_name(f"{path.name.removesuffix(ending)}-{number}{ending}") for number in range(1, num + 1)]


def _summary(counts: Counter[str], num: int) -> str:
    """Return a sentence on how many cells of which columns were filled."""
    if not counts:
        return f"no value of {num:,} samples is missing in a column of the model"
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_MAX_SHOWN)]
    more = f" and {len(counts) - _MAX_SHOWN} more columns" if len(counts) > _MAX_SHOWN else ""
    return printable(f"filled {counts.total():,} missing values of {num:,} samples: {', '.join(shown)}{more}")
