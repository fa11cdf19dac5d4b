import torch
from torch import nn

from aeframe.parts import Decoder, Encoder


class Dense(Encoder):
    """One layer on rows, and nothing wrong yet."""

    def __init__(self, shape):
        super().__init__()
        (size,) = shape
        self.layer = nn.Linear(size, 8)
        self.out_shape = (8,)

    def forward(self, batch):
        return torch.tanh(self.layer(batch.masked_x()))

    def mirrored_decoder_config(self):
        return {"name": "mlp", "hidden": (8,)}


class Maskless(Dense):
    """Reads x wherever it is."""

    def forward(self, batch):
        return torch.tanh(self.layer(batch.x.nan_to_num(0.0)))


class Forgetful(Dense):
    """Subtracts a running mean that is no buffer."""

    def __init__(self, shape):
        super().__init__(shape)
        self.centre = torch.zeros(8)

    def forward(self, batch):
        features = super().forward(batch)
        centred = features - self.centre
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * features.detach().mean(0) + 0.1
        return centred


class Notes:
    """An object of the plugin's own."""


class Pickled(Dense):
    """Keeps an object in its state."""

    def get_extra_state(self):
        return Notes()

    def set_extra_state(self, state): ...


class Untrained(Dense):
    """Has a layer that it never uses."""

    def __init__(self, shape):
        super().__init__(shape)
        self.spare = nn.Linear(8, 8)


class Local(Dense):
    """Normalises by the statistics of the rows that one device was given."""

    def __init__(self, shape):
        super().__init__(shape)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, batch):
        return self.norm(super().forward(batch))


class Untyped(Dense):
    """Has an option of which nobody knows the type."""

    def __init__(self, shape, *, slope=1.0):
        super().__init__(shape)
        self.slope = slope


class Unwritable(Dense):
    """Has a default that no config can hold."""

    def __init__(self, shape, *, notes: Notes = Notes()):  # noqa: B008
        super().__init__(shape)
        self.notes = notes


class Exploding(Dense):
    """Multiplies by a number that grows with each step."""

    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("factor", torch.ones(()))

    def forward(self, batch):
        features = super().forward(batch) * self.factor
        if self.training:
            self.factor = self.factor * 1e6
        return features


class Undocumented(Dense):
    def __init__(self, shape, *, slope: float = 1.0):
        super().__init__(shape)
        self.slope = slope


class Level:
    """A type of the plugin's own, which pydantic takes as it comes."""

    def __class_getitem__(cls, item):
        return cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema

        return core_schema.any_schema()


class Careless(Dense):
    """Has an option whose type accepts everything, and trips over it."""

    def __init__(self, shape, *, level: Level = 1):  # type: ignore[assignment]
        super().__init__([8 * level // 8 and shape[0]])


class Deaf(Decoder):
    """Reads the code, and not the condition beside it."""

    def __init__(self, z_shape, out_shape):
        super().__init__()
        self.layer = nn.Linear(2, out_shape[0] * out_shape[1])
        self.out_shape = out_shape

    def forward(self, z, batch=None):
        return self.layer(z[:, :2]).reshape(-1, *self.out_shape)
