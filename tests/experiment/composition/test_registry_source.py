import subprocess
import sys

from hydra.core.object_type import ObjectType

from aeframe.experiment.composition.sources import NAMES_ONLY, RegistrySource
from aeframe.factory import defaults
from aeframe.kinds import BY_KEY, GROUPS
from aeframe.registry import registry

LISTING = """
import sys
from aeframe.experiment.composition.loader import Loader
loader = Loader(names_only=True)
for group in loader.list_groups(""):
    loader.get_group_options(group)
from hydra.core.plugins import Plugins
from hydra._internal.core_plugins.bash_completion import BashCompletion
completion = BashCompletion(loader)
print(completion._query("train", "loss=m"))
print(completion._query("train", "model=vae latent=g"))
print(completion._query("train", "max_"))
print(completion._query("train", "trainer.dev"))
print(completion._query("train", "logger=w"))
print([name for name in ("torch", "lightning", "numpy", "torchmetrics") if name in sys.modules])
"""


def source(path: str = "") -> RegistrySource:
    return RegistrySource("registry", f"registry://{path}")


def test_every_group_lists_the_names_of_its_kind() -> None:
    assert source().list("", ObjectType.GROUP) == sorted([*GROUPS, "logger"])
    for group in GROUPS:
        assert source().is_group(group)
        assert source().list(group, ObjectType.CONFIG) == registry().names(BY_KEY[group].name)
        assert source().list(group, ObjectType.GROUP) == []


def test_a_name_is_an_option_and_other_words_are_not() -> None:
    assert source().is_config("loss/mse")
    assert source().is_config("data/breast_cancer")
    assert not source().is_config("loss/nope")
    assert not source().is_config("model/vae")
    assert not source().is_group("hydra")


def test_an_option_is_the_signature_of_its_part() -> None:
    loaded = source().load_config("latent/gaussian")
    assert loaded.config == {"latent": defaults("latent", "gaussian")}


def test_a_logger_is_put_below_its_name() -> None:
    assert source().load_config("logger/wandb").config == {"logger": {"wandb": {"name": "wandb"}}}


def test_a_dataset_chooses_its_modality_and_a_modality_its_parts() -> None:
    assert source().load_config("data/breast_cancer").config["defaults"] == [{"override /modality": "vector"}]
    chosen = registry().load("modality", "vector").defaults
    loaded = source().load_config("modality/vector").config["defaults"]
    assert loaded == [{f"override /{kind}": name} for kind, name in chosen.items()]


def test_names_only_reads_no_signature() -> None:
    assert source(NAMES_ONLY).load_config("modality/vector").config == {"modality": {"name": "vector"}}


def test_completion_and_listing_import_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        str([f"loss={name}" for name in sorted(registry().names("loss")) if name.startswith("m")]),
        str([f"latent={name}" for name in sorted(registry().names("latent")) if name.startswith("g")]),
        "['max_batches=', 'max_epochs=', 'max_hours=']",
        "['trainer.devices=']",
        "['logger=wandb']",
        "[]",
    ]
