"""Cheap features of a film's sound, gathered inside the pass that decodes its picture.

The track is mixed to one channel at 16 kHz and put where its time stamps say; gaps are silence, and what lies before
the picture's first frame is dropped. Features are taken in blocks of a few seconds on a fixed grid, so they do not
depend on how the track is cut into frames, and only one block of samples is held.

Three Fourier transforms serve three questions, each with its own resolution:

    16 ms every 10 ms     when does something begin, and what colour has it?   bands, onset, flatness, centroid
    64 ms every 20 ms     is there a voice?          a comb of many harmonics (cepstral peak), as voices have
    128 ms every 40 ms    is there music?            partials that hold their pitch for longer than a syllable

Shape letters used below
    T samples    H hops    B bands    N bins
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import av
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["FEATURE_NAMES", "HOP_SECONDS", "NUM_BANDS", "SILENCE_DB", "SoundAccumulator", "SoundFeatures"]

_RATE = 16_000
_HOP = 160
HOP_SECONDS = _HOP / _RATE
"""Distance of two rows of features."""

NUM_BANDS = 12
"""Bands of the spectrum, about equally wide to the ear, 60 Hz to 8 kHz."""

SILENCE_DB = -90.0
"""Levels below this, in dB of full scale, are given as this."""

FEATURE_NAMES = (
    "level_db",
    "onset",
    "flatness",
    "centroid_hz",
    "zero_crossings",
    "pitch_hz",
    "voice_db",
    "partials",
    "partials_db",
    *(f"band_{number:02d}" for number in range(NUM_BANDS)),
)
"""Names of the arrays; see `SoundFeatures.arrays`."""

_BLOCK_HOPS, _CONTEXT_HOPS = 512, 64
_MAX_SECONDS = 6 * 3600
_JOIN_SECONDS = Fraction(1, 500)
_VOICE_RANGE_HZ = (75.0, 450.0)
_VOICE_TOP_HZ = 4000.0
_PARTIAL_RANGE_HZ = (85.0, 1250.0)
_HELD_FRAMES = 14
_LEAST_FRAMES = 10
_HIDDEN_FRAMES = _HELD_FRAMES - _LEAST_FRAMES
_PEAK_DB = 9.0

Samples = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SoundFeatures:
    """Features of a sound track, one row per hop, counted from the first frame of the picture."""

    hop_seconds: float
    """Distance of two rows; row n covers [n, n + 1) hops."""

    arrays: dict[str, NDArray[np.float32]]
    """Name -> one value per hop.

    `level_db` of the hop's samples, in dB of full scale. `onset` sum over the bands of what they rose, in dB, since the
    hop before. `flatness` 0 a tone to 1 noise. `centroid_hz` middle of the spectrum. `zero_crossings` share of samples.
    `voice_db` ripple of a harmonic comb in the spectrum below 4 kHz, `pitch_hz` its spacing. `partials` number of tones
    of 85 to 1250 Hz that hold their pitch for at least 0.36 s, `partials_db` level of the strongest. `band_NN` levels.
    """

    @property
    def num_hops(self) -> int:
        """Rows."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    @property
    def duration_seconds(self) -> float:
        """End of the last row."""
        return self.num_hops * self.hop_seconds

    def bands(self) -> NDArray[np.float32]:
        """Return the levels of all bands, shape (hops, bands)."""
        return np.stack([self.arrays[f"band_{number:02d}"] for number in range(NUM_BANDS)], axis=1)


