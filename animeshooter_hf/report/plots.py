"""Plots of the report. matplotlib comes with the extra `report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.optional import require
from animeshooter_hf.statistics import Distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_boundaries",
    "plot_counts",
    "plot_histograms",
    "plot_ratios",
    "plot_shot_scores",
    "plot_sound_lanes",
    "plot_splits",
    "plot_transitions",
    "plot_waveform",
]

_COLOURS = ("#3b6fb6", "#d1495b", "#2e933c", "#8a5a9e", "#c77c11", "#4d4d4d")
_KINDS = {"cut": (_COLOURS[1], "|"), "fade": (_COLOURS[3], "v"), "dissolve": (_COLOURS[2], "x")}


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


def plot_transitions(
    path: Path,
    curve: Sequence[float] | NDArray[np.float32],
    *,
    lanes: Mapping[str, Sequence[tuple[int, int, int, str]]],
    story_starts: Sequence[int] = (),
    rate: float,
    title: str,
) -> Path:
    """Draw the boundary score over time, and below it a lane of marks for each detector or truth.

    Args:
        path: Where it goes.
        curve: Score of each frame.
        lanes: Name -> (frame, first frame touched, frame after the last one, kind) of each boundary. A kind has its
            colour and its mark; the frames that a transition touches are a bar.
        story_starts: First frames of stories, drawn as dotted lines.
        rate: Frames per second.
        title: Above the plot.
    """
    figure, (axes, below) = _two_panels(10.5, 2.0, 0.32 * max(1, len(lanes)) + 0.1)
    step = max(1, len(curve) // 3000)
    peaks = np.asarray(curve, np.float32)[: len(curve) // step * step].reshape(-1, step).max(axis=1)
    axes.plot(np.arange(len(peaks)) * step / rate, peaks, color="#4d4d4d", linewidth=0.7)
    axes.set_ylabel("boundary score", fontsize=8)
    for number, marks in enumerate(lanes.values()):
        for kind, (colour, shape) in _KINDS.items():
            some = [mark for mark in marks if mark[3] == kind]
            if not some:
                continue
            bars = [(first / rate, (end - first) / rate) for _, first, end, _ in some if end > first]
            below.broken_barh(bars, (number - 0.3, 0.6), color=colour, alpha=0.4, linewidth=0)
            seconds = [frame / rate for frame, *_ in some]
            below.plot(
                seconds, [number] * len(some), shape, color=colour, markersize=8, markeredgewidth=1.5, label=kind
            )
    for panel in (axes, below):
        for frame in story_starts:
            panel.axvline(frame / rate, color="#4d4d4d", linewidth=1, linestyle=":")
    _finish_lanes(below, list(lanes), max(len(curve), 1) / rate)
    axes.tick_params(labelbottom=False)
    labels = dict(zip(*reversed(below.get_legend_handles_labels()), strict=True))
    if labels:
        figure.legend(
            labels.values(), labels.keys(), loc="outside right center", frameon=False, fontsize=8
        )  # fmt: skip
    return _save(figure, axes, path, title)


def plot_sound_lanes(
    path: Path,
    audio: NDArray[np.float32],
    sample_rate: int,
    *,
    lanes: Mapping[str, Sequence[tuple[float, float, str]]],
    title: str,
) -> Path:
    """Draw a waveform, and below it a named lane for each kind of stretch (start and end in seconds, and its name)."""
    figure, (axes, below) = _two_panels(10.5, 1.7, 0.32 * max(1, len(lanes)) + 0.1)
    mono = audio.mean(axis=0)
    step = max(1, len(mono) // 4000)
    blocks = mono[: len(mono) // step * step].reshape(-1, step)
    seconds = np.arange(len(blocks)) * step / sample_rate
    axes.fill_between(seconds, blocks.min(axis=1), blocks.max(axis=1), color=_COLOURS[0], linewidth=0)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("sound", fontsize=8)
    axes.tick_params(labelbottom=False)
    length = mono.size / sample_rate
    for number, stretches in enumerate(lanes.values()):
        colour = _COLOURS[1 + number % 5]
        bars = [(begin, max(end - begin, length / 800)) for begin, end, _ in stretches]
        below.broken_barh(bars, (number - 0.38, 0.76), facecolor=colour, alpha=0.55, edgecolor="white", linewidth=0.7)
        for begin, end, name in stretches:
            if name and (end - begin) / max(length, 1e-9) > 0.012 * len(name):
                below.text((begin + end) / 2, number, name, ha="center", va="center", fontsize=6.5)
    _finish_lanes(below, list(lanes), length)
    return _save(figure, axes, path, title)


def plot_histograms(path: Path, panels: Mapping[str, Distribution], *, papers: Mapping[str, float]) -> Path:
    """Draw a histogram per distribution, its mean as a line, and the paper's mean as a dashed one where it is given."""
    figures: Any = require("matplotlib.figure", extra="report", purpose="Drawing plots")
    ticker: Any = require("matplotlib.ticker", extra="report", purpose="Drawing plots")
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = figures.Figure(figsize=(3.4 * columns, 2.1 * lines + 0.3), layout="constrained")
    grid = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    for axes, (name, one) in zip(grid, panels.items(), strict=False):
        values, weights = (np.array(column) for column in zip(*one.histogram, strict=True))
        is_whole = bool((values == np.rint(values)).all()) and np.ptp(values) < 30
        bins = np.arange(values.min() - 0.5, values.max() + 1) if is_whole else 30
        axes.hist(values, bins=bins, weights=weights, color=_COLOURS[0], alpha=0.75)
        axes.axvline(one.mean, color=_COLOURS[1], linewidth=1.5, label="mean here")
        if name in papers:
            axes.axvline(papers[name], color=_COLOURS[5], linewidth=1.5, linestyle="--", label="mean in the paper")
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=is_whole))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    marks = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def plot_counts(path: Path, counts: Mapping[str, int], *, title: str) -> Path:
    """Draw a bar per name, with its number, in the order given; the axis is logarithmic where they differ much."""
    ticker: Any = require("matplotlib.ticker", extra="report", purpose="Drawing plots")
    figure, axes = _canvas(8.5, 0.26 * len(counts) + 0.8)
    names, numbers = list(counts), list(counts.values())
    axes.barh(names, numbers, color=_COLOURS[0], alpha=0.8, height=0.7)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=7)
    if max(numbers) > 50 * min(numbers):
        axes.set_xscale("log")
        axes.set_xlim(left=0.5)
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True))
    axes.bar_label(axes.containers[0], [f"{number:,}" for number in numbers], padding=3, fontsize=7)  # type: ignore[arg-type]
    axes.margins(x=0.1)
    axes.set_ylim(len(counts) - 0.4, -0.6)
    return _save(figure, axes, path, title)


