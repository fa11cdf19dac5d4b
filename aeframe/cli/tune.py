"""``aeframe tune SPACE OVERRIDE ...`` searches the settings of a run with Optuna."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command


class Tune(Command):
    """Search settings of a run with Optuna, by the monitored metric of the validation split.

    SPACE is a YAML file with a line for each setting: latent.dim: {low: 2, high: 64, log: true}, or a list of choices,
    model: [vae, beta_vae]. The same command continues its study, also from several shells at the same time. At the end
    a table of the trials is printed, and the best point is written to configs/experiment/STUDY.yaml.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("space", metavar="SPACE", type=Path, help="YAML file with the settings to search")
        parser.add_argument(
            "overrides",
            metavar="OVERRIDE",
            nargs="*",
            help="settings of all trials: model=vae max_epochs=20",
        )
        parser.add_argument("--trials", metavar="N", type=int, default=20, help="trials of the study (default: 20)")
        parser.add_argument(
            "--study", metavar="FILE", type=Path, help="SQLite file of the study (default: ROOT/studies/SPACE.db)"
        )
        parser.add_argument("--timeout", metavar="HOURS", type=float, help="begin no further trial after this time")
        parser.add_argument(
            "--prune", action="store_true", help="end trials whose validation curve is worse than the median of others"
        )
        parser.add_argument("--config-dir", metavar="DIR", type=Path, help="folder of configs (default: ./configs)")

    def run(self, args: Namespace) -> int:
        from aeframe.interruption import SignalGuard

        with SignalGuard():
            from aeframe.experiment.tuning.experiment_file import experiment_file
            from aeframe.experiment.tuning.search import tune

            # Raises an error for a file of the user before anything is trained.
            experiment_file((args.study or args.space).stem, args.config_dir)
            result = tune(
                args.space,
                trials=args.trials,
                study=args.study,
                timeout=args.timeout,
                prune=args.prune,
                overrides=args.overrides,
                config_dir=args.config_dir,
            )
            path = result.write_experiment()
        if result.importance:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in result.importance.items())
            print(f"share in the variance of {result.metric}: {shares}")
        print(f"study: {result.study}")
        print(f"{path}: repeat the best trial by aeframe-train experiment={path.stem}")
        return 0
