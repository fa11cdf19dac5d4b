"""The command ``aeframe-train``: Hydra's command line, with the house's help, errors and sweeps."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.compose import resolve
from aeframe.experiment.help import help_text
from aeframe.experiment.identity import make_run_id
from aeframe.experiment.job import Refusal, job
from aeframe.experiment.loader import CONFIG, Loader
from aeframe.experiment.plugin_files import take_plugin_files
from aeframe.experiment.sweep import check_sweep
from aeframe.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``aeframe-train ...`` and return the exit code: 2, and one line, for what the user can mend.

    Relaunched processes of a run on several devices repeat `sys.argv`, so `argv` is for runs on one.
    """
    warnings.formatwarning = _one_line
    try:
        return _run(take_plugin_files(sys.argv[1:] if argv is None else argv))
    except AeframeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"aeframe {__version__}")
        return 0
    args = get_args_parser().parse_args(argv)
    _refuse_foreign_flags(args)
    config_dir = None if args.config_dir is None else Path(args.config_dir)
    if args.help:
        print(help_text(config_dir))
        return 0
    loader = Loader(config_dir, names_only=args.shell_completion)
    if args.cfg == "job" and args.package is None:
        print(OmegaConf.to_yaml(resolve(loader.load_configuration(CONFIG, args.overrides, RunMode.RUN))), end="")
        return 0
    make_run_id()
    hydra = Hydra(task_name=CONFIG, config_loader=loader)
    GlobalHydra.instance().initialize(hydra)
    try:
        return _dispatch(hydra, loader, args)
    finally:
        GlobalHydra.instance().clear()


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
        check_sweep(loader, args.overrides)
        overrides = [*args.overrides, "hydra.mode=MULTIRUN"]
        return _exit_code(hydra.multirun(CONFIG, job, overrides, with_log_configuration=False))
    else:
        overrides = [*args.overrides, "hydra.mode=RUN"]
        return _exit_code(hydra.run(CONFIG, job, overrides, with_log_configuration=False))
    return 0


def _exit_code(returned: Any) -> int:
    """Return 2 where any of the jobs was refused; sweepers return jobs in lists, or nothing."""
    if isinstance(returned, (list, tuple)):
        return max((_exit_code(each) for each in returned), default=0)
    return 2 if isinstance(getattr(returned, "return_value", None), Refusal) else 0


def _refuse_foreign_flags(args: argparse.Namespace) -> None:
    if args.config_path is not None or args.config_name is not None:
        raise AeframeError(
            "--config-path and --config-name have no meaning here, since options are looked for in several places; "
            "give your folder with --config-dir, and choose in it with experiment=NAME"
        )
    if args.experimental_rerun is not None:
        raise AeframeError("--experimental-rerun opens a pickle, which nothing here does; use resume=RUN_FOLDER")


_python_format = warnings.formatwarning


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Show the house's own warnings as it shows its errors; those of libraries stay as Python shows them."""
    if category.__module__.partition(".")[0] == "aeframe":
        return f"warning: {message}\n"
    return _python_format(message, category, filename, lineno, line)


if __name__ == "__main__":
    sys.exit(main())
