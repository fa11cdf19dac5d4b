"""``aeframe anomalies RUN FILE -o OUT`` scores samples, and flags those with a score above a threshold."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aeframe.cli.model_command import (
    ModelCommand,
    add_condition,
    add_output,
    add_picture,
    add_samples,
    check_output,
    check_picture,
    positive,
    print_read,
)
from aeframe.cli.rows_file import check_rows_suffix, write_rows
from aeframe.errors import AeframeError, did_you_mean
from aeframe.evaluation.score_kinds import PER, SCORES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeframe.data.file_samples import FileSamples
    from aeframe.data.scored_parts import ScoredParts
    from aeframe.model_store.trained_model import TrainedModel
    from aeframe.types import Batch

_PICTURED = 8


class Anomalies(ModelCommand):
    """Score each sample by how badly the model reconstructs it, and flag scores above a threshold.

    The output has one row per sample with what identifies it (index, name, label): score, percentile (the percentage of
    training samples with a lower score), anomaly (1 above the threshold) and where (the elements with the largest
    errors: columns, genes, seconds). The threshold is a quantile of the scores of the validation split, which is saved
    with the model. The score is the reconstruction loss from the mean of z, divided by the number of observed elements;
    with --by bound the bound of the model, with --by likelihood an importance-weighted estimate of -log p(x), and with
    --by mahalanobis the squared distance of reconstruction and residual from those of training samples, which also
    finds anomalies that the model has learnt: their distributions are computed from the run's data.

    A series has one row per row of its file, with the mean squared error of each time step over the columns and over
    the windows that contain it; rows that are skipped, or that are in no window, have an empty score. --samples scores
    its windows instead.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument("--by", choices=SCORES, default="reconstruction", help="score (default: reconstruction)")
        parser.add_argument(
            "--per",
            choices=PER,
            help="sum over a sample, or mean over its observed elements, such as tokens (default: element for "
            "reconstruction, sample for bound and likelihood)",
        )
        parser.add_argument(
            "--draws", type=positive, default=1, help="draws of z to average for bound and likelihood (default: 1)"
        )
        parser.add_argument(
            "--quantile",
            type=_fraction,
            default=0.99,
            help="quantile of the validation scores to use as threshold (default: 0.99)",
        )
        parser.add_argument("--samples", action="store_true", help="score windows of a series instead of time steps")
        parser.add_argument(
            "--anomalous",
            metavar="LABEL,...",
            help="labels of anomalies in the input: also print AUROC and average precision of the scores",
        )
        add_picture(parser, "draw the samples with the highest scores")
        add_condition(parser)
        add_output(parser, "a new .csv, .csv.gz, .parquet or .npz file")

    def run(self, args: Namespace) -> int:
        check_rows_suffix(args.output)
        check_output(args.output)
        check_picture(args.picture)
        model = self.open(args)
        parts = self._parts(args, model)
        if parts is not None:
            return _write_parts(args, parts)
        is_known = args.by in model.scales and args.per is None and args.draws == 1
        samples = self.samples(args, model, reads_run=not is_known)
        if not is_known:
            splits = self.splits(model, args)
            model = model.with_scale(args.by, splits.train, splits.validation, per=args.per, draws=args.draws)
        report = _Report(self, args, model, samples)
        write_rows(args.output, report.rows())
        print(args.output)
        report.draw()
        scale = model.scales[args.by]
        print(
            f"{report.num_anomalies} of {len(samples)} samples are above {scale.validation.at(args.quantile):.6g}, the "
            f"{args.quantile:g} quantile of {scale.num[1]} validation samples (score by {args.by}); percentiles are "
            f"among {scale.num[0]} training samples"
        )
        report.print_ranking()
        return 0

    def _parts(self, args: Namespace, model: TrainedModel) -> ScoredParts | None:
        """Return the scores of time steps of a file, or None where samples are scored."""
        if args.samples or args.file is None or args.split is not None or args.by != "reconstruction" or args.per:
            return None
        size = self.batch_size(args, model)
        return model.modality.score_parts(
            lambda batch: model.reconstruct(batch, batch_size=size), args.file, args.on_error or model.modality.on_error
        )


