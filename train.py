"""Train an autoencoder: the command ``aeframe-train``, from a checkout. See ``python train.py --help``."""

import sys

from aeframe.experiment.main import main

if __name__ == "__main__":
    sys.exit(main())