class SoundAccumulator:
    """Takes the decoded frames of a sound track in order."""

    def __init__(self, origin_seconds: Fraction) -> None:
        """Begin; `origin_seconds` is the time stamp of the picture's first frame, which becomes second 0."""
        self._origin = Fraction(origin_seconds)
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[object, ...] = ()
        self._time_base = Fraction(1, _RATE)
        self._ticks_per_sample = 1.0
        self._tolerance = 0
        self._expected: float | None = None
        self._position = 0
        self._pieces: list[Samples] = []
        self._first = -_CONTEXT_HOPS * _HOP
        self._filled = 0
        self._next_hop = 0
        self._rows: list[dict[str, Samples]] = []
        self._has_sound = False

    def add(self, frame: av.AudioFrame) -> None:
        """Take a decoded frame; one without a time stamp follows on the last one."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base)
        if kind != self._format:
            self._begin_format(frame, kind)
        start: float | None = self._expected if frame.pts is None else frame.pts
        if self._expected is not None and start is not None and abs(start - self._expected) <= self._tolerance:
            start = self._expected  # coarse time stamps jitter; what follows on is joined without a seam
        else:
            self._flush()
            start = round(self._origin / self._time_base) if start is None else start
            self._position = round((Fraction(start) * self._time_base - self._origin) * _RATE)
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
        self._expected = start + frame.samples * self._ticks_per_sample
        self._has_sound = True
        for piece in self._resampler.resample(frame):
            self._place(_samples(piece))

    def finish(self) -> SoundFeatures | None:
        """Return the features, or None if no frame came."""
        if not self._has_sound:
            return None
        self._flush()
        num_hops = -(-max(self._filled, 0) // _HOP)
        while self._next_hop < num_hops:
            self._append(np.zeros((self._next_hop + _BLOCK_HOPS + _CONTEXT_HOPS) * _HOP - self._filled, np.float32))
        arrays = {
            name: np.concatenate([row[name] for row in self._rows] or [np.zeros(0, np.float32)])[:num_hops]
            for name in FEATURE_NAMES
        }
        return SoundFeatures(hop_seconds=HOP_SECONDS, arrays=arrays)

    def _begin_format(self, frame: av.AudioFrame, kind: tuple[object, ...]) -> None:
        """Begin a stretch of frames of one format and time base."""
        self._flush()
        self._format, self._expected = kind, None
        self._time_base = Fraction(frame.time_base or Fraction(1, frame.sample_rate))
        self._ticks_per_sample = float(1 / (frame.sample_rate * self._time_base))
        self._tolerance = max(1, int(_JOIN_SECONDS / self._time_base))

    def _flush(self) -> None:
        """Take what the resampler still holds."""
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                self._place(_samples(piece))
            self._resampler = None

    def _place(self, samples_T: Samples) -> None:
        """Put samples at the current position: a gap becomes silence, what was there already stays."""
        begin, end = self._position, self._position + len(samples_T)
        self._position = end
        if end > _MAX_SECONDS * _RATE:
            return
        if begin < self._filled:
            samples_T = samples_T[min(self._filled - begin, len(samples_T)) :]
        while begin > self._filled:
            self._append(np.zeros(min(begin - self._filled, _BLOCK_HOPS * _HOP), np.float32))
        if len(samples_T):
            self._append(samples_T)

    def _append(self, samples_T: Samples) -> None:
        """Add samples behind those that are there, and take the features of every block that is complete."""
        self._pieces.append(samples_T)
        self._filled += len(samples_T)
        while self._filled >= (self._next_hop + _BLOCK_HOPS + _CONTEXT_HOPS) * _HOP:
            held = np.concatenate([np.zeros(max(0, -self._first), np.float32), *self._pieces])
            self._first = (self._next_hop - _CONTEXT_HOPS) * _HOP
            self._rows.append(_block_features(held[: (_BLOCK_HOPS + 2 * _CONTEXT_HOPS) * _HOP]))
            self._next_hop += _BLOCK_HOPS
            self._first += _BLOCK_HOPS * _HOP
            self._pieces = [held[_BLOCK_HOPS * _HOP :]]


def _samples(frame: av.AudioFrame) -> Samples:
    # A plane is a buffer, though PyAV's types do not say so; `to_ndarray` takes twice as long for small frames.
    return np.frombuffer(frame.planes[0], np.float32, frame.samples).copy()  # type: ignore[call-overload]


def _block_features(samples_T: Samples) -> dict[str, Samples]:
    """Return name -> (H,) of the block in the middle of samples that reach `_CONTEXT_HOPS` further to either side."""
    if not samples_T.any():
        return _silence()
    middle = slice(_CONTEXT_HOPS, _CONTEXT_HOPS + _BLOCK_HOPS)
    block_HT = samples_T.reshape(-1, _HOP)[middle]
    features = {
        "level_db": _decibels(np.einsum("ht,ht->h", block_HT, block_HT) / _HOP),
        "zero_crossings": np.asarray(np.diff(np.signbit(block_HT), axis=1).mean(axis=1), np.float32),
    }
    features |= _colour(_power(samples_T, 256, 1, _CONTEXT_HOPS - 1, _BLOCK_HOPS + 1))
    features |= {key: np.repeat(row, 2) for key, row in _voice(samples_T).items()}
    features |= {key: np.repeat(row, 4) for key, row in _partials(samples_T).items()}
    return features


def _silence() -> dict[str, Samples]:
    levels = {name: SILENCE_DB for name in FEATURE_NAMES if name.endswith("level_db") or name.startswith("band_")}
    levels["partials_db"] = SILENCE_DB
    return {name: np.full(_BLOCK_HOPS, levels.get(name, 0.0), np.float32) for name in FEATURE_NAMES}


def _power(samples_T: Samples, size: int, step: int, first: int, count: int) -> Samples:
    """Return power spectra (count, size / 2 + 1) of windows about the middles of `step` hops, from hop `first` on.

    A full-scale sine has the power 1/2 at its peak.
    """
    start = first * _HOP + step * _HOP // 2 - size // 2
    windows = sliding_window_view(samples_T[start:], size)[:: step * _HOP][:count]
    spectrum = np.fft.rfft(windows * _window(size))
    return np.square(spectrum.real) + np.square(spectrum.imag)


def _colour(power_HN: Samples) -> dict[str, Samples]:
    """Return bands, onset, flatness and centroid; the first row is only what the second one is compared with."""
    bands_HB = _decibels(power_HN @ _band_weights())
    rise_HB = np.diff(np.maximum(bands_HB, -75.0), axis=0)
    power_HN, bands_HB = power_HN[1:, 1:], bands_HB[1:]
    total_H = power_HN.sum(axis=1) + 1e-12
    frequencies_N = np.arange(1, 129, dtype=np.float32) * (_RATE / 256)
    flatness_H = np.exp(np.log(power_HN + 1e-12).mean(axis=1)) / (total_H / 128)
    features = {f"band_{number:02d}": bands_HB[:, number] for number in range(NUM_BANDS)}
    features["onset"] = np.maximum(rise_HB, 0).sum(axis=1)
    features["flatness"] = np.minimum(flatness_H, 1).astype(np.float32)
    features["centroid_hz"] = power_HN @ frequencies_N / total_H
    return features


def _voice(samples_T: Samples) -> dict[str, Samples]:
    """Return the ripple of the strongest harmonic comb and its spacing, a row per two hops (cepstral peak)."""
    power_HN = _power(samples_T, 1024, 2, _CONTEXT_HOPS, _BLOCK_HOPS // 2)[:, : round(_VOICE_TOP_HZ / _RATE * 1024) + 1]
    level_HN = _decibels(power_HN)
    top_H = level_HN.max(axis=1, keepdims=True)
    level_HN = np.maximum(level_HN, np.maximum(top_H - 45.0, -80.0))
    cepstrum_HN = np.fft.irfft(level_HN, axis=1)
    first, last = (round(2 * _VOICE_TOP_HZ / hertz) for hertz in _VOICE_RANGE_HZ[::-1])
    best_H = cepstrum_HN[:, first : last + 1].argmax(axis=1) + first
    ripple_H = 2 * cepstrum_HN[np.arange(len(best_H)), best_H]
    ripple_H = np.where(top_H[:, 0] > -60.0, np.maximum(ripple_H, 0), 0)
    return {
        "voice_db": ripple_H.astype(np.float32),
        "pitch_hz": np.where(ripple_H > 0, 2 * _VOICE_TOP_HZ / best_H, 0).astype(np.float32),
    }


def _partials(samples_T: Samples) -> dict[str, Samples]:
    """Return how many tones hold their pitch, and the level of the strongest, a row per four hops."""
    margin = _HELD_FRAMES
    count = _BLOCK_HOPS // 4 + 2 * margin
    low, high = (round(hertz / _RATE * 2048) for hertz in _PARTIAL_RANGE_HZ)
    power_HN = _power(samples_T, 2048, 4, _CONTEXT_HOPS - 4 * margin, count)[:, low - 8 : high + 9]
    level_HN = _decibels(power_HN)
    around_HN = sliding_window_view(level_HN, 17, axis=1).mean(axis=2)
    inner_HN = level_HN[:, 8:-8]
    stands_out_HN = (inner_HN - around_HN > _PEAK_DB) & (inner_HN > -70.0)
    sums_HN = np.cumsum(np.pad(stands_out_HN, ((1, 0), (0, 0))), axis=0, dtype=np.int16)
    held_HN = sums_HN[_HELD_FRAMES:] - sums_HN[:-_HELD_FRAMES] >= _LEAST_FRAMES
    held_HN = np.pad(held_HN, ((_HELD_FRAMES - 1, _HELD_FRAMES - 1), (0, 0)))
    held_HN = np.asarray(sliding_window_view(held_HN, _HELD_FRAMES, axis=0).any(axis=2))
    # A frame belongs to a tone if the tone stands out near it on both sides: a hit may hide it, its ends stay sharp.
    framed_HN = np.pad(stands_out_HN, ((_HIDDEN_FRAMES, _HIDDEN_FRAMES), (0, 0)))
    near_HN = np.asarray(sliding_window_view(framed_HN, _HIDDEN_FRAMES + 1, axis=0).any(axis=2))
    held_HN = held_HN & near_HN[: len(held_HN)] & near_HN[_HIDDEN_FRAMES:]
    padded_HN = np.pad(held_HN, ((0, 0), (1, 0)))
    runs_H = (padded_HN[:, 1:] & ~padded_HN[:, :-1]).sum(axis=1)
    strongest_H = np.where(held_HN, inner_HN, SILENCE_DB).max(axis=1)
    kept = slice(margin, margin + _BLOCK_HOPS // 4)
    return {"partials": runs_H[kept].astype(np.float32), "partials_db": strongest_H[kept].astype(np.float32)}


def _decibels(power: Samples) -> Samples:
    return (10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))).astype(np.float32)


@lru_cache
def _window(size: int) -> Samples:
    """Return a Hann window, scaled so that the power at the peak of a sine is its mean power."""
    window = np.hanning(size + 1)[:-1]
    return (window / window.sum() * np.sqrt(2)).astype(np.float32)


@lru_cache
def _band_weights() -> Samples:
    """Return (N, B): which bins of 256-point spectra belong to which band."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (60.0, 8000.0))
    mel = np.linspace(low, high, NUM_BANDS + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(129) * (_RATE / 256)
    return np.stack([(frequencies >= a) & (frequencies < b) for a, b in pairwise(edges)], 1).astype(np.float32)