class _Report:
    """The rows of a file of scores, written by batch, and what is said of all of them."""

    def __init__(self, command: Anomalies, args: Namespace, model: TrainedModel, samples: FileSamples) -> None:
        self._command, self._args, self._model, self._samples = command, args, model, samples
        self.num_anomalies = 0
        self._highest: list[tuple[float, int]] = []
        self._scores: list[NDArray[Any]] = []
        self._known: list[NDArray[Any]] = []

    def rows(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the columns ``(B,)`` of each batch by name."""
        import numpy as np

        args, model, start = self._args, self._model, 0
        for batch, columns in self._command.batches(self._samples, model, args):
            condition: Any = self._command.condition(args, model, len(batch))
            found = model.anomalies(
                batch, by=args.by, quantile=args.quantile, condition=condition, batch_size=len(batch)
            )
            score, flags = found.score.cpu().double().numpy(), found.is_anomaly.cpu().numpy()
            identity = self._command.identity(model, batch, columns)
            if args.anomalous is not None:
                self._scores.append(score)
                self._known.append(self._is_known(batch, identity.get("label")))
            self.num_anomalies += int(flags.sum())
            ranked = [(value, start + at) for at, value in enumerate(score.tolist()) if not math.isnan(value)]
            self._highest = sorted([*self._highest, *ranked], reverse=True)[:_PICTURED]
            start += len(batch)
            yield {
                **identity,
                "score": score,
                "percentile": found.percentile.numpy().round(3),
                "anomaly": flags.astype(np.int64),
                "where": np.array(found.where, dtype=object),
            }

    def _is_known(self, batch: Batch, label: NDArray[Any] | None) -> NDArray[Any]:
        """Return which samples have a label of ``--anomalous``, -1 for a sample without label."""
        import numpy as np

        model, names = self._model, self._args.anomalous.split(",")
        if label is None:
            raise AeframeError(
                f"--anomalous names labels, found samples without labels; leave it out, or score a file with the "
                f"labels that model '{model.name}' was trained with"
            )
        texts = label.astype(str)
        known = model.label_names
        for name in names:
            if known is not None and name not in known:
                raise AeframeError(
                    f"--anomalous: model '{model.name}' has the labels {', '.join(known)}, found "
                    f"'{name}'{did_you_mean(name, known)}; choose among them"
                )
        missing = batch.extras["label"].cpu().numpy() < 0
        return np.where(missing, -1, np.isin(texts, names).astype(np.int64))

    def draw(self) -> None:
        """Draw the samples with the highest scores to the file of ``--picture``."""
        import warnings

        import torch

        from aeframe.model_store.inputs import FarFromTrainingWarning

        path, model = self._args.picture, self._model
        if path is None:
            return
        batch = self._samples.source.batch(torch.tensor([row for _, row in self._highest]))
        condition: Any = self._command.condition(self._args, model, len(batch))
        with warnings.catch_warnings():
            # It was printed when the sample was scored.
            warnings.simplefilter("ignore", FarFromTrainingWarning)
            x_hat = model.reconstruct(batch, condition=condition).cpu()
            errors = model.element_errors(batch, condition=condition)
        model.modality.render_errors(batch.nan_masked_x(), x_hat, errors).savefig(path)
        print(path)

    def print_ranking(self) -> None:
        """Print how well the scores rank the samples with a label of ``--anomalous``."""
        import numpy as np
        import torch

        from aeframe.evaluation.anomalies import auroc_and_average_precision

        if not self._known:
            return
        scores, known = np.concatenate(self._scores), np.concatenate(self._known)
        is_used = (known >= 0) & np.isfinite(scores)
        target, num = torch.from_numpy(known[is_used]), int((known[is_used] == 1).sum())
        if num in (0, len(target)):
            print(f"AUROC is not defined: {num} of {len(target)} samples with a label are anomalies")
            return
        auroc, precision = auroc_and_average_precision(torch.from_numpy(scores[is_used]), target == 1)
        print(f"AUROC {auroc:.4f}, average precision {precision:.4f} ({num} of {len(target)} samples are anomalies)")


def _write_parts(args: Namespace, parts: ScoredParts) -> int:
    """Write and print the scores of the parts of samples."""
    import numpy as np

    print_read(parts.notes, parts.skipped)
    if args.anomalous is not None:
        raise AeframeError(f"--anomalous names labels of samples, found {parts.name}; score samples with --samples")
    threshold = parts.reference.at(args.quantile)
    # A part without a score, which is NaN, is no anomaly.
    flags = parts.scores > threshold
    table = {
        **parts.identity,
        "score": parts.scores,
        "percentile": parts.reference.percentile(parts.scores).round(3),
        "anomaly": flags.astype(np.int64),
        **parts.details,
    }
    write_rows(args.output, [table])
    print(args.output)
    if args.picture is not None and parts.draw is not None:
        parts.draw(threshold).savefig(args.picture)
        print(args.picture)
    num_unscored = int(np.isnan(parts.scores).sum())
    print(
        f"{int(flags.sum())} of {len(flags)} {parts.name} are above {threshold:.6g}, the {args.quantile:g} quantile of "
        f"the validation split" + (f"; {num_unscored} without a score" if num_unscored else "")
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
