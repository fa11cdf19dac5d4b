from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe.cli.main import main
from aeframe.registry import registry
from aeframe.version import __version__

pytestmark = pytest.mark.usefixtures("empty_folder")
PLUGIN = '''
from aeframe import hookimpl
from aeframe.parts import Loss

class Ragged(Loss):
    """Compare raggedly.

    Nothing more.
    """

    domains = frozenset({"unit", "count"})

    def __init__(self, shape, domain, *, teeth: tuple[int, ...] = (3, 4), depth: float | None = None, mode: str = "a"):
        super().__init__()

@hookimpl
def register_losses(register):
    register("ragged", "aeplugin:Ragged", summary="ragged comparison")
'''


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_a_part_is_explained_from_its_code_and_signature_alone(
    plugin_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = plugin_file(PLUGIN)
    assert explain(capsys, "loss", "ragged").replace(str(path), "FILE") == (
        "loss ragged: ragged comparison\n"
        "from      FILE file (plugin aeplugin), aeplugin:Ragged\n"
        "file      FILE\n"
        "\n"
        "Compare raggedly.\n"
        "\n"
        "Nothing more.\n"
        "\n"
        "injected  shape, domain (by the framework)\n"
        "data      count, unit\n"
        "unit      nats\n"
        "options\n"
        "  teeth  [int, ...]    default [3, 4]\n"
        "  depth  float | null  default null\n"
        "  mode   str           default a\n"
    )


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ("objective", "elbo"),
            ["  capacity        schedule | null  default null"],
        ),
        (
            ("latent", "vq"),
            [
                "provides  codes",
                "used by   model=table_vqvae, model=vqgan, model=vqvae",
                "  update          ema | gradient      default ema",
            ],
        ),
        (("activation", "sigmoid"), ["from      aeframe {v} (plugin core), torch.nn:Sigmoid", "range     (0, 1)"]),
        (
            ("modality", "vector"),
            [
                "defaults  encoder mlp, loss mse",
                "data      breast_cancer (default), numbers, sparse_features, vector_in_memory",
            ],
        ),
        (("data", "breast_cancer"), ["modality  vector", "used by   modality=vector"]),
        (("dataset", "numbers"), ["  path        path                required"]),
        (("optimizer", "sgd"), ["injected  params (by the framework)", "  momentum        float        default 0"]),
        (("command", "plugins"), ["from      aeframe {v} (plugin core), aeframe.cli.plugins:Plugins"]),
        (
            ("model", "beta_vae"),
            [
                "file      aeframe.conf/model/beta_vae.yaml",
                "  objective  elbo      evidence lower bound: beta, free bits, capacity",
                "  objective.beta  4.0",
            ],
        ),
        (("trainer", "gpu"), ["sets", "  precision    bf16-mixed"]),
    ],
)
def test_the_lines_of_each_kind(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], lines: list[str]
) -> None:
    out = explain(capsys, *arguments).splitlines()
    assert [line.format(v=__version__) for line in lines if line.format(v=__version__) not in out] == []


def test_an_experiment_is_explained_by_its_comment(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = empty_folder / "configs" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# @package _global_\n# A try.\n#\n#   aeframe-train experiment=mine\ndefaults:\n  - override /model: vae\n"
        "seed: 4\nlatent: {dim: 2}\n",
        encoding="utf-8",
    )
    assert explain(capsys, "experiment", "mine") == (
        f"experiment mine\nfile      {path}\n\nA try.\n\n  aeframe-train experiment=mine\n\n"
        "selects\n  model  vae\nsets\n  seed        4\n  latent.dim  2\n"
    )


def test_every_registered_name_and_recipe_can_be_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aeframe.experiment.composition import option_files
    from aeframe.experiment.composition.loader import Loader

    # Read the recipes once for all names, which makes the test faster.
    recipes = option_files.option_files(Loader(names_only=True), "model")
    monkeypatch.setattr(option_files, "option_files", lambda *_: recipes)
    # Activations and optimizers are mostly classes of torch; `sigmoid` and `sgd` are tested above.
    names = [
        (entry.kind, entry.name) for entry in registry().entries() if entry.kind not in ("activation", "optimizer")
    ]
    names += [("model", recipe.name) for recipe in recipes]
    for kind, name in names:
        assert explain(capsys, kind, name).startswith(f"{kind} {name}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("prior", "norml"),
            "unknown prior 'norml', did you mean 'normal'?; known are " + ", ".join(registry().names("prior")),
        ),
        (("trainer", "gup"), "unknown trainer 'gup', did you mean 'gpu'?; known are auto, cpu, ddp, gpu"),
        (
            ("los", "mse"),
            "unknown kind 'los', did you mean 'loss'?; kinds are experiment, model, trainer, modality, dataset, "
            "corruption, encoder, latent, prior, decoder, loss, objective, penalty, critic, activation, schedule, "
            "sampler, optimizer, metric, feature_space, callback, logger, config, command",
        ),
    ],
)
def test_an_unknown_kind_or_name_is_reported_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], message: str
) -> None:
    assert main(["explain", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_a_loss_without_domains_is_reported_in_one_sentence(
    plugin_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_file(PLUGIN.replace('    domains = frozenset({"unit", "count"})\n', ""))
    assert main(["explain", "loss", "ragged"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: loss 'ragged' does not state the domains of its data; give aeplugin.Ragged the class attribute "
        'domains, such as frozenset({"real", "unit"})\n',
    )
