"""``aeframe decode RUN CODES -o OUT`` decodes codes, such as those that ``aeframe encode`` wrote."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.codes_file import read_codes
from aeframe.cli.model_command import ModelCommand, add_condition, add_output, check_output
from aeframe.cli.progress import with_progress


class Decode(ModelCommand):
    """Decode codes z from an NPZ or Parquet file, such as those that encode wrote: to the mean, or a draw.

    The file has an array z (N, ...) or the columns z0, z1, ...; its names (name) are kept.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="CODES", type=Path, help="codes, as .npz or .parquet")
        parser.add_argument("--draw", action="store_true", help="sample from the likelihood instead of taking its mean")
        parser.add_argument("--seed", type=int, default=0, help="seed of --draw (default: 0)")
        add_condition(parser)
        add_output(parser, "a new file or folder, in a format of the model's modality")

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.noise import PICTURES, noise_of

        check_output(args.output)
        model = self.open(args)
        codes, names = read_codes(args.file, model.model.latent.shape)
        parts = torch.from_numpy(codes).split(self.batch_size(args, model))
        with noise_of(model.device, args.seed, PICTURES):
            x = torch.cat(
                [
                    model.decode(
                        z, condition=self.condition(args, model, len(z)), batch_size=len(z), draw=args.draw
                    ).cpu()
                    for z in with_progress(parts, len(parts), "decode")
                ]
            )
        for path in model.modality.write(x, args.output, names=names):
            print(path)
        return 0
