"""Plots of the report. matplotlib comes with the extra `report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_boundaries", "plot_shot_scores", "plot_waveform"]

_COLOURS = ("#3b6fb6", "#d1495b", "#2e933c", "#8a5a9e", "#c77c11", "#4d4d4d")


def plot_shot_scores(path: Path, series: Mapping[str, Sequence[float | None]], *, title: str, label: str) -> Path:
    """Draw one line per story over its shots; a missing score is a gap."""
    figure, axes = _canvas(7.2, 3.0)
    for number, (name, scores) in enumerate(series.items()):
        values = [np.nan if score is None else score for score in scores]
        axes.plot(range(1, len(values) + 1), values, marker="o", color=_COLOURS[number % len(_COLOURS)], label=name)
    axes.set_xlabel("shot")
    axes.set_ylabel(label)
    axes.set_xticks(range(1, 1 + max((len(scores) for scores in series.values()), default=1)))
    if len(series) <= 8:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _save(figure, axes, path, title)


def plot_boundaries(
    path: Path, curve: Sequence[float], *, found: Sequence[int], truth: Sequence[int], rate: float, title: str
) -> Path:
    """Draw the boundary score over time, the true boundaries above and the found ones below."""
    figure, axes = _canvas(9.5, 2.4)
    seconds = np.arange(len(curve)) / rate
    axes.plot(seconds, curve, color="#4d4d4d", linewidth=0.7)
    top = max([1.0, *curve])
    axes.vlines(np.asarray(truth) / rate, top * 1.02, top * 1.14, color=_COLOURS[2], linewidth=2, label="truth")
    axes.vlines(np.asarray(found) / rate, -top * 0.14, -top * 0.02, color=_COLOURS[1], linewidth=2, label="found")
    axes.set_xlabel("seconds")
    axes.set_ylabel("boundary score")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _save(figure, axes, path, title)


def plot_waveform(
    path: Path, audio: NDArray[np.float32], sample_rate: int, *, events: Sequence[tuple[float, float, str]], title: str
) -> Path:
    """Draw a waveform with named events as coloured spans; `audio` has the shape (channels, samples)."""
    figure, axes = _canvas(9.5, 2.0)
    mono = audio.mean(axis=0)
    step = max(1, len(mono) // 4000)
    blocks = mono[: len(mono) // step * step].reshape(-1, step)
    seconds = np.arange(len(blocks)) * step / sample_rate
    axes.fill_between(seconds, blocks.min(axis=1), blocks.max(axis=1), color=_COLOURS[0], linewidth=0)
    names = sorted({name for _, _, name in events})
    for begin, end, name in events:
        axes.axvspan(begin, max(end, begin + 0.02), color=_COLOURS[1 + names.index(name) % 5], alpha=0.25, linewidth=0)
    axes.set_xlabel("seconds")
    axes.set_ylim(-1.05, 1.05)
    return _save(figure, axes, path, title)


def _canvas(width: float, height: float) -> "tuple[Figure, Axes]":
    figures: Any = require("matplotlib.figure", extra="report", purpose="Drawing plots")
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: "Figure", axes: "Axes", path: Path, title: str) -> Path:
    axes.set_title(title, fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
