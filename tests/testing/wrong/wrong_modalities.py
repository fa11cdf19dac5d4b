import numpy as np
import torch
from matplotlib.figure import Figure

from aeframe.data import Dataset, Modality, Splits, TensorSource
from aeframe.types import Batch, DataSpec, Domain


class Rows(Modality):
    """Rows of eight numbers in [0, 1], and nothing wrong yet."""

    defaults = {"encoder": "mlp", "loss": "mse"}  # noqa: RUF012

    def spec(self, dataset):
        return DataSpec(dataset.describe()["shape"], Domain("unit"))

    def apply(self, raw):
        source = TensorSource(raw)
        return Splits(source, source, source)

    def render(self, panels):
        return Figure()

    def read(self, path):
        x = torch.from_numpy(np.load(path)["x"])
        return Batch(x, index=torch.arange(len(x)))

    def write(self, x, path):
        path = path.with_suffix(".npz")
        np.savez(path, x=x.numpy())
        return [path]


class Noise(Dataset):
    """64 rows of even noise."""

    def describe(self):
        return {"shape": (8,)}

    def load(self):
        return torch.rand(64, 8, generator=torch.Generator().manual_seed(0))


class Undrawn(Modality):
    """Lacks a method, and has nothing else that is of use."""

    dataset = "undrawn_noise"
    spec, apply, read, write = Rows.spec, Rows.apply, Rows.read, Rows.write


class UndrawnNoise(Noise):
    """Rows for `Undrawn`."""

    modality = "undrawn"


class Shifted(Rows):
    """Reads something else than it wrote."""

    dataset = "shifted_noise"

    def read(self, path):
        batch = super().read(path)
        return batch.with_x(1 - batch.x)


class ShiftedNoise(Noise):
    """Rows for `Shifted`."""

    modality = "shifted"


class Outside(Rows):
    """Gives values beyond the domain it states."""

    dataset = "outside_noise"

    def apply(self, raw):
        source = TensorSource(3 * raw)
        return Splits(source, source, source)


class OutsideNoise(Noise):
    """Rows for `Outside`."""

    modality = "outside"


class Scaler:
    """An object of the plugin's own."""


class Opaque(Rows):
    """Keeps an object as what it learned."""

    dataset = "opaque_noise"

    def state(self):
        return {"scaler": Scaler()}


class OpaqueNoise(Noise):
    """Rows for `Opaque`."""

    modality = "opaque"


class Forgetful(Rows):
    """Keeps what it learned from the training split out of its state."""

    dataset = "forgetful_noise"
    highest = 1.0

    def learn(self, dataset, raw):
        self.highest = raw.max()

    def apply(self, raw):
        return super().apply(raw / self.highest)


class ForgetfulNoise(Noise):
    """Rows for `Forgetful`."""

    modality = "forgetful"


class Unpictured(Rows):
    """Renders nothing."""

    dataset = "unpictured_noise"

    def render(self, panels):
        return None


class UnpicturedNoise(Noise):
    """Rows for `Unpictured`."""

    modality = "unpictured"


class Unknown(Rows):
    """Has a default that is not registered."""

    defaults = {"encoder": "mlp", "loss": "no_such_loss"}  # noqa: RUF012
    dataset = "unknown_noise"


class UnknownNoise(Noise):
    """Rows for `Unknown`."""

    modality = "unknown"


class Shapeless(ShiftedNoise):
    """Rows of no numbers."""

    def describe(self):
        return {"shape": (0,)}
