"""``aeframe explore RUN [FILE]`` shows the codes of samples on a local page, or exports them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli.model_command import ModelCommand, add_condition, add_samples, check_output, positive
from aeframe.cli.rows_file import check_pyarrow, gathered, write_rows
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.explorer.explorer import Explorer
    from aeframe.model_store.trained_model import TrainedModel

_LARGEST_PORT = 65_535


class Explore(ModelCommand):
    """Show the codes of samples on a page of this computer: a map, samples, neighbours, and codes that are moved.

    Samples are those of a file, or of a split of the run's data (by default test). The page is served on the loopback
    interface only, at an address with a random token; end it with Ctrl-C. With --export, one Parquet file is written
    instead: x, y, z, what identifies the samples, and a picture, sound or text of each.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument(
            "--map",
            choices=("pca", "umap"),
            default="pca",
            help="how codes of more than two numbers become points (default: pca); umap requires the extra umap",
        )
        parser.add_argument(
            "--points", type=positive, help="samples on the map, a random subset of more (default: at most 100,000)"
        )
        parser.add_argument("--port", type=_port, default=0, help="port of the page (default: a free one)")
        parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
        parser.add_argument("--export", metavar="FILE.parquet", type=Path, help="write this new file, and show no page")
        add_condition(parser)

    def run(self, args: Namespace) -> int:
        if args.export is not None:
            if args.export.suffix.lower() != ".parquet":
                raise AeframeError(f"--export writes Parquet, found '{args.export}'; choose a name ending in .parquet")
            check_pyarrow(args.export)
            check_output(args.export, "--export")
        from aeframe.explorer.embedding import check_method

        check_method(args.map)
        if args.export is None:
            from aeframe.explorer.server import check_page

            check_page()
        explorer = self.explorer(args)
        if args.export is not None:
            from aeframe.explorer.export import export

            export(explorer, args.export)
            print(args.export)
            return 0
        from aeframe.explorer.callbacks import Callbacks
        from aeframe.explorer.server import serve

        serve(Callbacks(explorer, write_rows), args.port, open_browser=not args.no_browser)
        return 0

    def explorer(self, args: Namespace) -> Explorer:
        """Encode the samples, and place them on the map."""
        import torch

        from aeframe.explorer.embedding import make_embedding
        from aeframe.explorer.explorer import Explorer
        from aeframe.noise import random_rows

        model = self.open(args)
        if args.file is None and args.split is None:
            args.split = "test"
        samples = self.samples(args, model)
        seed = int(model.config.get("seed", 0))
        rows = random_rows(len(samples), _num_points(args, model), seed)
        if len(rows) < len(samples):
            print(
                f"note: a random {len(rows)} of {len(samples)} samples are on the map; --points sets another number",
                file=sys.stderr,
            )
        encoded = (
            {
                "z": model.encode(batch, condition=self.condition(args, model, len(batch)), batch_size=len(batch))
                .float()
                .numpy(),
                **self.identity(model, batch, columns),
            }
            for batch, columns in self.batches(samples, model, args, rows)
        )
        columns = gathered(encoded, len(rows))
        codes = torch.from_numpy(columns.pop("z"))
        embedding = make_embedding(rows.numpy(), codes, columns, args.map, seed)
        return Explorer(model, samples.source, embedding, lambda num: self.condition(args, model, num), len(samples))


def _num_points(args: Namespace, model: TrainedModel) -> int:
    """Return the number of points of ``--points``, or as many as the memory bound allows."""
    import math

    from aeframe.explorer.embedding import MAX_BYTES, MAX_POINTS

    num: int | None = args.points
    return num or max(1, min(MAX_POINTS, MAX_BYTES // (4 * math.prod(model.model.latent.shape))))


def _port(text: str) -> int:
    if not text.isdecimal() or not int(text) <= _LARGEST_PORT:
        raise ArgumentTypeError(f"expected a port from 0 (a free one) to {_LARGEST_PORT}, found '{text}'")
    return int(text)
