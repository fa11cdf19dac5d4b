"""The command ``aeframe anomalies RUN FILE -o OUT.csv``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_on_error, add_output, check_output, print_read
from aeframe.errors import AeframeError


class Anomalies(ModelCommand):
    """Score each time step of a series by its reconstruction error, and flag scores above a threshold.

    The score is the squared error of the values as the model receives them (scaled), averaged over the columns and over
    the windows that contain the time step. The threshold is a quantile of the scores of the validation split. The
    output has one row per row of the file, with its series and time: score, anomaly flag, and for each column the
    reconstruction in the unit of the file and the squared error. Rows that are skipped, or that are in no window, have
    an empty score. With --windows the output has one row per window, without reconstructions.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="a series, in a format of the modality")
        parser.add_argument(
            "--quantile",
            type=_fraction,
            default=0.99,
            help="quantile of the validation scores to use as threshold (0.99)",
        )
        parser.add_argument("--windows", action="store_true", help="score windows instead of time steps")
        parser.add_argument("--picture", metavar="PNG", type=Path, help="plot the series, scores and flags here")
        add_on_error(parser)
        add_output(parser, "a new .csv, .csv.gz or .npz file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        if args.picture is not None:
            check_output(args.picture)
            if args.picture.suffix.lower() != ".png":
                raise AeframeError(f"--picture writes a PNG file, found '{args.picture.name}'; use the suffix .png")
        import numpy as np

        from aeframe_series.anomaly_report import plot_scores, time_step_table, window_table
        from aeframe_series.modality import Series
        from aeframe_series.scores import score_windows
        from aeframe_series.write import write_columns

        model = self.open(args)
        modality = model.modality
        if not isinstance(modality, Series):
            raise AeframeError(f"'{args.model}' is not a model of series; anomalies requires modality series")
        thresholds = modality.thresholds
        if thresholds is None:
            raise AeframeError(f"'{args.model}' has no thresholds, because its validation split has no observed values")
        threshold = thresholds.at(args.quantile, windows=args.windows)
        series = modality.read_series(args.file, on_error=args.on_error)
        print_read(modality.notes, series.skipped)
        source = modality.overlapping_windows(series)
        batch_size = self.batch_size(args, model)
        scores = score_windows(lambda batch: model.reconstruct(batch, batch_size=batch_size), source)
        if args.windows:
            table = window_table(modality, series, source, scores, threshold)
        else:
            table = time_step_table(modality, series, scores, threshold)
        for path in write_columns(args.output, table):
            print(path)
        if args.picture is not None:
            # The plot has a score for each time step, also with --windows.
            plot_scores(modality, series, scores, thresholds.at(args.quantile)).savefig(args.picture)
            print(args.picture)
        flags = table["anomaly"]
        num_unscored = int(np.isnan(table["score"]).sum())
        print(
            f"{int(flags.sum())} of {len(flags)} {'windows' if args.windows else 'time steps'} are above "
            f"{threshold:.6g}, the {args.quantile:g} quantile of the validation split"
            + (f"; {num_unscored} without a score" if num_unscored else "")
        )
        return 0


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = -1.0
    if not 0 < fraction < 1:
        raise ArgumentTypeError(f"expected a number between 0 and 1, found '{text}'")
    return fraction
