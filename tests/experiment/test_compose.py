from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.factory import defaults
from aeframe.kinds import GROUPS
from aeframe.registry import registry
from aeframe.trust import trust

Option = Callable[[str, str], Path]


def names(config: dict[str, Any]) -> dict[str, str | None]:
    return {group: (config[group] or {}).get("name") for group in GROUPS}


def test_the_default_run_is_an_autoencoder_on_the_embedded_table() -> None:
    config = compose()
    assert names(config) == {
        "activation": "relu",
        "corruption": "none",
        "encoder": "mlp",
        "decoder": "mirror",
        "latent": "point",
        "prior": "normal",
        "loss": "mse",
        "objective": "deterministic",
        "sampler": "gmm",
        "optimizer": "adam",
        "modality": "vector",
        "data": "breast_cancer",
    }
    assert config["model"] == {"name": "ae"}
    assert config["seed"] == 0
    assert config["logger"] == {}
    assert config["steps_per_call"] == "auto"
    assert config["trainer"] == {
        "accelerator": "auto",
        "devices": None,
        "num_nodes": None,
        "strategy": "auto",
        "precision": "32-true",
        "compile": False,
        "allocator": True,
        "threads": None,
        "timeout": 600.0,
    }


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize("recipe", core_recipes())
def test_every_recipe_composes_to_plain_values_under_its_own_name(recipe: str) -> None:
    config = compose([f"model={recipe}"])
    assert config["model"] == {"name": recipe}
    assert plain(config)
    assert "_target_" not in str(config)


PROMISED = """
    ae linear_ae dae sparse_ae topk_sae batch_topk_sae gated_sae jumprelu_sae matryoshka_sae contractive_ae
    vae sigma_vae beta_vae capacity_vae free_bits_vae cyclical_vae beta_tc_vae factor_vae dip_vae_i dip_vae_ii
    info_vae wae_mmd swae aae wae_gan vae_gan vqgan vamp iwae miwae piwae ciwae flow_vae iaf_vae hvae rhvae
    svae poincare_vae categorical_vae joint_vae rae_l2 rae_gp rae_sn vqvae rq_vae fsq_vae lfq_vae simvq_vae vqvae2
    ladder_vae nvae vdvae two_stage_vae cvae mae ada_gvae ml_vae
"""


def test_the_list_of_core_recipes() -> None:
    assert sorted(PROMISED.split()) == core_recipes()


@pytest.mark.parametrize("recipe", core_recipes())
@pytest.mark.skipif(not registry().has("modality", "image"), reason="aeframe-image is not installed")
def test_every_recipe_composes_with_images(recipe: str) -> None:
    assert names(compose([f"model={recipe}", "data=digits"]))["modality"] == "image"


@pytest.mark.parametrize(
    ("recipe", "parts"),
    [
        ("linear_ae", {"encoder": "mlp", "activation": "identity", "loss": "mse", "decoder": "mirror"}),
        ("dae", {"corruption": "gaussian", "latent": "point", "sampler": "gmm"}),
        ("sigma_vae", {"loss": "gaussian", "latent": "gaussian", "objective": "elbo", "sampler": "prior"}),
        ("vqvae", {"latent": "vq", "objective": "deterministic", "sampler": "codes"}),
        ("fsq_vae", {"latent": "fsq", "objective": "deterministic", "sampler": "codes"}),
        ("aae", {"latent": "point", "objective": "adversarial", "sampler": "prior"}),
    ],
)
def test_a_recipe_chooses_its_parts_over_the_modality(grid: Path, recipe: str, parts: dict[str, str]) -> None:
    chosen = names(compose([f"model={recipe}", "modality=grid"]))
    assert {group: chosen[group] for group in parts} == parts


def test_a_recipe_sets_options_and_the_command_line_sets_them_over_it() -> None:
    assert compose(["model=beta_vae"])["objective"]["beta"] == 4.0
    assert compose(["model=beta_vae", "objective.beta=2"])["objective"]["beta"] == 2
    assert compose(["model=linear_ae"])["encoder"]["hidden"] == []
    schedule = {"name": "linear", "end": 4}
    assert compose(["model=vae", "objective.beta={name: linear, end: 4}"])["objective"]["beta"] == schedule


# -- precedence ------------------------------------------------------------------------------------------------------

RECIPE = "# @package _global_\ndefaults:\n  - override /loss: huber\nmodel: {name: mine}\nloss: {delta: 2.0}\n"
EXPERIMENT = """\
# @package _global_
defaults:
  - override /modality: grid
  - override /model: mine
  - override /loss: hinge
"""


@pytest.mark.parametrize(
    ("overrides", "loss"),
    [
        ([], "mse"),
        (["modality=grid"], "mae"),
        (["data=squares"], "mae"),
        (["modality=grid", "model=mine"], "huber"),
        (["experiment=mine", "model=mine", "~loss.delta"], "hinge"),
        (["experiment=mine", "model=mine", "~loss.delta", "loss=bernoulli"], "bernoulli"),
    ],
    ids=["train.yaml", "modality", "modality of the data", "recipe", "experiment", "command line"],
)
def test_a_name_is_that_of_the_source_with_the_highest_precedence(
    grid: Path, option: Option, overrides: list[str], loss: str
) -> None:
    option("model/mine", RECIPE)
    option("experiment/mine", EXPERIMENT)
    assert names(compose(overrides))["loss"] == loss


