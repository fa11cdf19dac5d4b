"""`Unowned`: a reference from one module to another that does not register it as a submodule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Unowned(Generic[ModuleT]):
    """Holds a module that another module owns: ``self._latent = Unowned(latent)``, then ``self._latent.module``.

    `nn.Module` registers each module that is assigned to an attribute. Its parameters would then be optimised, moved
    and saved twice. Behind this reference they belong to the owner alone.
    """

    module: ModuleT
