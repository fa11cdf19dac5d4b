import numpy as np
import torch
from matplotlib.figure import Figure

from aeframe.data import Dataset, FileSamples, Modality, SampleBatches, Splits, TensorSource
from aeframe.data.arrays import ArrayFile
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.types import DataSpec, Domain


class Rows(Modality):
    """Rows of eight numbers in [0, 1] without a fault, the base class of the others."""

    defaults = {"encoder": "mlp", "loss": "mse"}  # noqa: RUF012

    def spec(self, dataset):
        return DataSpec(dataset.describe()["shape"], Domain("unit"))

    def apply(self, raw):
        source = TensorSource(raw)
        return Splits(source, source, source)

    def render(self, panels):
        return Figure()

    def rows(self, path):
        x = torch.from_numpy(ArrayFile(path).load("x")).float()
        if x.shape[1:] != (8,):
            raise AeframeError(f"'{path}' has no rows of eight numbers")
        return x

    def open(self, path, on_error):
        x = self.rows(path)
        if not x.isfinite().all():
            raise AeframeError(f"'{path}' has no rows of eight finite numbers")
        return FileSamples(TensorSource(x))

    def write_batches(self, samples, path):
        path = path.with_suffix(".npz")
        np.savez(path, x=samples.tensor().numpy())
        return [path]


class Noise(Dataset):
    """64 rows of uniform noise."""

    def describe(self):
        return {"shape": (8,)}

    def load(self):
        return torch.rand(64, 8, generator=torch.Generator().manual_seed(0))


class WithoutRender(Modality):
    """Does not define `render`, an abstract method."""

    dataset = "without_render_noise"
    spec, apply, open, write_batches = Rows.spec, Rows.apply, Rows.open, Rows.write_batches


class WithoutRenderNoise(Noise):
    """Rows for `WithoutRender`."""

    modality = "without_render"


class Inverted(Rows):
    """Reads other values than it wrote."""

    dataset = "inverted_noise"

    def open(self, path, on_error):
        return FileSamples(TensorSource(1 - super().open(path, on_error).batch().x))


class InvertedNoise(Noise):
    """Rows for `Inverted`."""

    modality = "inverted"


class NotRestoring(Vector):
    """Restores samples with the opposite sign."""

    def restore_samples(self, x):
        return -super().restore_samples(x)


class Ordered(Rows):
    """Sets of eight numbers, whose default encoder reads their order."""

    defaults = {"encoder": "mlp", "loss": "sets"}  # noqa: RUF012
    metrics = ()
    dataset = "ordered_noise"

    def spec(self, dataset):
        return DataSpec((8, 1), Domain("unit"), unordered=True)

    def apply(self, raw):
        return super().apply(raw.unsqueeze(2))

    def rows(self, path):
        x = torch.from_numpy(ArrayFile(path).load("x")).float()
        if x.shape[1:] != (8, 1):
            raise AeframeError(f"'{path}' has no sets of eight numbers")
        return x


class OrderedNoise(Noise):
    """Sets for `Ordered`."""

    modality = "ordered"


class Outside(Rows):
    """Returns values outside its declared domain."""

    dataset = "outside_noise"

    def apply(self, raw):
        source = TensorSource(3 * raw)
        return Splits(source, source, source)


class OutsideNoise(Noise):
    """Rows for `Outside`."""

    modality = "outside"


class Scaler:
    """An object that JSON cannot hold."""


class ObjectState(Rows):
    """Has an object in its state."""

    dataset = "object_state_noise"

    def state(self):
        return {"scaler": Scaler()}


class ObjectStateNoise(Noise):
    """Rows for `ObjectState`."""

    modality = "object_state"


class IncompleteState(Rows):
    """Does not return in `state` what it learned from the training split."""

    dataset = "incomplete_state_noise"
    highest = 1.0

    def learn(self, dataset, raw):
        self.highest = raw.max()

    def apply(self, raw):
        return super().apply(raw / self.highest)


class IncompleteStateNoise(Noise):
    """Rows for `IncompleteState`."""

    modality = "incomplete_state"


class RenderingNone(Rows):
    """Returns None from `render`."""

    dataset = "rendering_none_noise"

    def render(self, panels):
        return None


class RenderingNoneNoise(Noise):
    """Rows for `RenderingNone`."""

    modality = "rendering_none"