def test_a_value_is_that_of_the_source_with_the_highest_precedence(option: Option) -> None:
    option("model/mine", "# @package _global_\nmodel: {name: mine}\nseed: 1\nlatent: {dim: 3}\n")
    option("experiment/mine", "# @package _global_\nseed: 2\nlatent: {dim: 4}\n")
    found = [
        (config["seed"], config["latent"]["dim"])
        for config in (
            compose(),
            compose(["model=mine"]),
            compose(["model=mine", "experiment=mine"]),
            compose(["model=mine", "experiment=mine", "seed=3", "latent.dim=5"]),
        )
    ]
    assert found == [(0, 16), (1, 3), (2, 4), (3, 5)]


def test_an_experiment_chooses_the_recipe_and_the_recipe_its_parts(grid: Path, option: Option) -> None:
    option(
        "experiment/small", "# @package _global_\ndefaults:\n  - override /model: vae\n  - override /data: squares\n"
    )
    config = compose(["experiment=small"])
    assert names(config) | {"latent": "gaussian", "modality": "grid", "encoder": "conv"} == names(config)
    assert config["model"] == {"name": "vae"}


# -- data and modality -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "modality", "data"),
    [
        ([], "vector", "breast_cancer"),
        (["data=circles"], "grid", "circles"),
        (["modality=grid"], "grid", "squares"),
        (["modality=grid", "data=circles"], "grid", "circles"),
        (["modality=vector", "data=circles"], "vector", "circles"),
        (["experiment=grid"], "grid", "squares"),
    ],
)
def test_data_imply_their_modality_and_a_modality_its_data(
    grid: Path, option: Option, overrides: list[str], modality: str, data: str
) -> None:
    option("experiment/grid", "# @package _global_\ndefaults:\n  - override /modality: grid\n")
    chosen = names(compose(overrides))
    assert (chosen["modality"], chosen["data"]) == (modality, data)


def test_options_of_data_that_were_implied_can_be_set(grid: Path) -> None:
    assert compose(["modality=grid", "data.side=4"])["data"] == {"name": "squares", "side": 4}


# -- the user's own --------------------------------------------------------------------------------------------------


def test_the_users_folder_overrides_core_and_may_be_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "vae.yaml").write_text("# @package _global_\nmodel: {name: my_vae}\n", encoding="utf-8")
    assert compose(["model=vae"])["model"] == {"name": "vae"}
    assert compose(["model=vae"], config_dir=folder)["model"] == {"name": "my_vae"}


def test_a_part_in_yaml_gets_missing_options_from_its_signature(option: Option) -> None:
    option("latent/tiny", "name: gaussian\ndim: 2\n")
    assert compose(["latent=tiny"])["latent"] == {
        "name": "gaussian",
        "dim": 2,
        "spatial": False,
        "max_log_variance": 20.0,
    }


def test_penalties_need_no_plus_and_are_completed() -> None:
    config = compose(["penalties.l1.weight=0.5", "penalties.sharp.name=contractive"])
    assert config["penalties"] == {
        "l1": {"name": "l1", "weight": 0.5},
        "sharp": {"name": "contractive", "weight": 0.001, "probes": 0},
    }


def test_critics_are_composed_like_penalties() -> None:
    overrides = ["model=vae_gan", "critics.discriminator_x.loss=hinge", "critics.second.name=discriminator_z"]
    critics = compose(overrides)["critics"]
    assert list(critics) == ["discriminator_x", "second"]
    assert critics["discriminator_x"] == {**defaults("critic", "discriminator_x"), "loss": "hinge"}
    assert critics["second"] == defaults("critic", "discriminator_z")
    assert compose(["model=aae", "critics.discriminator_z=null"])["critics"] == {}


def test_null_removes_an_optional_part(option: Option) -> None:
    option("experiment/logged", "# @package _global_\ndefaults:\n  - override /logger: tensorboard\n")
    assert list(compose(["experiment=logged"])["logger"]) == ["tensorboard"]
    assert compose(["experiment=logged", "logger=null"])["logger"] == {}


# -- loggers ---------------------------------------------------------------------------------------------------------

WANDB = defaults("logger", "wandb")


