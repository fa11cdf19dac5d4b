"""``aeframe anomalies RUN FILE -o OUT.csv``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output
from aeframe.errors import AeframeError


class Anomalies(ModelCommand):
    """Score each moment of a series by how far it lies from its reconstruction, and flag those above a threshold: the
    score that a share of the moments of the run's own validation split does not exceed.

    A score is the squared error in the scaled unit, the mean over the columns of a moment and over the windows that
    hold it. The rows that are written have the score, the flag, and for each column the reconstruction in the unit of
    the file and the error; with --windows, a row for each window and its score.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="a series, in a format of the modality")
        parser.add_argument(
            "--quantile", type=_share, default=0.99, help="share of the validation split below the threshold (0.99)"
        )
        parser.add_argument("--windows", action="store_true", help="score windows in place of moments")
        parser.add_argument("--picture", metavar="PNG", type=Path, help="draw the series with what is flagged here")
        add_output(parser, "a new .csv, .csv.gz or .npz file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        if args.picture is not None:
            check_output(args.picture)
            if args.picture.suffix.lower() != ".png":
                raise AeframeError(f"--picture draws a PNG, found '{args.picture.name}'; end it in .png")
        from aeframe_series.modality import Series
        from aeframe_series.report import by_moment, by_window, draw
        from aeframe_series.scores import score
        from aeframe_series.write import write_columns

        model = self.open(args)
        if not isinstance(model.modality, Series):
            raise AeframeError(f"'{args.model}' is no model of series; anomalies is for modality series")
        thresholds = model.modality.thresholds
        if thresholds is None:
            raise AeframeError(f"'{args.model}' has no thresholds: no value of its validation split was there to score")
        threshold = thresholds.at(args.quantile, windows=args.windows)
        found = model.modality.examined(args.file)
        source = model.modality.overlapping(found)
        scores = score(lambda batch: model.reconstruct(batch, batch_size=self.batch_size(args, model)), source)
        table = by_window if args.windows else by_moment
        columns = table(model.modality, found, source, scores, threshold)
        for path in write_columns(args.output, columns):
            print(path)
        if args.picture is not None:
            draw(model.modality, found, scores, thresholds.at(args.quantile)).savefig(args.picture)
            print(args.picture)
        what = "windows" if args.windows else "moments"
        flagged = columns["anomaly"]
        print(
            f"{int(flagged.sum())} of {len(flagged)} {what} are above {threshold:.6g}, "
            f"the {args.quantile:g} quantile of validation"
        )
        return 0


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ArgumentTypeError(f"expected a number between 0 and 1, found '{text}'")
    return share
