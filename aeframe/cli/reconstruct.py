"""``aeframe reconstruct RUN FILE -o OUT`` reconstructs the samples in a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_condition, add_output, check_output


class Reconstruct(ModelCommand):
    """Reconstruct the samples in a file: encode them, and decode the mean of z."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="samples, in a format of the model's modality")
        add_condition(parser)
        add_output(parser, "a new file or folder, in a format of the model's modality")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        model = self.open(args)
        batch = model.modality.read(args.file)
        condition = self.condition(args, model, len(batch))
        x = model.reconstruct(batch, condition=condition, batch_size=self.batch_size(args, model))
        for path in model.modality.write(x, args.output):
            print(path)
        return 0
