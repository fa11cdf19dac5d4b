"""``python -m aeframe`` is the command ``aeframe``, where the scripts of the environment are not on the path."""

import sys

from aeframe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
