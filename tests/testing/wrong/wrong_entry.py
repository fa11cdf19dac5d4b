"""A plugin that is wrong as a whole."""

import torch

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("log_cosh", "right_loss:LogCosh", summary="smooth absolute error")


def register_loses(register):
    register(f"of_torch_{torch.__version__}", "right_loss:LogCosh")
