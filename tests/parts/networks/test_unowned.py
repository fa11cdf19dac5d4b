"""A reference to a module that another module owns."""

from __future__ import annotations

import copy

from torch import nn

from aeframe.parts.networks.unowned import Unowned


class User(nn.Module):
    def __init__(self, used: nn.Linear) -> None:
        super().__init__()
        self.used = Unowned(used)


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.owned = nn.Linear(2, 3)
        self.user = User(self.owned)


def test_parameters_belong_to_the_owner_alone() -> None:
    owner = Owner()
    assert owner.user.used.module is owner.owned
    assert list(owner.user.parameters()) == []
    assert list(owner.state_dict()) == ["owned.weight", "owned.bias"]


def test_a_copy_of_the_owner_refers_to_its_own_module() -> None:
    owner = Owner()
    duplicate = copy.deepcopy(owner)
    assert duplicate.user.used.module is duplicate.owned
    assert duplicate.owned is not owner.owned
