"""``aeframe encode RUN FILE -o OUT.npz`` encodes the samples in a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_condition, add_output, check_output
from aeframe.errors import AeframeError


class Encode(ModelCommand):
    """Encode the samples in a file, and write an NPZ file with the array z (N, ...).

    For a quantised latent, the file also has an array codes of integers.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="samples, in a format of the model's modality")
        add_condition(parser)
        add_output(parser, "a new .npz file")

    def run(self, args: Namespace) -> int:
        import numpy as np

        if args.output.suffix != ".npz":
            raise AeframeError(f"codes are written as NPZ, found '{args.output}'; choose a name that ends in .npz")
        check_output(args.output)
        model = self.open(args)
        batch, batch_size = model.modality.read(args.file), self.batch_size(args, model)
        condition = self.condition(args, model, len(batch))
        z = model.encode(batch, condition=condition, batch_size=batch_size).numpy()
        with args.output.open("xb") as file:
            if "codes" in model.model.latent.provides:
                codes = model.codes(batch, condition=condition, batch_size=batch_size)
                np.savez(file, z=z, codes=codes.numpy())
            else:
                np.savez(file, z=z)
        print(args.output)
        return 0