def plot_ratios(path: Path, ratios: Mapping[str, float], *, title: str) -> Path:
    """Draw a bar per name from 1 to its ratio, on a logarithmic axis: left is less, right is more."""
    ticker: Any = require("matplotlib.ticker", extra="report", purpose="Drawing plots")
    figure, axes = _canvas(8.5, 0.26 * len(ratios) + 0.8)
    names = list(ratios)
    logs = [float(np.log2(max(ratio, 1 / 64))) for ratio in ratios.values()]
    axes.barh(names, logs, color=_COLOURS[0], alpha=0.8, height=0.7)
    axes.axvline(0, color="#4d4d4d", linewidth=1)
    axes.invert_yaxis()
    reach = max(1.0, max(abs(one) for one in logs) * 1.15)
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{2**value:.2g}"))
    axes.bar_label(axes.containers[0], [f"{ratio:.2f}" for ratio in ratios.values()], padding=3, fontsize=7)  # type: ignore[arg-type]
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=7)
    return _save(figure, axes, path, title)


def plot_splits(path: Path, splits: Mapping[str, Mapping[str, Distribution]], *, labels: Mapping[str, str]) -> Path:
    """Draw, per distribution, a box per split: quartiles as a bar, the mean as a dot, the range as a line.

    Args:
        path: Where it goes.
        splits: Split -> name -> distribution.
        labels: Name -> what it is, in words.
    """
    figures: Any = require("matplotlib.figure", extra="report", purpose="Drawing plots")
    names = list(next(iter(splits.values())))
    figure = figures.Figure(figsize=(3.4 * len(names), 0.42 * len(splits) + 1.1), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names), sharey=True)), names, strict=True):
        for row, of_split in enumerate(splits.values()):
            one = of_split[name]
            if one.lower_quartile is not None and one.upper_quartile is not None:
                axes.plot([one.minimum, one.maximum], [row, row], color="#9a9a9a", linewidth=1)
                axes.barh(
                    row, one.upper_quartile - one.lower_quartile, left=one.lower_quartile, height=0.5,
                    color=_COLOURS[0], alpha=0.75,
                )  # fmt: skip
                axes.plot([one.median] * 2, [row - 0.25, row + 0.25], color="white", linewidth=1.5)
                axes.plot(one.mean, row, "o", color=_COLOURS[1], markersize=4)
        axes.use_sticky_edges = False
        axes.set_title(labels.get(name, name), fontsize=9, loc="left")
        axes.set_yticks(range(len(splits)), list(splits), fontsize=8)
        axes.set_ylim(len(splits) - 0.5, -0.5)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("bar: quartiles and median; line: range; dot: mean", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _two_panels(width: float, upper: float, lower: float) -> "tuple[Figure, Any]":
    figures: Any = require("matplotlib.figure", extra="report", purpose="Drawing plots")
    figure = figures.Figure(figsize=(width, upper + lower + 0.7), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(upper, lower))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _finish_lanes(axes: "Axes", names: Sequence[str], seconds: float) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, seconds)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds")


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
