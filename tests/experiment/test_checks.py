import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.checks import SuspiciousConfigWarning, check, check_parts
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.registry import Registry, registry
from aeframe.types import DataSpec, Domain

REAL = DataSpec((30,), Domain("real"))
UNIT = DataSpec((1, 8, 8), Domain("unit"))


# Recipes that need positions; what they say to rows of numbers is asserted in tests/test_recipes.py.
OF_POSITIONS = {"mae"}


@pytest.mark.parametrize("recipe", sorted(set(core_recipes()) - OF_POSITIONS))
def test_every_recipe_fits_real_rows(recipe: str) -> None:
    check_parts(compose([f"model={recipe}"]), REAL)


@pytest.mark.parametrize("recipe", core_recipes())
def test_every_recipe_fits_images_in_the_unit_interval(recipe: str) -> None:
    check_parts(compose([f"model={recipe}"]), UNIT)


@pytest.mark.parametrize("recipe", ["ae", "vae", "aae"])
def test_a_condition_is_part_of_the_dry_run(recipe: str) -> None:
    check_parts(compose([f"model={recipe}"]), DataSpec((30,), Domain("real"), condition=3))


def test_the_dry_run_of_categorical_data_uses_integers() -> None:
    check_parts(compose(["model=vae", "loss=categorical"]), DataSpec((5,), Domain("category", 4)))


def test_check_returns_what_it_built(grid: Path) -> None:
    modality, dataset, spec = check(compose(["data=circles", "data.side=16"]))
    assert type(modality).__name__ == "Grid"
    assert type(dataset).__name__ == "Circles"
    assert spec == DataSpec((1, 16, 16), Domain("unit"))


def test_data_of_another_modality_are_refused(grid: Path) -> None:
    with pytest.raises(AeframeError) as error:
        check(compose(["data=squares", "modality=vector"]))
    assert str(error.value) == (
        "data 'squares' are of modality 'grid', not 'vector'; leave out modality=vector, or choose other data"
    )


def fitting(kind: str, domain: str) -> str:
    """All that are installed, of core and of plugins, and that a config can name."""
    names = (name for name in registry().names(kind) if name != "own")
    *most, last = (name for name in names if domain in registry().load(kind, name).domains)
    return f"{', '.join(most)} or {last}"


def error_message(overrides: list[str], spec: DataSpec) -> str:
    with pytest.raises(AeframeError) as error:
        check_parts(compose(overrides), spec)
    return str(error.value)


def test_a_loss_for_other_data_is_refused_with_those_that_fit() -> None:
    assert error_message(["loss=bernoulli"], REAL) == (
        "loss 'bernoulli' is for data that are binary or unit, but these are real; choose "
        f"loss={fitting('loss', 'real')}"
    )


def test_a_corruption_for_other_data_is_refused() -> None:
    found = error_message(["corruption=gaussian", "loss=categorical"], DataSpec((5,), Domain("category", 4)))
    assert found == (
        "corruption 'gaussian' is for data that are binary, count, real, signed, simplex or unit, but these are "
        # Patches and frames need spatial axes.
        "category(4); choose corruption=blocks, elements, none, spans or swap_noise"
    )


@pytest.mark.parametrize(
    ("domain", "activation", "message"),
    [
        (
            "real",
            "sigmoid",
            "reconstructs values in (0, 1), but the data are real, in (-inf, inf); an activation that fits is identity",
        ),
        (
            "signed",
            "relu",
            "reconstructs values in [0, inf), but the data are signed, in [-1, 1]; an activation that fits is "
            "hardtanh, softsign, tanh or identity",
        ),
        (
            "unit",
            "log_sigmoid",
            "reconstructs values in (-inf, 0), but the data are unit, in [0, 1]; an activation that fits is "
            "hardsigmoid, sigmoid, steep_sigmoid or identity",
        ),
    ],
)
def test_an_output_that_cannot_reach_the_data_is_refused(domain: Any, activation: str, message: str) -> None:
    found = error_message([f"loss.activation={activation}"], DataSpec((30,), Domain(domain)))
    assert found == f"loss 'mse' with these options {message}"


def test_a_sigmoid_reaches_the_unit_interval() -> None:
    check_parts(compose(["loss.activation=sigmoid"]), UNIT)


def listed(kind: str, fits: Callable[[Any], bool]) -> str:
    """Return ``a, b or c``: every registered name of a part that fits."""
    *first, last = [name for name in registry().names(kind) if fits(registry().load(kind, name))]
    return f"{', '.join(first)} or {last}"


def test_an_objective_that_needs_a_posterior_is_refused_without_one() -> None:
    assert error_message(["model=vae", "latent=point"], REAL) == (
        "objective 'elbo' requires a latent that provides posterior, but 'point' provides nothing but a point; "
        f"choose latent={listed('latent', lambda part: 'posterior' in part.provides)}, or with 'point' choose "
        f"objective={listed('objective', lambda part: not part.requires)}"
    )


def test_a_sampler_that_needs_codes_is_refused_without_them() -> None:
    assert error_message(["sampler=codes"], REAL) == (
        "sampler 'codes' requires a latent that provides codes, but 'point' provides nothing but a point; "
        f"choose latent={listed('latent', lambda part: 'codes' in part.provides)}, or with 'point' choose "
        f"sampler={listed('sampler', lambda part: not part.requires and 'euclidean' in (part.spaces or {'euclidean'}))}"
    )


def test_a_linear_model_with_a_code_as_large_as_the_data_raises_a_warning() -> None:
    config = compose(["model=linear_ae", "latent.dim=64"])
    with pytest.warns(SuspiciousConfigWarning) as caught:
        check_parts(config, REAL)
    assert str(caught[0].message) == (
        "the code of this linear autoencoder has 64 numbers and a sample 30, so it can learn the identity; choose "
        "latent.dim below 30"
    )


def test_an_unused_critic_is_warned_of() -> None:
    overrides = ["model=factor_vae", "objective.estimator=stratified"]
    with pytest.warns(SuspiciousConfigWarning) as caught:
        check_parts(compose(overrides), REAL)
    assert [str(warning.message) for warning in caught] == [
        "critic 'permuted_codes' is trained, but neither the objective nor a penalty uses it; remove it with "
        "critics.permuted_codes=null and '~optimizers.permuted_codes', or name it in the option critic of one of them"
    ]
    removed = ["critics.permuted_codes=null", "~optimizers.permuted_codes"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_parts(compose([*overrides, *removed]), REAL)


def test_a_missing_critic_is_refused_before_training() -> None:
    assert error_message(["model=aae", "critics.discriminator_z=null"], REAL) == (
        "objective 'adversarial' requires a critic 'discriminator_z' with logit; add critics.discriminator_z={}, or "
        "set objective.critic"
    )


@pytest.mark.parametrize("overrides", [["model=linear_ae", "latent.dim=29"], ["model=ae", "latent.dim=64"]])
def test_other_models_raise_no_warning(overrides: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_parts(compose(overrides), REAL)


def test_the_error_says_if_no_installed_part_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(["loss=bernoulli"])
    fitting = [name for name in registry().names("loss") if "count" in registry().load("loss", name).domains]
    others = [name for name in registry().names("loss") if name not in fitting]
    monkeypatch.setattr(Registry, "names", lambda _, kind: others)
    with pytest.raises(AeframeError) as error:
        check_parts(config, DataSpec((4,), Domain("count")))
    assert str(error.value) == (
        "loss 'bernoulli' is for data that are binary or unit, but these are count; no loss that is installed fits"
    )
