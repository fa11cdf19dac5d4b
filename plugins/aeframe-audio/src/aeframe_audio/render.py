"""Pictures of sounds: spectrograms, with the wave above."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

_COLUMNS, _GRID_ROWS = 6, 4
_FLOOR_DB = -80.0
_WINDOW = 256


def draw(panels: Mapping[str, Tensor], rate: float) -> Figure:
    """Return spectrograms in dB of full scale, of sounds ``(N, C, T)`` by title; of several channels their mean.

    Several panels are rows of at most six sounds, one above the other, so that columns can be compared. A single one
    is a grid of at most 6 x 4. The line above each spectrogram is the wave, from -1 to 1.
    """
    if len(panels) == 1:
        ((title, x),) = panels.items()
        rows = [(title if not start else "", part) for start, part in _parts(x[: _COLUMNS * _GRID_ROWS])]
    else:
        rows = [(title, x[:_COLUMNS]) for title, x in panels.items()]
    columns = max(len(x) for _, x in rows)
    figure = Figure(figsize=(1.0 + 1.9 * columns, 2.0 * len(rows)), layout="constrained")
    grid = figure.add_gridspec(2 * len(rows), columns, height_ratios=[1, 3] * len(rows))
    for row, (title, x) in enumerate(rows):
        for column, wave in enumerate(x.detach().float().cpu().mean(1)):
            above = figure.add_subplot(grid[2 * row, column])
            below = figure.add_subplot(grid[2 * row + 1, column])
            above.plot(wave.numpy(), linewidth=0.4, color="black")
            above.set(ylim=(-1, 1), xlim=(0, len(wave)))
            above.set_axis_off()
            seconds, top = len(wave) / rate, rate / 2000
            below.imshow(
                decibels(wave).numpy(), origin="lower", aspect="auto", cmap="magma", vmin=_FLOOR_DB, vmax=-10.0,
                extent=(0, seconds, 0, top),
            )  # fmt: skip
            below.tick_params(labelsize=6, labelleft=column == 0)
            if column == 0:
                above.set_title(title, fontsize=8, loc="left")
                below.set_ylabel("kHz", fontsize=6)
            if row == len(rows) - 1:
                below.set_xlabel("seconds", fontsize=6)
    return figure


def decibels(wave: Tensor) -> Tensor:
    """Return the spectrogram ``(frequencies, frames)`` of a wave ``(T,)``: 0 dB is a sine of full scale."""
    size = min(_WINDOW, len(wave))
    window = torch.hann_window(size)
    spectrum = torch.stft(
        wave, size, size // 4, window=window, center=True, pad_mode="constant", return_complex=True
    ).abs()
    return 20 * (2 * spectrum / window.sum()).clamp(min=10 ** (_FLOOR_DB / 20)).log10()


def _parts(x: Tensor) -> list[tuple[int, Tensor]]:
    return [(start, x[start : start + _COLUMNS]) for start in range(0, max(1, len(x)), _COLUMNS)]
