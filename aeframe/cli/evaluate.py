"""``aeframe evaluate RUN`` computes metrics of a saved model on a split of its data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aeframe.cli.model_command import SPLITS, ModelCommand, add_data, check_output
from aeframe.errors import AeframeError, printable

if TYPE_CHECKING:
    from aeframe.data.modality import Source
    from aeframe.model_store.trained_model import TrainedModel
    from aeframe.types import Batch


class Evaluate(ModelCommand):
    """Compute the metrics of a saved model on a split of the data of its run, and print a table."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("--split", choices=SPLITS, default="test", help="(default: test)")
        add_data(parser)
        parser.add_argument("--metrics", metavar="A,B", help="metrics to compute besides those of the run: nll, ...")
        parser.add_argument(
            "options",
            nargs="*",
            metavar="metrics.NAME.OPTION=VALUE",
            help="options of metrics: metrics.nll.samples=5000",
        )
        parser.add_argument("--seed", type=int, help="seed for sampling z (default: the seed of the run)")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="also write the metrics to a new file")
        parser.add_argument(
            "--log", action="store_true", help="also log the metrics to the trackers of the run, as evaluate/SPLIT/NAME"
        )

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        model = self.open(args)
        splits = self.splits(model, args)
        source = getattr(splits, args.split)
        metrics, protocols = self.measure(model, splits.train, source, args)
        from aeframe.evaluation.units import units_of
        from aeframe.registry import registry

        units = units_of(model.model.loss.unit, {name: {} for name in metrics if registry().has("metric", name)})
        _print(f"{model.name}, {args.split} split", metrics, units)
        print(f"{len(source)} samples")
        if splits.factor_names:
            print(printable(f"factors: {', '.join(splits.factor_names)}"))
        for name, protocol in protocols.items():
            print(f"{name}: {protocol}")
        if args.output is not None:
            from aeframe.runs.folder import numbers_as_json

            args.output.write_text(numbers_as_json({args.split: metrics, "protocol": protocols}), encoding="utf-8")
            print(args.output)
        if args.log:
            from aeframe.cli.trackers import trackers_of

            with trackers_of(args.model) as loggers:
                named = {f"evaluate/{args.split}/{name}": value for name, value in metrics.items()}
                for logger in loggers:
                    logger.log_metrics(named, step=model.progress.batch)
        return 0

    def measure(
        self, model: TrainedModel, train: Source, source: Source, args: Namespace
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Return the metrics of the samples of `source` by name, and the protocol of those that state one."""
        from aeframe.data.loader import Loader
        from aeframe.data.plan import BatchPlan
        from aeframe.evaluation.baselines import baseline_metrics, pca_error
        from aeframe.evaluation.evaluator import Evaluator, measure, metrics_of

        config = model.config
        overrides = {**(config.get("metrics") or {}), **chosen_metrics(args.metrics, args.options)}
        metrics = metrics_of(model.modality.metrics, overrides)
        seed = config.get("seed", 0) if args.seed is None else args.seed
        evaluator = Evaluator(model.model, metrics, seed=seed)
        for name in (args.metrics or "").split(","):
            if name and name not in evaluator.metrics:
                raise AeframeError(f"metric '{name}' is not defined for model '{model.name}'; leave it out")
        # The batches of the run itself, so that the metrics equal those of the run.
        plan = BatchPlan(len(source), self.batch_size(args, model), seed=seed, shuffle=False)
        batches = cast("Iterable[Batch]", Loader(source, plan))
        measured = measure(evaluator, batches, model.progress, model.device)
        error = pca_error(model.model, train, source, seed=config.get("seed", 0))
        protocols = evaluator.protocols()
        if error is not None:
            protocols["mse_of_pca"] = error.describe()
        return measured | baseline_metrics(error), protocols


def chosen_metrics(names: str | None, options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options by metric that ``--metrics A,B`` and ``metrics.NAME.OPTION=VALUE`` choose.

    Raises:
        AeframeError: An unknown metric, or an option that is written otherwise.
    """
    import yaml

    from aeframe.registry import registry

    chosen: dict[str, dict[str, Any]] = {name: {} for name in (names or "").split(",") if name}
    for text in options:
        key, equals, value = text.partition("=")
        parts = key.split(".")
        if not equals or len(parts) != 3 or parts[0] != "metrics":
            raise AeframeError(f"expected metrics.NAME.OPTION=VALUE, found '{text}'; correct it")
        chosen.setdefault(parts[1], {})[parts[2]] = yaml.safe_load(value)
    for name in chosen:
        registry().entry("metric", name)
    return chosen


def _print(title: str, metrics: dict[str, float], units: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", title=title)
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}", units.get(name, ""))
    Console().print(table)
