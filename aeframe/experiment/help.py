"""The help of ``aeframe-train``, made without importing torch.

Names come from the registry and from the config folders, settings and their documentation from the schema.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path

from aeframe.experiment import schema
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.trainer_arguments import readable
from aeframe.kinds import GROUPS, LOGGER

_FIRST_GROUPS = ("model", "data", "modality", "experiment")
"""The groups at the top of the list."""
_TEXT = """\
usage: aeframe-train [--plugin FILE] [-m] [GROUP=NAME | GROUP.OPTION=VALUE | SETTING=VALUE ...]

Train an autoencoder that is assembled from named parts, and write its run folder: checkpoints, a saved model,
metrics and pictures.

examples:
  aeframe-train                                          an autoencoder on 569 rows of numbers, in seconds
  aeframe-train model=vae data=digits                    another model, other data (needs aeframe-image)
  aeframe-train model=vae latent.dim=8 encoder=mlp 'encoder.hidden=[256,128]' activation=gelu
  aeframe-train model=beta_vae 'objective.beta={name: linear, end: 4, over: 0.5}'
  aeframe-train model=ae penalties.contractive.weight=1e-3
  aeframe-train -m model=ae,vae,vqvae seed=0,1,2         nine runs, one after the other
  aeframe-train -m ... folder=mine resume=auto           begin a sweep, or train what it lacks
  aeframe-train resume=runs/... max_epochs=100           resume a run, for more epochs
"""
_ANY_ARGUMENT = (
    "any other argument of lightning.pytorch.Trainer, such as limit_train_batches, deterministic or profiler; unknown "
    "ones are refused."
)
_FLAGS = """\
flags:
  --plugin FILE        load a Python file as a plugin; may be given several times
  --config FILE        repeat the run with this config.yaml; overrides change it
  -m, --multirun       run every combination of the comma-separated values
  -c, --cfg job        print the config this command would run, with every option of the chosen parts
  -cd, --config-dir D  the folder of your own options, instead of ./configs
  -sc install=bash     tab completion for this shell (bash, zsh or fish): eval "$(aeframe-train -sc install=bash)"
  --version            print the version
"""


def help_text(config_dir: Path | None = None) -> str:
    """Return the help text, with the options in `config_dir`, by default ``./configs``."""
    return "\n".join([_TEXT, "groups:", *_groups(config_dir), "", "settings:", *_settings(), "", _FLAGS])


def _groups(config_dir: Path | None) -> Iterator[str]:
    loader = Loader(config_dir, names_only=True)
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    order = [*_FIRST_GROUPS, *GROUPS, LOGGER]
    for group in sorted(groups, key=lambda name: (order.index(name) if name in order else len(order), name)):
        if options := loader.get_group_options(group):
            yield from _wrapped(f"  {group:<11} ", ", ".join(options))


def _settings() -> Iterator[str]:
    for settings, prefix in ((schema.RunSettings, ""), (schema.TrainerSettings, "trainer.")):
        docs, types = _attribute_docs(settings), typing.get_type_hints(settings)
        for field in dataclasses.fields(settings):
            if not dataclasses.is_dataclass(field.default_factory):
                factory = field.default_factory
                default = field.default if factory is dataclasses.MISSING else factory()
                as_yaml = (
                    "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
                )
                doc = docs.get(field.name, "").replace("``", "")
                text = f"{readable(types[field.name])}, default {as_yaml}. {doc}"
                yield from _wrapped(f"  {prefix + field.name:<20} ", text)
    yield from _wrapped(f"  {'trainer.ARGUMENT':<20} ", _ANY_ARGUMENT)


def _attribute_docs(settings: type) -> dict[str, str]:
    """Return the docstrings of a dataclass's fields, read from its source: Python does not store them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, doc in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(doc, ast.Expr):
            docs[field.target.id] = " ".join(str(ast.literal_eval(doc.value)).split())
    return docs


def _wrapped(head: str, text: str) -> list[str]:
    """Return `text` in lines of the terminal's width, indented below `head`."""
    width = max(60, shutil.get_terminal_size((110, 24)).columns)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head.rstrip()]
