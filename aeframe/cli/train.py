"""The console script ``aeframe-train``: signals are handled from its first line on, imports come after."""

from __future__ import annotations

import sys

from aeframe.interruption import Interrupted, SignalGuard


def main() -> int:
    """Run ``aeframe-train`` and return its exit code, 128 + n after signal n."""
    with SignalGuard():
        try:
            from aeframe.experiment.main import main as run

            return run()
        except Interrupted as ended:
            print(f"{ended} before training began; nothing was written", file=sys.stderr)
            return ended.exit_code


if __name__ == "__main__":
    sys.exit(main())
