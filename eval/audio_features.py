"""What is taken from the sound of a shot, and from its picture to hold the sound against.

    SoundFeature     levels, silence, clipping; onsets of the sound, motion of the picture: arithmetic, no model
    ClipFeature      rows of a sound encoder (CLAP, PE-AV): of the sound, and of frames where the encoder sees

Onsets: the spectrum of 21 ms every 10 ms, in bands about equally wide to the ear, on a logarithmic scale; what the
bands rise from one hop to the next. Motion: the mean change of lightness between frames at 64 x 36 pixels; its root,
so that a flash or a pan does not outweigh everything else.

About 12 frames a second are looked at (every one of the paper's 16), and at most 200: they are decoded anyhow, and
converting and shrinking one costs about a millisecond at 720 x 480. With twice as many, clicks at the motion peaks of
toon films are found in 90 % of the comparisons as well, and clicks that are half a second late in more of them.

Only what is heard while the picture lasts counts; where the track is over, it is silent.

Shape letters used below
    C channels    N samples    H hops    M intervals between frames    F frames    D embedding width
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.audio_scores import HOP_SECONDS
from animeshooter_hf.eval.backbones.audio_base import AudioModel, FramesView, SoundView
from animeshooter_hf.eval.backbones.base import Kind
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.video.loudness import integrated_loudness, true_peak

__all__ = ["LEVELS", "ClipFeature", "SoundFeature", "heard_samples", "is_silent", "motion_energy", "onset_strength"]
__all__ += ["sound_levels"]

LEVELS = ("loudness_lufs", "true_peak_dbtp", "sample_peak_dbfs", "clipping_share", "silence_share")
"""Names of the entries of the array "sound.levels", in order. A level that silence has not is -inf."""

SILENCE_DBFS = -60.0
"""A hop whose root mean square is lower is silent. Our choice: the noise floor of a film at home."""

CLIPPED = 0.999
"""Magnitude from which a sample counts as clipped. Our choice: lossy codecs move full scale by a little."""

FRAMES_PER_SECOND = 12.5
"""Frames looked at, about; whole steps only. Our choice, see above."""

MAX_FRAMES = 200
"""Our choice: 12 s or more, and less than 1.3 GB of frames at 1920 x 1080."""

MOTION_SIZE = (64, 36)
"""Columns and rows at which frames are compared. Our choice."""

_WINDOW_SECONDS = 1024 / 48_000
_NUM_BANDS = 24
_BAND_RANGE_HZ = (40.0, 16_000.0)
_LOG_GAIN = 100.0
"""Levels below a hundredth of full scale are compressed linearly, those above logarithmically. Our choice: 10 to 1000
give the same figures on toon films."""


class SoundFeature(PixelFeature):
    """Levels and onsets of the sound, and motion of the picture.

    Arrays: "present" (1,) is 0 where there is no sound, and then the only one. "levels" as in `LEVELS`; "onset" (H,);
    "motion" (M,); "seconds" (M + 1,) of the frames.
    """

    name = "sound"
    wants_sound = True
    uses_regions = False

    def __init__(self, frames_per_second: float = FRAMES_PER_SECOND) -> None:
        """Look at about so many frames per second."""
        self.frames_per_second = frames_per_second

    @property
    def signature(self) -> str:
        """Everything that changes a number."""
        picture = f"motion:{self.frames_per_second:g}fps<{MAX_FRAMES}@{MOTION_SIZE[0]}x{MOTION_SIZE[1]}"
        levels = f"bs1770-4|silent<{SILENCE_DBFS:g}dB|clip>{CLIPPED:g}"
        return f"{picture}|flux:{_NUM_BANDS}bands-log{_LOG_GAIN:g}-10ms|{levels}|v1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """Return evenly spaced frames from the first on; none where there is no sound."""
        if not facts.has_sound:
            return ()
        step = max(1, round(facts.frame_rate / self.frames_per_second))
        return range(0, facts.num_frames, step)[:MAX_FRAMES]

    def extract(self, media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """Return the arrays.

        Raises:
            InputError: If a sample is not finite.
        """
        if media.sound is None:
            return {"present": np.zeros(1, np.int64)}
        sound_CN, rate = heard_samples(media), media.sample_rate
        wanted = self.frames_wanted(media.facts)
        seconds = np.asarray(wanted, np.float64) / media.facts.frame_rate
        seen_N = sound_CN.mean(axis=0)[: math.ceil((seconds[-1] + 1.0) * rate)]
        return {
            "present": np.ones(1, np.int64),
            "levels": sound_levels(sound_CN, rate, media.facts.num_frames / media.facts.frame_rate),
            "onset": onset_strength(seen_N, rate).astype(np.float32),
            "motion": motion_energy([media.frames[ordinal] for ordinal in wanted]).astype(np.float32),
            "seconds": seconds,
        }


class ClipFeature(EmbeddingFeature):
    """Rows of a sound encoder: "sound" (D,) of what is heard, "frames" (D,) of what is seen if the encoder sees."""

    name = "clip"
    wants_sound = True
    uses_regions = False
    kind: Kind = "look"

    def __init__(self, model: AudioModel) -> None:
        """Keep the encoder."""
        self.backbone = model
        self._model = model

    @property
    def signature(self) -> str:
        """Which parts are encoded; the encoder has a signature of its own."""
        return f"sound{'+frames' if self._model.has_video else ''}|v1"

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """Return the frames that the encoder sees; none where there is no sound."""
        return sorted(set(self._model.frames_seen(facts.num_frames))) if facts.has_sound else ()

    def views(self, media: ShotMedia) -> Sequence[Any]:
        """Return the pieces of sound that the encoder hears, then the frames as one view; nothing without sound."""
        if media.sound is None:
            return ()
        sound_CN = heard_samples(media)
        if is_silent(sound_CN):
            return ()
        pieces = self._model.pieces(sound_CN.mean(axis=0), media.sample_rate)
        seen = self._model.frames_seen(media.facts.num_frames)
        frames = [FramesView(tuple(media.frames[ordinal] for ordinal in seen))] if seen else []
        return [*(SoundView(piece_N, self._model.sample_rate) for piece_N in pieces), *frames]

    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """Return the mean of the pieces' rows, brought to unit length, and the row of the frames."""
        if not len(rows_VD):
            return {}
        num_pieces = len(rows_VD) - (1 if self._model.has_video else 0)
        mean_D = rows_VD[:num_pieces].astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(mean_D))
        if length < 1e-9:
            raise InputError("The rows of the sound's pieces cancel out.")
        rows = {"sound": (mean_D / length).astype(np.float32)}
        if num_pieces < len(rows_VD):
            rows["frames"] = rows_VD[num_pieces]
        return rows