class UnregisteredDefault(Rows):
    """Has a default part that is not registered."""

    defaults = {"encoder": "mlp", "loss": "no_such_loss"}  # noqa: RUF012
    dataset = "unregistered_default_noise"


class UnregisteredDefaultNoise(Noise):
    """Rows for `UnregisteredDefault`."""

    modality = "unregistered_default"


class EmptyShape(InvertedNoise):
    """Rows of zero numbers."""

    def describe(self):
        return {"shape": (0,)}


class CarelessReader(Rows):
    """Reads files as if none was ever damaged."""

    dataset = "careless_reader_noise"

    def open(self, path, on_error):
        return FileSamples(
            TensorSource(torch.from_numpy(np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 8).copy()))
        )

    def write_batches(self, samples, path):
        path = path.with_suffix(".raw")
        path.write_bytes(samples.tensor().numpy().tobytes())
        return [path]


class CarelessReaderNoise(Noise):
    """Rows for `CarelessReader`."""

    modality = "careless_reader"


class Gathering(Rows):
    """Holds all batches in memory while it writes them."""

    dataset = "gathering_noise"

    def write_batches(self, samples, path):
        path = path.with_suffix(".npz")
        np.savez(path, x=torch.cat([*samples]).numpy())
        return [path]


class GatheringNoise(Noise):
    """Rows for `Gathering`."""

    modality = "gathering"


class Padded(Rows):
    """Rows with masked values, which are NaN, without a fault."""

    dataset = "padded_noise"

    def mask_shape(self, spec):
        return spec.shape

    def apply(self, raw):
        x = raw.clone()
        x[::2, 5:] = torch.nan
        source = TensorSource(x, mask=x.isfinite())
        return Splits(source, source, source)

    def open(self, path, on_error):
        x = self.rows(path)
        return FileSamples(TensorSource(x, mask=x.isfinite()))


class PaddedNoise(Noise):
    """Rows for `Padded`."""

    modality = "padded"


class UndeclaredMask(Padded):
    """Has masks, and does not say so."""

    dataset = "undeclared_mask_noise"

    def mask_shape(self, spec):
        return None


class UndeclaredMaskNoise(Noise):
    """Rows for `UndeclaredMask`."""

    modality = "undeclared_mask"


class ReadingMasked(Padded):
    """Has a default encoder that reads masked values."""

    defaults = {"encoder": "ignoring_mask", "loss": "mse"}  # noqa: RUF012
    dataset = "reading_masked_noise"


class ReadingMaskedNoise(Noise):
    """Rows for `ReadingMasked`."""

    modality = "reading_masked"


class NotDrawingNaN(Rows):
    """Cannot draw samples with NaN."""

    dataset = "not_drawing_nan_noise"

    def render(self, panels):
        for x in panels.values():
            if not x.isfinite().all():
                raise ValueError("Axis limits cannot be NaN or Inf")
        return Figure()


class NotDrawingNaNNoise(Noise):
    """Rows for `NotDrawingNaN`."""

    modality = "not_drawing_nan"


class ShowingOne(Rows):
    """Shows the first sample only."""

    dataset = "showing_one_noise"

    def show(self, x):
        return super().show(x[:1])


class ShowingOneNoise(Noise):
    """Rows for `ShowingOne`."""

    modality = "showing_one"


class Forgetting(Rows):
    """Reads files in a scale that it learns, and does not return from `state`."""

    dataset = "forgetting_noise"
    scale = 1.0

    def learn(self, dataset, raw):
        self.scale = float(raw.max())

    def open(self, path, on_error):
        return FileSamples(TensorSource(super().open(path, on_error).batch().x * self.scale))

    def write_batches(self, samples, path):
        return super().write_batches(SampleBatches([samples.tensor() / self.scale], len(samples)), path)


class ForgettingNoise(Noise):
    """Rows for `Forgetting`."""

    modality = "forgetting"


class GlobalNoise(InvertedNoise):
    """Draws from torch's global generator."""

    def load(self):
        return torch.rand(64, 8)


class NumpyNoise(InvertedNoise):
    """Draws from a generator of numpy without a seed."""

    def load(self):
        return torch.from_numpy(np.random.default_rng().random((64, 8))).float()


class HashedNoise(InvertedNoise):
    """Depends on the hash of a string, another one in each process."""

    def load(self):
        return torch.rand(64, 8, generator=torch.Generator().manual_seed(hash("noise") % 1000))