@pytest.mark.parametrize(
    ("overrides", "logger"),
    [
        (["logger=wandb"], {"wandb": WANDB}),
        (["logger=wandb", "logger.wandb.mode=offline"], {"wandb": {**WANDB, "mode": "offline"}}),
        (["logger=[wandb,tensorboard]"], {"wandb": WANDB, "tensorboard": {"name": "tensorboard"}}),
        (["logger.mine.name=wandb"], {"mine": WANDB}),
        (["logger=wandb", "logger.wandb=null"], {}),
        (
            ["logger.csv={class: lightning.pytorch.loggers.CSVLogger, name: numbers}"],
            {"csv": {"class": "lightning.pytorch.loggers.CSVLogger", "name": "numbers"}},
        ),
    ],
)
def test_loggers_are_collected_by_label(overrides: list[str], logger: dict[str, Any]) -> None:
    assert compose(overrides)["logger"] == logger


@pytest.mark.parametrize("text", ["name: wandb\n", "# @package logger.mine\nname: wandb\n"])
def test_a_logger_in_an_option_file_of_the_user(option: Option, text: str) -> None:
    option("logger/mine", text)
    assert list(compose(["logger=mine"])["logger"].values()) == [WANDB]


def test_a_list_of_loggers_in_an_experiment(option: Option) -> None:
    option("experiment/both", "# @package _global_\ndefaults:\n  - override /logger: [wandb, tensorboard]\n")
    assert list(compose(["experiment=both"])["logger"]) == ["wandb", "tensorboard"]


# -- process-wide state ----------------------------------------------------------------------------------------------


def test_composing_restores_the_state_of_hydra_and_omegaconf() -> None:
    from hydra import version
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.utils import JobRuntime
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("now", lambda pattern: f"mine {pattern}", replace=True)
    JobRuntime.instance().set("name", "my_own_app")
    version.setbase("1.2")
    try:
        before = version.getbase()
        assert compose(["root=${now:%Y}"])["root"].isdecimal()
        assert JobRuntime.instance().get("name") == "my_own_app"
        assert version.getbase() == before
        assert OmegaConf.create({"a": "${now:x}"}).a == "mine x"
        assert not GlobalHydra.instance().is_initialized()
    finally:
        OmegaConf.clear_resolver("now")
    compose()
    assert not OmegaConf.has_resolver("now")


# -- what goes wrong -------------------------------------------------------------------------------------------------

LOSSES, LATENTS = (", ".join(registry().names(kind)) for kind in ("loss", "latent"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=mea", f"unknown loss 'mea', did you mean 'mse'?; known are {LOSSES}"),
        ("loss=nope", f"unknown loss 'nope'; known are {LOSSES}"),
        ("latnt=gaussian", "a run has no setting and no part 'latnt', did you mean 'latent'?"),
        ("zzz=1", "a run has no setting and no part 'zzz'; aeframe-train --help lists what it has"),
        (
            "latent.dmi=3",
            "latent 'point' has no option 'dmi', did you mean 'dim'?; its options are dim, spatial, "
            "activation, noise, noise_scale",
        ),
        (
            "latent=null",
            f"a run needs a latent, found none; choose one with latent=..., known are {LATENTS}",
        ),
        ("model", "'model' cannot be read as key=value; put a value with spaces, commas or brackets in quotes"),
        (
            "loss=mse,mae",
            "'loss=mse,mae' has several values; add -m to run one after the other, or put them in "
            "[brackets] for a list",
        ),
        (
            "root=${nope}",
            "the value of 'root' refers to a missing value: Interpolation key 'nope' not found",
        ),
        ("data=numbers", "dataset 'numbers' needs a value for 'path'; set data.path=..."),
        (
            "hydra/launcher=nope",
            f"unknown hydra/launcher 'nope'; known are {', '.join(Loader().get_group_options('hydra/launcher'))}",
        ),
    ],
)
def test_errors_of_composition_are_one_sentence(override: str, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        compose([override])
    assert str(error.value) == message


def test_the_error_for_an_option_of_a_replaced_part_says_how_to_remove_it() -> None:
    with pytest.raises(AeframeError) as error:
        compose(["model=beta_vae", "objective=deterministic"])
    assert str(error.value) == (
        "objective 'deterministic' has no option 'beta'; its options are counts, and where a recipe sets this one, "
        "drop it with '~objective.beta'"
    )
    assert compose(["model=beta_vae", "objective=deterministic", "~objective.beta"])["objective"] == {
        "name": "deterministic",
        "counts": "all",
    }


def test_an_unknown_name_mentions_the_plugin_that_failed(workplace: Path) -> None:
    (workplace / "aeplugin.py").write_text("import no_such_module", encoding="utf-8")
    trust(workplace)
    with pytest.raises(AeframeError) as error:
        compose(["latent=gausian"])
    assert str(error.value) == (
        f"unknown latent 'gausian', did you mean 'gaussian'?; known are {LATENTS}; plugin 'aeplugin' "
        f"({workplace / 'aeplugin.py'}) is failed: its import failed with ModuleNotFoundError: "
        "No module named 'no_such_module'"
    )


def test_a_file_that_is_not_yaml_is_one_line(option: Option) -> None:
    option("experiment/bad", "a: [1\n")
    with pytest.raises(AeframeError, match=r"^the config cannot be composed: .*bad\.yaml") as error:
        compose(["experiment=bad"])
    assert "\n" not in str(error.value)