def heard_samples(media: ShotMedia) -> NDArray[np.float32]:
    """Return what is heard while the picture lasts, shape (C, N).

    Raises:
        InputError: If there is no sound, or a sample is not finite.
    """
    if media.sound is None:
        raise InputError("The shot has no sound.")
    sound_CN = media.sound[:2, : round(media.facts.num_frames / media.facts.frame_rate * media.sample_rate)]
    if not np.isfinite(sound_CN).all():
        raise InputError("The sound has samples that are not finite.")
    return sound_CN


def is_silent(sound_CN: NDArray[np.float32]) -> bool:
    """Return whether no sample reaches the level of silence."""
    return bool(np.abs(sound_CN).max(initial=0.0) < 10 ** (SILENCE_DBFS / 20))


def sound_levels(sound_CN: NDArray[np.float32], sample_rate: int, picture_seconds: float) -> NDArray[np.float64]:
    """Return the levels of a shot's sound, in the order of `LEVELS`.

    `loudness_lufs` by ITU-R BS.1770-4 with both gates; `true_peak_dbtp` and `sample_peak_dbfs`; all three -inf where
    nothing is heard. `clipping_share` of the samples at or beyond full scale, `silence_share` of the picture's time;
    both in [0, 1].

    Args:
        sound_CN: Mono or stereo, full scale 1.
        sample_rate: Samples per second.
        picture_seconds: How long the picture lasts; what the sound lacks of it is silent.
    """
    sample_peak = float(np.abs(sound_CN).max(initial=0.0))
    hop = sample_rate * HOP_SECONDS
    num_hops = max(1, round(picture_seconds / HOP_SECONDS))
    edges = np.minimum(np.round(np.arange(num_hops + 1) * hop).astype(np.int64), sound_CN.shape[1])
    sums = np.concatenate([[0.0], np.cumsum(np.square(sound_CN, dtype=np.float64).mean(axis=0))])
    power_H = np.diff(sums[edges]) / hop
    return np.array(
        [
            integrated_loudness(sound_CN, sample_rate),
            _decibels(true_peak(sound_CN)),
            _decibels(sample_peak),
            float((np.abs(sound_CN) >= CLIPPED).mean()) if sound_CN.size else 0.0,
            float((power_H < 10 ** (SILENCE_DBFS / 10)).mean()),
        ]
    )


def onset_strength(mono_N: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return how much begins in each hop: the mean rise of the bands' log levels, shape (H,), from 0 on.

    Sound that is shorter than a window has no onsets. The sound's own beginning is none: it is where the shot was cut.
    """
    hop, window = sample_rate * HOP_SECONDS, round(sample_rate * _WINDOW_SECONDS)
    num_hops = int(len(mono_N) / hop + 1e-9)
    if len(mono_N) <= window or num_hops < 2:
        return np.zeros(num_hops)
    padded = np.pad(mono_N, (window // 2, window), mode="reflect")
    starts = np.round((np.arange(num_hops) + 0.5) * hop).astype(np.int64)
    weights, bands = _window(window), _band_weights(window, sample_rate)
    levels = []
    for first in range(0, num_hops, 1000):
        places = starts[first : first + 1000, None] + np.arange(window)
        spectrum = np.fft.rfft(padded[places] * weights, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        levels.append(np.log1p(_LOG_GAIN * np.sqrt(power @ bands)))
    level_HB = np.concatenate(levels).astype(np.float64)
    return np.asarray(np.maximum(np.diff(level_HB, axis=0, prepend=level_HB[:1]), 0.0).mean(axis=1))


def motion_energy(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return the root of the mean change of lightness from each frame to the next, shape (M,), in [0, 16].

    Args:
        frames: RGB, each uint8 of shape (rows, columns, 3).
    """
    small = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), MOTION_SIZE, interpolation=cv2.INTER_AREA)
        for frame in frames
    ]
    pairs = itertools.pairwise(small)
    return np.sqrt([float(np.abs(after.astype(np.int16) - before).mean()) for before, after in pairs])


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf


@lru_cache
def _window(size: int) -> NDArray[np.float32]:
    """Return a Hann window, scaled so that a sine of full scale has the magnitude 1."""
    window = np.hanning(size + 1)[:-1]
    return (window / (window.sum() / 2)).astype(np.float32)


@lru_cache
def _band_weights(window: int, sample_rate: int) -> NDArray[np.float32]:
    """Return which bins of a spectrum belong to which band, shape (bins, bands)."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in _BAND_RANGE_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, _NUM_BANDS + 1) / 2595) - 1)
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate)
    inside = (frequencies[:, None] >= edges[:-1]) & (frequencies[:, None] < edges[1:])
    return inside.astype(np.float32)
