"""The feature space `log_mel`: level and fluctuation of sounds in mel bands."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.feature_spaces import ReducedSpace
from aeframe.types import DataSpec
from aeframe_audio.modality import Audio
from aeframe_audio.spectra import DecibelSpectrogram

_CHUNK = 256


class MelStatistics(ReducedSpace):
    """Principal components of the mean and the standard deviation over time of the level in dB in 40 mel bands.

    Args:
        modality: Kind of data of the model, which must be ``audio``.
        spec: Shape and rate of the segments.
        components: Number of components.
    """

    def __init__(self, modality: Modality, spec: DataSpec, *, components: int = 32) -> None:
        super().__init__(components=components)
        if not isinstance(modality, Audio) or spec.rate is None:
            raise AeframeError(
                f"feature space log_mel is for modality audio, found {type(modality).__name__}; choose another one"
            )
        self.spectrogram = DecibelSpectrogram(spec.rate, mel=True)

    def raw(self, x: Tensor) -> Tensor:
        levels = [self.spectrogram(wave.float()).flatten(1, 2) for wave in x.split(_CHUNK)]
        return torch.cat([torch.cat([level.mean(2), level.std(2, unbiased=False)], 1) for level in levels])
