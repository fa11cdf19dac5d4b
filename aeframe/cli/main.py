"""The command ``aeframe``: choose a verb by name and run it. Lists verbs without importing them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from aeframe.errors import AeframeError
from aeframe.interruption import Interrupted
from aeframe.plugin_files import plugin_files, warn_of_untrusted_file
from aeframe.registry import Entry, registry
from aeframe.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``aeframe VERB ...`` and return the exit code: 2, and one line, for what the user can mend."""
    try:
        with plugin_files(sys.argv[1:] if argv is None else argv) as rest:
            code = _run(rest)
        sys.stdout.flush()
        return code
    except AeframeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as ended:
        print(ended, file=sys.stderr)
        return ended.exit_code
    except BrokenPipeError:
        # Whoever read our lines has seen enough (head, less); Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str]) -> int:
    parser = _top()
    # Only what stands before the verb is ours; the rest is the verb's own.
    at = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    if argv[at : at + 2] not in (["plugins", "trust"], ["plugins", "untrust"]):
        warn_of_untrusted_file()
    parser.parse_args(argv[:at])
    if at == len(argv):
        parser.print_help()
        return 0
    # Registered names are in snake_case; a verb of two words is typed as one types them.
    entry = registry().entry("command", argv[at].replace("-", "_"))
    command = entry.load()()
    verb = argparse.ArgumentParser(prog=f"aeframe {_typed(entry)}", description=command.__doc__ or entry.summary)
    command.arguments(verb)
    code: int = command.run(verb.parse_args(argv[at + 1 :]))
    return code


def _top() -> argparse.ArgumentParser:
    entries = sorted(registry().entries("command"), key=lambda entry: entry.name)
    parser = argparse.ArgumentParser(
        prog="aeframe",
        usage="aeframe [--plugin FILE] VERB ...",
        description="Work with trained autoencoders and with plugins.",
        epilog=f"verbs:\n{_listing(entries)}\n\n'aeframe VERB --help' tells more. Training is a command of its own: "
        "aeframe-train --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aeframe {__version__}")
    parser.add_argument("--plugin", metavar="FILE", help="load a Python file as a plugin; may be given several times")
    return parser


def _listing(entries: Sequence[Entry]) -> str:
    width = max((len(entry.name) for entry in entries), default=0)
    return "\n".join(f"  {_typed(entry):<{width}}  {entry.summary}" for entry in entries)


def _typed(entry: Entry) -> str:
    return entry.name.replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
