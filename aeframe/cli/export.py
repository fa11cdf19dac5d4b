"""``aeframe export RUN --format onnx -o OUT`` writes the functions of a model as programs that run without aeframe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli import Command
from aeframe.cli.model_command import add_output, check_output


class Export(Command):
    """Write functions of a model as programs that run without aeframe: encode, decode and score.

    OUT is a new folder with one file for each function, encode.onnx or encode.pt2, for batches of any size. Each file
    has in its metadata what is needed to use it alone: scaling or vocabulary, label names, thresholds of the scores.
    score is the anomaly score by reconstruction. Programs are compared with the model before they are written.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="RUN", help="folder of a run, or of a saved model")
        parser.add_argument(
            "--format", required=True, help="torch-export, for torch.export.load; onnx, which needs aeframe[onnx]"
        )
        parser.add_argument(
            "--functions", metavar="NAME,...", help="functions to export (default: encode,decode,score)"
        )
        add_output(parser, "a new folder")

    def run(self, args: Namespace) -> int:
        check_output(args.output)

        from aeframe.model_store.export.export import export_model
        from aeframe.model_store.export.functions import FUNCTIONS
        from aeframe.model_store.reader import load

        functions = (
            FUNCTIONS if args.functions is None else [name.strip() for name in args.functions.split(",") if name]
        )
        for path in export_model(load(args.model), args.output, format=args.format, functions=functions):
            print(path)
        return 0
