"""A plugin whose module imports torch and misspells a hook."""

import torch

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("cauchy", "right_loss:Cauchy", summary="outliers have small gradients")


def register_loses(register):
    register(f"of_torch_{torch.__version__}", "right_loss:Cauchy")
