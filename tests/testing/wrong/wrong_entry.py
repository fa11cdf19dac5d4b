"""A plugin that is wrong as a whole."""

import torch

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("cauchy", "right_loss:Cauchy", summary="outliers hardly pull")


def register_loses(register):
    register(f"of_torch_{torch.__version__}", "right_loss:Cauchy")
