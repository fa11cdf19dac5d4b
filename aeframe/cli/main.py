"""The command ``aeframe``, which runs a verb or lists all verbs. A verb is imported only when it is run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.interruption import Interrupted
from aeframe.plugin_files import plugin_files, warn_of_untrusted_file
from aeframe.registry import Entry, registry
from aeframe.short_warnings import short_warnings
from aeframe.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``aeframe VERB ...`` and return the exit code: 2 after an error that the user can correct.

    Such an error is printed in one line.
    """
    try:
        with user_errors(), plugin_files(sys.argv[1:] if argv is None else argv) as rest, short_warnings():
            code = _run(rest)
            sys.stdout.flush()
        return code
    except AeframeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return interruption.exit_code
    except BrokenPipeError:
        # The reader of a pipe, such as head, has ended. Python would report that again when it closes stdout.
        # The exit code is 128 + 13, as after the signal SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str]) -> int:
    parser = _parser()
    # This parser reads the arguments before the verb; the verb has its own parser.
    verb_at = next((index for index, argument in enumerate(argv) if not argument.startswith("-")), len(argv))
    if argv[verb_at : verb_at + 2] not in (["plugins", "trust"], ["plugins", "untrust"]):
        warn_of_untrusted_file()
    parser.parse_args(argv[:verb_at])
    if verb_at == len(argv):
        parser.print_help()
        return 0
    # Registered names are in snake_case; on the command line, verbs have dashes.
    entry = registry().entry("command", argv[verb_at].replace("-", "_"))
    command = entry.load()()
    verb_parser = argparse.ArgumentParser(prog=f"aeframe {_verb(entry)}", description=command.__doc__ or entry.summary)
    command.arguments(verb_parser)
    code: int = command.run(_parsed(verb_parser, argv[verb_at + 1 :]))
    return code


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a verb: RUN, FILE and overrides may stand before, between and after options."""
    try:
        return parser.parse_intermixed_args(words)
    except TypeError:
        # A verb with verbs of its own, which argparse cannot parse so.
        return parser.parse_args(words)


def _parser() -> argparse.ArgumentParser:
    entries = sorted(registry().entries("command"), key=lambda entry: entry.name)
    parser = argparse.ArgumentParser(
        prog="aeframe",
        usage="aeframe [--plugin FILE] VERB ...",
        description="Use trained autoencoders, and inspect configs and plugins.",
        epilog=f"verbs:\n{_listing(entries)}\n\n'aeframe VERB --help' describes a verb. "
        "To train a model, use the command aeframe-train.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aeframe {__version__}")
    parser.add_argument("--plugin", metavar="FILE", help="load a Python file as a plugin; may be repeated")
    return parser


def _listing(entries: Sequence[Entry]) -> str:
    width = max((len(entry.name) for entry in entries), default=0)
    return "\n".join(f"  {_verb(entry):<{width}}  {entry.summary}" for entry in entries)


def _verb(entry: Entry) -> str:
    """Return the verb of a registered command, as it is written on the command line."""
    return entry.name.replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
