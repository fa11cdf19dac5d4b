"""A plugin that registers one part, a faulty one."""

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("averaging_again", "wrong_losses:Averaging", summary="a mean over the batch")
