"""Plots of sounds: waves and spectrograms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.tensors import evenly_spaced

_COLUMNS, _GRID_ROWS = 6, 4
_FLOOR_DB = -80.0
_WINDOW = 256
"""Samples of the window of a spectrogram."""


def plot_spectrograms(panels: Mapping[str, Tensor], rate: float) -> Figure:
    """Plot spectrograms in dB of full scale, with the wave from -1 to 1 above each; channels are averaged.

    Several panels are rows of at most six sounds. A single panel is a grid of at most 6 x 4 sounds. Of more sounds,
    evenly spaced ones are drawn, since the first may be of one class or the start of an interpolation.

    Args:
        panels: Sounds ``(N, C, T)`` by title; masked values (NaN) are silence.
        rate: Samples per second.
    """
    if len(panels) == 1:
        ((title, x),) = panels.items()
        x = x[evenly_spaced(len(x), _COLUMNS * _GRID_ROWS)]
        starts = range(0, max(1, len(x)), _COLUMNS)
        rows = [(title if not start else "", x[start : start + _COLUMNS]) for start in starts]
    else:
        rows = [(title, x[evenly_spaced(len(x), _COLUMNS)]) for title, x in panels.items()]
    columns = max(len(x) for _, x in rows)
    figure = Figure(figsize=(1.0 + 1.9 * columns, 2.0 * len(rows)), layout="constrained")
    grid = figure.add_gridspec(2 * len(rows), columns, height_ratios=[1, 3] * len(rows))
    # A row of sounds takes two rows of the grid: waves, and spectrograms below them.
    for row, (title, x) in enumerate(rows):
        for column, wave in enumerate(x.detach().float().cpu().nan_to_num(0.0).mean(1)):
            wave_axes = figure.add_subplot(grid[2 * row, column])
            spectrum_axes = figure.add_subplot(grid[2 * row + 1, column])
            wave_axes.plot(wave.numpy(), linewidth=0.4, color="black")
            wave_axes.set(ylim=(-1, 1), xlim=(0, len(wave)))
            wave_axes.set_axis_off()
            _draw_spectrogram(spectrum_axes, wave, rate)
            spectrum_axes.tick_params(labelsize=6, labelleft=column == 0)
            if column == 0:
                wave_axes.set_title(title, fontsize=8, loc="left")
                spectrum_axes.set_ylabel("kHz", fontsize=6)
            if row == len(rows) - 1:
                spectrum_axes.set_xlabel("seconds", fontsize=6)
    return figure


def plot_spectrogram(wave: Tensor, rate: float) -> Figure:
    """Plot the spectrogram of one sound ``(C, T)``, as `plot_spectrograms` does."""
    figure = Figure(figsize=(3.6, 1.8))
    # Fixed margins: a layout engine would draw the figure several times.
    axes = figure.add_axes((0.12, 0.24, 0.86, 0.73))
    _draw_spectrogram(axes, wave.detach().float().cpu().nan_to_num(0.0).mean(0), rate)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("seconds", fontsize=7)
    axes.set_ylabel("kHz", fontsize=7)
    return figure


def _draw_spectrogram(axes: Axes, wave: Tensor, rate: float) -> None:
    axes.imshow(
        _decibels(wave).numpy(), origin="lower", aspect="auto", cmap="magma", vmin=_FLOOR_DB, vmax=-10.0,
        extent=(0, len(wave) / rate, 0, rate / 2000),
    )  # fmt: skip


def _decibels(wave: Tensor) -> Tensor:
    """Return the spectrogram ``(F, frames)`` of a wave ``(T,)``; 0 dB is a sine of full scale."""
    size = min(_WINDOW, len(wave))
    window = torch.hann_window(size)
    spectrum = torch.stft(
        wave, size, size // 4, window=window, center=True, pad_mode="constant", return_complex=True
    ).abs()
    return 20 * (2 * spectrum / window.sum()).clamp(min=10 ** (_FLOOR_DB / 20)).log10()
