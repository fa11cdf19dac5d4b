"""The command ``aeframe-train``: Hydra's command line, with aeframe's help, errors and checks of sweeps."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError, ReportedError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.hydra_internals import Hydra, get_args_parser, global_state, sweep
from aeframe.experiment.composition.loader import CONFIG, Loader
from aeframe.experiment.help import help_text
from aeframe.experiment.jobs import UserError, check_sweep, job
from aeframe.experiment.packed_points import train_together
from aeframe.experiment.pinned import pinned_run
from aeframe.experiment.sweep import resumed_overrides, summarized_sweep
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.plugin_files import plugin_files, warn_of_untrusted_file
from aeframe.runs.run_id import exported_run_id
from aeframe.short_warnings import short_warnings
from aeframe.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``aeframe-train ...`` and return the exit code.

    The exit code is 2 after an error that the user can correct, with one line on stderr, and 128 + n after signal n.
    Process-wide state of Hydra, of `warnings` and of the environment is restored at the end.

    Args:
        argv: The arguments, by default `sys.argv`. For runs on one device only: on several devices the other processes
            are started with `sys.argv`.
    """
    try:
        arguments = sys.argv[1:] if argv is None else argv
        with SignalGuard(), short_warnings(), global_state(CONFIG), user_errors(), plugin_files(arguments) as rest:
            return _run(rest)
    except AeframeError as error:
        if not isinstance(error, ReportedError):
            print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(interruption, file=sys.stderr)
        return interruption.exit_code


def _run(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"aeframe {__version__}")
        return 0
    with pinned_run(argv) as (pinned, rest):
        return _parsed_run(rest, pinned)


def _parsed_run(argv: Sequence[str], pinned: dict[str, Any] | None) -> int:
    """Run the command without ``--config``, whose file has the config `pinned`."""
    args = get_args_parser().parse_args(argv)
    if not args.shell_completion:
        warn_of_untrusted_file()
    _check_flags(args)
    config_dir = None if args.config_dir is None else Path(args.config_dir)
    if args.help:
        print(help_text(config_dir))
        return 0
    loader = Loader(config_dir, names_only=args.shell_completion, pinned=pinned)
    if args.cfg == "job" and args.package is None:
        config = compose(args.overrides, config_dir=config_dir, pinned=pinned)
        print(yaml.safe_dump(config, sort_keys=False), end="")
        return 0
    # The calling program may be a Hydra application; `global_state` restores it.
    GlobalHydra.instance().clear()
    hydra = Hydra(task_name=CONFIG, config_loader=loader)
    GlobalHydra.instance().initialize(hydra)
    with exported_run_id():
        return _dispatch(hydra, loader, args)


def _dispatch(hydra: Hydra, loader: Loader, args: argparse.Namespace) -> int:
    if args.shell_completion:
        hydra.shell_completion(CONFIG, args.overrides)
    elif args.cfg is not None:
        hydra.show_cfg(CONFIG, args.overrides, args.cfg, args.package, args.resolve)
    elif args.info is not None:
        hydra.show_info(args.info, CONFIG, args.overrides)
    elif args.hydra_help:
        hydra.hydra_help(CONFIG, get_args_parser(), args)
    elif args.multirun or hydra.get_mode(CONFIG, args.overrides) == RunMode.MULTIRUN:
        config, planned = check_sweep(loader, [*resumed_overrides(args.overrides), "hydra.mode=MULTIRUN"])
        with summarized_sweep(planned):
            # No points: all are finished.
            return (
                0 if planned.pending == [] else _exit_code(sweep(hydra, config, planned.pending, job, train_together))
            )
    else:
        return _exit_code(hydra.run(CONFIG, job, args.overrides, with_log_configuration=False))
    return 0


def _exit_code(returned: Any) -> int:
    """Return 2 if any job returned a `UserError`, else 0; sweepers return lists of jobs, or None."""
    if isinstance(returned, (list, tuple)):
        return max((_exit_code(job_return) for job_return in returned), default=0)
    return 2 if isinstance(getattr(returned, "return_value", None), UserError) else 0


def _check_flags(args: argparse.Namespace) -> None:
    """Raise an error for flags of Hydra that do not work here."""
    if args.config_path is not None or args.config_name is not None:
        raise AeframeError(
            "--config-path and --config-name have no effect, since options have several sources; "
            "use --config-dir for your folder, and choose in it with experiment=NAME"
        )
    if args.experimental_rerun is not None:
        raise AeframeError("--experimental-rerun opens a pickle, which nothing here does; use resume=RUN_FOLDER")


if __name__ == "__main__":
    sys.exit(main())
