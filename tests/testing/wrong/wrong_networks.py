import torch
from torch import nn

from aeframe.parts import Decoder, Encoder


class Dense(Encoder):
    """One linear layer without a fault, the base class of the others."""

    def __init__(self, shape):
        super().__init__()
        (size,) = shape
        self.layer = nn.Linear(size, 8)
        self.out_shape = (8,)

    def forward(self, batch):
        return torch.tanh(self.layer(batch.masked_x()))

    def mirrored_decoder_config(self):
        return {"name": "mlp", "hidden": (8,)}


class WithoutMirror(Dense):
    """Has no mirrored decoder, which is no fault."""

    mirrored_decoder_config = Encoder.mirrored_decoder_config


class IgnoringMask(Dense):
    """Reads masked elements of x too."""

    def forward(self, batch):
        return torch.tanh(self.layer(batch.x.nan_to_num(0.0)))


class PlainAttribute(Dense):
    """Subtracts a running mean that is not a buffer."""

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
    """An object that only pickle can save."""


class Pickled(Dense):
    """Has an object in its state."""

    def get_extra_state(self):
        return Notes()

    def set_extra_state(self, state): ...


class UnusedLayer(Dense):
    """Has a layer that it never uses."""

    def __init__(self, shape):
        super().__init__(shape)
        self.spare = nn.Linear(8, 8)


class LocalStatistics(Dense):
    """Normalises by the statistics of one device's part of the batch."""

    def __init__(self, shape):
        super().__init__(shape)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, batch):
        return self.norm(super().forward(batch))


class Untyped(Dense):
    """Has an option without a type annotation."""

    def __init__(self, shape, *, slope=1.0):
        super().__init__(shape)
        self.slope = slope


class ObjectDefault(Dense):
    """Has an option whose default cannot be written in a config."""

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
    """A type that pydantic does not validate."""

    def __class_getitem__(cls, item):
        return cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema

        return core_schema.any_schema()


class UnvalidatedOption(Dense):
    """Has an option whose values are not validated, and fails for some."""

    def __init__(self, shape, *, level: Level = 1):  # type: ignore[assignment]
        super().__init__([8 * level // 8 and shape[0]])


class Unconditional(Decoder):
    """Ignores the condition."""

    def __init__(self, z_shape, out_shape):
        super().__init__()
        self.layer = nn.Linear(2, out_shape[0] * out_shape[1])
        self.out_shape = out_shape

    def forward(self, z, batch=None):
        return self.layer(z[:, :2]).reshape(-1, *self.out_shape)


class WithoutCode(Decoder):
    """Ignores the code, but not the condition."""

    def __init__(self, z_shape, out_shape):
        super().__init__()
        self.layer = nn.Linear(z_shape[0], out_shape[0] * out_shape[1])
        # The condition, of three numbers, is the end of z.
        self.register_buffer("weight", (torch.arange(z_shape[0]) >= z_shape[0] - 3).float())
        self.out_shape = out_shape

    def forward(self, z, batch=None):
        return self.layer(z * self.weight).reshape(-1, *self.out_shape)


class OfElements(Encoder):
    """The mean of a network's features of each value, for samples of any length, without a fault."""

    def __init__(self, shape):
        super().__init__()
        (_,) = shape
        self.layer = nn.Linear(1, 8)
        self.out_shape = (8,)

    def of_elements(self, batch):
        x = batch.masked_x()
        return torch.tanh(self.layer((x * (1 + 0.1 * torch.arange(x.shape[1]))).unsqueeze(-1)))

    def forward(self, batch):
        features, mask = self.of_elements(batch), batch.mask
        if mask is None:
            return features.mean(1)
        return (features * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def mirrored_decoder_config(self):
        return {"name": "mlp", "hidden": (8,)}


class MeanOverPadding(OfElements):
    """Divides by the number of values with padding."""

    def forward(self, batch):
        features, mask = self.of_elements(batch), batch.mask
        return features.mean(1) if mask is None else (features * mask.unsqueeze(-1)).mean(1)


class PaddingAsZeros(OfElements):
    """Reads masked values as zeros."""

    def forward(self, batch):
        return self.of_elements(batch).amax(1)


class WithoutCondition(Dense):
    """Does not read the condition behind the first twelve values."""

    def __init__(self, shape):
        super().__init__((min(shape[0], 12),))

    def forward(self, batch):
        return torch.tanh(self.layer(batch.masked_x()[:, :12]))


class ReadingNeighbour(Decoder):
    """Adds the code of the sample before it, in training only."""

    def __init__(self, z_shape, out_shape):
        super().__init__()
        self.layer, self.out_shape = nn.Linear(z_shape[0], out_shape[0] * out_shape[1]), out_shape

    def forward(self, z, batch=None):
        output = self.layer(z + 0.1 * z.roll(1, 0) if self.training else z)
        return output.unflatten(1, self.out_shape)
