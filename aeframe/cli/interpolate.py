"""``aeframe interpolate RUN FILE --from A --to B -o OUT`` decodes a path between the codes of two samples."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from aeframe.cli.decode import CodesCommand, kept
from aeframe.cli.model_command import (
    add_condition,
    add_picture,
    add_sample_output,
    add_samples,
    check_output,
    check_picture,
    positive,
)
from aeframe.errors import AeframeError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from aeframe.data.file_samples import FileSamples


class Interpolate(CodesCommand):
    """Decode a path between the codes of two samples, and write its samples in a format of the modality.

    The path is the shortest of the latent space: a great circle of the sphere, a geodesic of the Poincaré ball, a
    straight line elsewhere. The first and last samples are the reconstructions of the two. The codes of the path are in
    memory; samples are decoded and written by batch, and --picture keeps all of them.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument("--from", dest="start", metavar="SAMPLE", required=True, help="first: a name, or a number")
        parser.add_argument("--to", dest="end", metavar="SAMPLE", required=True, help="last: a name, or a number")
        parser.add_argument("--steps", type=positive, default=10, help="samples, both ends included (default: 10)")
        add_picture(parser, "also draw the path")
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.model_store.paths import path_between

        check_output(args.output)
        check_picture(args.picture)
        model = self.open(args)
        samples = self.samples(args, model)
        rows = [row_of(samples, text) for text in (args.start, args.end)]
        first, last = (samples.source.batch(torch.tensor([row])) for row in rows)
        condition = self.condition(args, model, 1)
        codes, between = path_between(model, first, last, args.steps, condition=condition)
        width = len(str(args.steps - 1))
        names = [f"{number:0{width}}" for number in range(args.steps)]
        decoded, drawn = self.decoded(model, codes, args, between=between), list[torch.Tensor]()
        self.write(model, decoded if args.picture is None else kept(decoded, drawn), args.steps, args, names)
        if args.picture is not None:
            model.modality.render({f"{args.start} to {args.end}": torch.cat(drawn)}).savefig(args.picture)
            print(args.picture)
        return 0


def row_of(samples: FileSamples, text: str) -> int:
    """Return the row of a sample that is given by its name, or by its number in the file.

    Raises:
        AeframeError: There is no such sample, or there are several of the name.
    """
    from aeframe.data.file_samples import names_of

    names = names_of(samples.source) or []
    rows = [row for row, name in enumerate(names) if name == text]
    if len(rows) > 1:
        raise AeframeError(f"{len(rows)} samples have the name '{text}'; give the number of one, counted from 0")
    if rows:
        return rows[0]
    if text.isdecimal():
        if int(text) < len(samples) and _index_at(samples, int(text)) == int(text):
            return int(text)
        # Skipped samples shift the rows, and a split has rows of the whole data.
        index = _indices(samples)
        found = (index == int(text)).nonzero()[0]
        if len(found):
            return int(found[0])
    known = f"names such as '{names[0]}', and " if names else ""
    raise AeframeError(
        f"there is no sample '{text}'{did_you_mean(text, names)}; samples have {known}numbers from 0, of which "
        f"{len(samples)} can be used"
    )


def _index_at(samples: FileSamples, row: int) -> int:
    """Return the number of the sample of a row in the file."""
    import torch

    index = samples.source.batch(torch.tensor([row])).index
    return row if index is None else int(index[0])


def _indices(samples: FileSamples) -> np.ndarray:
    """Return the number of each sample in the file, in which skipped ones are counted too."""
    import numpy as np

    batches = (batch.index for batch in samples.batches(1024))
    numbers = [index.numpy() for index in batches if index is not None]
    return np.concatenate(numbers) if numbers else np.arange(len(samples))
