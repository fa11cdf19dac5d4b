"""``aeframe evaluate RUN`` computes metrics of a saved model on a split of its data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aeframe.cli.model_command import ModelCommand, add_data, check_output

if TYPE_CHECKING:
    from aeframe.model_store.trained_model import TrainedModel
    from aeframe.types import Batch


class Evaluate(ModelCommand):
    """Compute the metrics of a saved model on a split of the data of its run, and print a table."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="(default: test)")
        add_data(parser)
        parser.add_argument("--seed", type=int, help="seed for sampling z (default: the seed of the run)")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="also write the metrics to a new file")

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        model = self.open(args)
        metrics, num_samples = self.measure(model, args)
        from aeframe.evaluation.evaluator import metrics_of
        from aeframe.evaluation.units import units_of

        units = units_of(model.model, metrics_of(model.modality.metrics, model.config.get("metrics")))
        _print(f"{model.name}, {args.split} split", metrics, units)
        print(f"{num_samples} samples")
        if args.output is not None:
            from aeframe.runs.folder import numbers_as_json

            args.output.write_text(numbers_as_json({args.split: metrics}), encoding="utf-8")
            print(args.output)
        return 0

    def measure(self, model: TrainedModel, args: Namespace) -> tuple[dict[str, float], int]:
        """Return the metrics of the split by name, and the number of its samples. Data are prepared as in the run."""
        from aeframe.data.loader import Loader
        from aeframe.data.plan import BatchPlan
        from aeframe.evaluation.evaluator import Evaluator, measure, metrics_of

        config = model.config
        splits = self.splits(model, args)
        metrics = metrics_of(model.modality.metrics, config.get("metrics"))
        seed = config.get("seed", 0) if args.seed is None else args.seed
        evaluator = Evaluator(model.model, metrics, seed=seed)
        source = getattr(splits, args.split)
        # The batches of the run itself, so that the metrics equal those of the run.
        plan = BatchPlan(len(source), self.batch_size(args, model), seed=seed, shuffle=False)
        batches = cast("Iterable[Batch]", Loader(source, plan))
        return measure(evaluator, batches, model.progress, model.device), len(source)


def _print(title: str, metrics: dict[str, float], units: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", title=title)
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}", units.get(name, ""))
    Console().print(table)
