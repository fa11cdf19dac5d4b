"""``aeframe evaluate RUN`` computes metrics of a saved model on a split of its data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aeframe.cli.model_command import SPLITS, ModelCommand, add_data, add_draw, check_output, positive
from aeframe.errors import AeframeError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.data.modality import Source
    from aeframe.data.sample_comparison import SampleComparison
    from aeframe.evaluation.feature_spaces import FeatureSpace
    from aeframe.evaluation.metric_table import MetricTable
    from aeframe.evaluation.sample_quality import SampleQuality
    from aeframe.model_store.trained_model import TrainedModel
    from aeframe.types import Batch


_MAX_ROWS = 40
"""The most rows of the table of a metric that are printed."""


class Evaluate(ModelCommand):
    """Compute the metrics of a saved model on a split of the data of its run, and print a table.

    With --features, new samples of the model are compared with the split too: Fréchet distance, precision and recall,
    density and coverage. With --samples, they are compared by the measures of the modality.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("--split", choices=SPLITS, default="test", help="(default: test)")
        add_data(parser)
        parser.add_argument("--metrics", metavar="A,B", help="metrics to compute besides those of the run: nll, ...")
        parser.add_argument(
            "--features", metavar="A,B", help="feature spaces in which to compare new samples with the split: pca, ..."
        )
        parser.add_argument(
            "options",
            nargs="*",
            metavar="KIND.NAME.OPTION=VALUE",
            help="options of metrics and feature spaces: metrics.nll.samples=5000, features.pca.components=8",
        )
        parser.add_argument(
            "--samples", action="store_true", help="compare new samples with the split by the measures of the modality"
        )
        parser.add_argument("--figures", metavar="FOLDER", type=Path, help="write the figures of --samples, as PNG")
        parser.add_argument(
            "-n", "--num", type=positive, help="new samples with --features (half of the split), --samples (as many)"
        )
        add_draw(parser)
        parser.add_argument("--seed", type=int, help="seed for sampling z (default: the seed of the run)")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="also write the metrics to a new file")
        parser.add_argument(
            "--log", action="store_true", help="also log the metrics to the trackers of the run, as evaluate/SPLIT/NAME"
        )

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        if args.figures is not None:
            check_output(args.figures, "--figures")
        model = self.open(args)
        if args.samples or args.figures is not None:
            from aeframe.evaluation.sample_quality import check_has_measures

            check_has_measures(model.modality)
        metric_options, space_options = _chosen(args)
        spaces = {name: _space(model, name, options) for name, options in space_options.items()}
        splits = self.splits(model, args)
        source = getattr(splits, args.split)
        from aeframe.evaluation.baselines import better_baselines
        from aeframe.evaluation.evaluator import grouped_protocols, metrics_of
        from aeframe.evaluation.units import units_of

        overrides = {**(model.config.get("metrics") or {}), **metric_options}
        computed = metrics_of(model.modality.metrics, overrides)
        metrics, protocols, tables = self.measure(model, splits.train, source, args, computed)
        compared = [self.compare_samples(model, args, name, space) for name, space in spaces.items()]
        by_modality = self.compare_by_modality(model, args) if args.samples or args.figures is not None else None
        units = units_of(model.model.loss.unit, computed)
        _print(f"{model.name}, {args.split} split", metrics, units)
        print(f"{len(source)} samples")
        if splits.factor_names:
            print(printable(f"factors: {', '.join(splits.factor_names)}"))
        for name, protocol in grouped_protocols(protocols).items():
            print(f"{name}: {protocol}")
        for sentence in better_baselines(metrics, computed):
            print(sentence)
        for name, table in tables.items():
            _print_table(name, table)
        for quality in compared:
            sets = {"new samples": quality.samples, "reconstructions": quality.reconstructions}
            _print_samples(quality.space, {**sets, "held-out (floor)": quality.floor}, [quality.protocol()])
        if by_modality is not None:
            _print_samples(
                "measure", {"new samples": by_modality.samples, "real": by_modality.real}, by_modality.protocol
            )
            if args.figures is not None:
                _write_figures(by_modality, args.figures)
        if args.output is not None:
            from aeframe.runs.folder import numbers_as_json

            measured: dict[str, Any] = {args.split: metrics, "protocol": protocols}
            if tables:
                measured["tables"] = {name: table.as_dict() for name, table in tables.items()}
            if compared:
                measured["samples"] = {quality.space: quality.as_dict() for quality in compared}
            if by_modality is not None:
                measured["comparison"] = by_modality.as_dict()
            args.output.write_text(numbers_as_json(measured), encoding="utf-8")
            print(args.output)
        if args.log:
            from aeframe.cli.trackers import trackers_of

            with trackers_of(args.model) as loggers:
                named = {f"evaluate/{args.split}/{name}": value for name, value in metrics.items()}
                for logger in loggers:
                    logger.log_metrics(named, step=model.progress.batch)
        return 0

    def measure(
        self,
        model: TrainedModel,
        train: Source,
        source: Source,
        args: Namespace,
        metrics: Mapping[str, Mapping[str, Any] | None],
    ) -> tuple[dict[str, float], dict[str, str], dict[str, MetricTable]]:
        """Return the metrics of the samples of `source` by name, the protocol of those that state one, and tables."""
        from aeframe.data.loader import Loader
        from aeframe.data.plan import BatchPlan
        from aeframe.evaluation.baselines import baseline_metrics, pca_error
        from aeframe.evaluation.evaluator import Evaluator, measure
        from aeframe.model.density import code_metrics
        from aeframe.training.malloc_tuning import kept_memory

        seed = _seed(model, args)
        evaluator = Evaluator(model.model, metrics, seed=seed, modality=model.modality)
        for name in (args.metrics or "").split(","):
            if name and name not in evaluator.metrics:
                raise AeframeError(f"metric '{name}' is not defined for model '{model.name}'; leave it out")
        # The batches of the run itself, so that the metrics equal those of the run.
        plan = BatchPlan(len(source), self.batch_size(args, model), seed=seed, shuffle=False)
        batches = cast("Iterable[Batch]", Loader(source, plan))
        with kept_memory(enabled=True):
            evaluator.observe_training_samples(train, model.device)
            measured = measure(evaluator, batches, model.progress, model.device)
        reconstruction = measured.get("reconstruction") if model.model.loss.unit == "nats" else None
        measured |= code_metrics(model.sampler, model.model, batches, reconstruction)
        error = pca_error(model.model, train, source, seed=model.config.get("seed", 0))
        protocols = evaluator.protocols()
        if error is not None:
            protocols["mse_of_pca"] = error.describe()
        return measured | baseline_metrics(error), protocols, evaluator.tables()

    def compare_samples(self, model: TrainedModel, args: Namespace, name: str, space: FeatureSpace) -> SampleQuality:
        """Compare new samples of the model with those of the split in the feature space `name`."""
        from aeframe.evaluation.sample_quality import sample_quality

        splits, size = self.splits(model, args), self.batch_size(args, model)
        seed = _seed(model, args)
        return sample_quality(
            name,
            space,
            model.spec,
            sample=self.sampler(model, args, seed),
            reconstruct=lambda batch: model.reconstruct(batch, batch_size=size).cpu(),
            train=splits.train,
            held_out=getattr(splits, args.split),
            num=args.num,
            seed=seed,
        )

    def compare_by_modality(self, model: TrainedModel, args: Namespace) -> SampleComparison:
        """Compare new samples of the model with those of the split by the measures of the modality."""
        from aeframe.evaluation.sample_quality import compare_by_modality

        splits, size = self.splits(model, args), self.batch_size(args, model)
        seed = _seed(model, args)
        return compare_by_modality(
            model.modality,
            self.sampler(model, args, seed),
            lambda batch: model.reconstruct(batch, batch_size=size).cpu(),
            splits.train,
            getattr(splits, args.split),
            num=args.num,
            seed=seed,
        )

    def sampler(self, model: TrainedModel, args: Namespace, seed: int) -> Callable[[int, Tensor | None], Tensor]:
        """Return the function that returns new samples from their number and conditions."""
        size = self.batch_size(args, model)
        return lambda num, condition: model.sample(
            num, seed=seed, condition=condition, batch_size=size, draw=args.draw
        ).cpu()


