"""`named_parts`: the parts of a model under the names by which settings select them, such as ``critics.LABEL``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from aeframe.errors import AeframeError, did_you_mean
from aeframe.kinds import SLOTS
from aeframe.model.autoencoder import Autoencoder


def named_parts(model: Autoencoder) -> dict[str, nn.Module]:
    """Return the parts of a model by name: ``encoder``, ``latent``, ..., ``penalties.LABEL``, ``critics.LABEL``.

    A name is also the beginning of the names of the part's tensors in the model's state dict.
    """
    parts: dict[str, nn.Module] = {}
    for kind in SLOTS:
        slot: nn.Module = getattr(model, kind.key)
        parts |= (
            {f"{kind.key}.{label}": part for label, part in slot.named_children()}
            if kind.labelled
            else {kind.key: slot}
        )
    return parts


def selected_parts(model: Autoencoder, names: Sequence[str], setting: str) -> dict[str, nn.Module]:
    """Return those parts of a model that a setting names, in the order of the model.

    Args:
        model: The model.
        names: The names in the setting.
        setting: The name of the setting, for the error.

    Raises:
        AeframeError: The model has no part of this name.
    """
    parts = named_parts(model)
    for name in names:
        if name not in parts:
            raise AeframeError(
                f"{setting} names an unknown part '{name}'{did_you_mean(name, parts)}; the parts of this model are "
                f"{', '.join(parts)}"
            )
    return {name: part for name, part in parts.items() if name in names}


def part_of(tensor: str, parts: Sequence[str]) -> str:
    """Return the part that a tensor of the model's state dict belongs to; empty if it belongs to none of `parts`."""
    return next((part for part in parts if tensor.startswith(f"{part}.")), "")
