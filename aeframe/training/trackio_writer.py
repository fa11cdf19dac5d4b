"""The program that writes a run to trackio: it reads lines of JSON from its standard input, until that is closed.

It runs in a process of its own, since trackio reads its folder from the environment once for each process, and a
process may have several runs. It imports nothing of aeframe.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trackio


def main() -> None:
    """Begin or continue the run that the first line names, and log what the further lines have."""
    first = json.loads(sys.stdin.readline())
    # Neither a dashboard in a notebook nor statistics of the machine: the run logs what it is asked to.
    trackio.init(**first, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    for line in sys.stdin:
        message: dict[str, Any] = json.loads(line)
        values = dict(message.get("metrics", {}))
        values |= {name: trackio.Image(path) for name, path in message.get("pictures", {}).items()}
        values |= {name: trackio.Html(text) for name, text in message.get("pages", {}).items()}
        trackio.log(values, step=message["step"])
    trackio.finish()


if __name__ == "__main__":
    main()