def _seed(model: TrainedModel, args: Namespace) -> int:
    """Return the seed of ``--seed``, or that of the run."""
    return int(model.config.get("seed", 0)) if args.seed is None else int(args.seed)


def _chosen(args: Namespace) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the options by name of the chosen metrics, and of the chosen feature spaces.

    Raises:
        AeframeError: An unknown name, or an option that is written otherwise.
    """
    import yaml

    from aeframe.registry import registry

    kinds = {"metrics": ("metric", args.metrics), "features": ("feature_space", args.features)}
    chosen: dict[str, dict[str, dict[str, Any]]] = {
        key: {name: {} for name in (names or "").split(",") if name} for key, (_, names) in kinds.items()
    }
    for text in args.options:
        key, equals, value = text.partition("=")
        parts = key.split(".")
        if not equals or len(parts) != 3 or parts[0] not in kinds:
            raise AeframeError(f"expected metrics.NAME.OPTION=VALUE or features.NAME.OPTION=VALUE, found '{text}'")
        chosen[parts[0]].setdefault(parts[1], {})[parts[2]] = yaml.safe_load(value)
    for key, (kind, _) in kinds.items():
        for name in chosen[key]:
            registry().entry(kind, name)
    return chosen["metrics"], chosen["features"]


def _space(model: TrainedModel, name: str, options: Mapping[str, Any]) -> FeatureSpace:
    from aeframe.factory import build

    space: FeatureSpace = build("feature_space", {"name": name, **options}, modality=model.modality, spec=model.spec)
    return space


def _print_samples(name: str, sets: Mapping[str, Mapping[str, float]], protocol: Iterable[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(name, title="samples")
    for title in sets:
        table.add_column(title, justify="right")
    for measure in next(iter(sets.values())):
        table.add_row(escape(printable(measure)), *(f"{values[measure]:.4g}" for values in sets.values()))
    console = Console()
    console.print(table)
    for sentence in protocol:
        console.print(escape(printable(sentence)), soft_wrap=True)


def _print_table(name: str, table: MetricTable) -> None:
    """Print the table of a metric; of a long one its summary."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if len(table) <= _MAX_ROWS:
        shown = Table(*map(escape, table.columns), title=name)
        for row in table.rows():
            cells = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row)
            shown.add_row(*(escape(printable(cell)) for cell in cells))
        if not console.is_terminal:
            # A file or pipe has no width: rows are as long as they have to be.
            console.width = max(
                console.width, console.measure(shown, options=console.options.update(width=1_000)).maximum
            )
        console.print(shown)
    more = "" if len(table) <= _MAX_ROWS else f"; --output has all {len(table)} rows"
    console.print(f"{name}: {escape(printable(table.summary))}{more}", soft_wrap=True, highlight=False)


def _write_figures(comparison: SampleComparison, folder: Path) -> None:
    from aeframe.data.new_output import write_new

    def write(path: Path) -> list[Path]:
        path.mkdir()
        figures = {} if comparison.draw is None else comparison.draw()
        for name, figure in figures.items():
            figure.savefig(path / f"{name}.png")
        return [path / f"{name}.png" for name in figures]

    for file in write_new(folder, write):
        print(file)


def _print(title: str, metrics: dict[str, float], units: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", title=title)
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}", units.get(name, ""))
    Console().print(table)
