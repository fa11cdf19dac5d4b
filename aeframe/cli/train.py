"""The console script ``aeframe-train``. It installs signal handlers before the slow imports."""

from __future__ import annotations

import sys

from aeframe.interruption import Interrupted, SignalGuard


def main() -> int:
    """Run ``aeframe-train`` and return its exit code: 128 + n after signal n."""
    with SignalGuard():
        try:
            # This import takes seconds, in which a signal may arrive.
            from aeframe.experiment.main import main as run

            return run()
        except Interrupted as interruption:
            print(f"{interruption} before training began; nothing was written", file=sys.stderr)
            return interruption.exit_code


if __name__ == "__main__":
    sys.exit(main())
