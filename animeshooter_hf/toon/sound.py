"""Synthesise sounds: effects of actions, babbled speech, notes of music. All mono, all from numpy.

Effects start at their first sample: what is struck or stepped on is loudest within a few milliseconds, so that the
time in the truth is the time that is heard.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["SOUND_KINDS", "note", "sound_effect", "syllable_sound"]

Wave = NDArray[np.float32]

_FORMANTS = ((750, 1200, 2500), (500, 1800, 2500), (320, 2250, 3000), (480, 900, 2400), (340, 750, 2300))
"""Resonances in Hz of a, e, i, o and u."""


def _seconds(length: float, rate: int) -> NDArray[np.float64]:
    return np.arange(round(length * rate)) / rate


def _sweep(length: float, rate: int, *frequencies: float) -> NDArray[np.float64]:
    """Return a tone that glides through the frequencies."""
    times = _seconds(length, rate)
    points = np.linspace(0, length, len(frequencies))
    return np.sin(2 * np.pi * np.cumsum(np.interp(times, points, frequencies)) / rate)


def _noise(length: float, rate: int, low: float, high: float, seed: int) -> NDArray[np.float64]:
    """Return noise between two frequencies, scaled to a peak of 1."""
    size = round(length * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    spectrum *= np.exp(-((low / np.maximum(frequencies, 1)) ** 4)) * np.exp(-((frequencies / high) ** 4))
    wave = np.fft.irfft(spectrum, size)
    return wave / max(float(np.abs(wave).max()), 1e-9)


def _decay(length: float, rate: int, half_life: float) -> NDArray[np.float64]:
    times = _seconds(length, rate)
    return 0.5 ** (times / half_life) * np.minimum(1, (length - times) / 0.01).clip(0)


def _swell(length: float, rate: int, peak: float = 0.4) -> NDArray[np.float64]:
    share = _seconds(length, rate) / length
    return np.sin(np.pi * np.where(share < peak, 0.5 * share / peak, 0.5 + 0.5 * (share - peak) / (1 - peak))) ** 2


def _footstep(rate: int, seed: int) -> NDArray[np.float64]:
    thump = _sweep(0.12, rate, 150, 80) * _decay(0.12, rate, 0.022)
    return 0.5 * thump + 0.35 * _noise(0.12, rate, 200, 1800, seed) * _decay(0.12, rate, 0.013)


def _boing(rate: int, seed: int) -> NDArray[np.float64]:
    wobble = 1 + 0.25 * np.sin(2 * np.pi * 22 * _seconds(0.5, rate))
    return 0.5 * _sweep(0.5, rate, 160, 420, 300, 380) * wobble * _decay(0.5, rate, 0.13)


def _thud(rate: int, seed: int) -> NDArray[np.float64]:
    low = _sweep(0.3, rate, 120, 48) * _decay(0.3, rate, 0.06)
    return 0.75 * low + 0.25 * _noise(0.3, rate, 60, 700, seed) * _decay(0.3, rate, 0.025)


def _swish(rate: int, seed: int) -> NDArray[np.float64]:
    return 0.3 * _noise(0.26, rate, 900, 4200, seed) * _swell(0.26, rate, 0.25)


def _tap(rate: int, seed: int) -> NDArray[np.float64]:
    return 0.5 * (_sweep(0.1, rate, 950, 900) + 0.4 * _sweep(0.1, rate, 2300, 2250)) * _decay(0.1, rate, 0.014)


def _snore(rate: int, seed: int) -> NDArray[np.float64]:
    times = _seconds(1.0, rate)
    buzz = np.sign(np.sin(2 * np.pi * (62 + 14 * times) * times)) * 0.5 + 0.5
    return 0.4 * _noise(1.0, rate, 90, 900, seed) * (0.35 + 0.65 * buzz) * _swell(1.0, rate, 0.55)


def _pop(rate: int, seed: int) -> NDArray[np.float64]:
    return 0.45 * _sweep(0.08, rate, 380, 1000) * _decay(0.08, rate, 0.02)


def _splash(rate: int, seed: int) -> NDArray[np.float64]:
    wave = 0.55 * _noise(0.7, rate, 400, 7000, seed) * _decay(0.7, rate, 0.09)
    for frequency, start_seconds in ((900, 0.12), (1300, 0.22), (1100, 0.34), (1500, 0.45)):
        drop = 0.12 * _sweep(0.05, rate, frequency, 1.7 * frequency) * _decay(0.05, rate, 0.015)
        start = round(start_seconds * rate)
        wave[start : start + len(drop)] += drop
    return wave


def _bell(rate: int, seed: int) -> NDArray[np.float64]:
    partials = ((1, 1.0, 0.35), (2.01, 0.6, 0.25), (2.8, 0.45, 0.18), (4.1, 0.3, 0.1), (5.4, 0.2, 0.06))
    wave = np.zeros(round(1.3 * rate))
    for ratio, level, half_life in partials:
        wave += 0.28 * level * _sweep(1.3, rate, 880 * ratio, 880 * ratio) * _decay(1.3, rate, half_life)
    return wave


def _bounce(rate: int, seed: int) -> NDArray[np.float64]:
    hit = 0.2 * _noise(0.2, rate, 300, 2000, seed) * _decay(0.2, rate, 0.008)
    return 0.55 * _sweep(0.2, rate, 260, 140) * _decay(0.2, rate, 0.035) + hit


def _slide_whistle(rate: int, seed: int) -> NDArray[np.float64]:
    vibrato = np.sin(2 * np.pi * 7 * _seconds(0.58, rate)) * 0.08 + 0.92
    ends = np.minimum(1, np.minimum(_seconds(0.58, rate), _seconds(0.58, rate)[::-1]) / 0.012)
    return 0.28 * _sweep(0.58, rate, 1500, 1150, 420) * vibrato * ends


def _whoosh(rate: int, seed: int) -> NDArray[np.float64]:
    low, high = _noise(0.45, rate, 200, 1200, seed), _noise(0.45, rate, 900, 3800, seed + 1)
    share = _seconds(0.45, rate) / 0.45
    return 0.45 * (low * (1 - share) + high * share) * _swell(0.45, rate, 0.3)


def _rumble(rate: int, seed: int) -> NDArray[np.float64]:
    return 0.8 * _noise(0.7, rate, 30, 160, seed) * _decay(0.7, rate, 0.2)


def _zap(rate: int, seed: int) -> NDArray[np.float64]:
    crackle = _noise(0.35, rate, 1500, 9000, seed) * _decay(0.35, rate, 0.04)
    return 0.4 * crackle + 0.25 * _sweep(0.35, rate, 2400, 300) * _decay(0.35, rate, 0.07)


_EFFECTS = {
    "footstep": _footstep,
    "boing": _boing,
    "thud": _thud,
    "swish": _swish,
    "tap": _tap,
    "snore": _snore,
    "pop": _pop,
    "splash": _splash,
    "bell": _bell,
    "bounce": _bounce,
    "slide_whistle": _slide_whistle,
    "whoosh": _whoosh,
    "rumble": _rumble,
    "zap": _zap,
}
SOUND_KINDS: tuple[str, ...] = tuple(_EFFECTS)
"""The kinds of effects."""


@lru_cache(maxsize=128)
def sound_effect(kind: str, variant: int, sample_rate: int) -> Wave:
    """Return an effect as mono samples in [-1, 1]; it must not be changed.

    Args:
        kind: One of `SOUND_KINDS`.
        variant: Varies the noise in it.
        sample_rate: Samples per second.
    """
    wave = np.clip(_EFFECTS[kind](sample_rate, 1000 + 10 * variant), -1, 1).astype(np.float32)
    wave.flags.writeable = False
    return wave


def syllable_sound(length_seconds: float, vowel: int, pitch_hz: float, sample_rate: int) -> Wave:
    """Return one syllable of babble: the harmonics of a voice under the resonances of a vowel."""
    times = _seconds(length_seconds, sample_rate)
    falling = pitch_hz * (1.04 - 0.08 * times / length_seconds)
    phase = 2 * np.pi * np.cumsum(falling) / sample_rate
    wave = np.zeros_like(times)
    for harmonic in range(1, max(2, int(min(4200, sample_rate / 2.2) / pitch_hz))):
        frequency = harmonic * pitch_hz
        level = sum(
            weight / (1 + ((frequency - formant) / 110) ** 2)
            for formant, weight in zip(_FORMANTS[vowel], (1.0, 0.6, 0.3), strict=True)
        )
        wave += (level + 0.02) * np.sin(harmonic * phase) / harmonic**0.3
    edges = np.minimum(1, np.minimum(times / 0.015, (length_seconds - times) / 0.03)).clip(0)
    return (0.3 * wave / max(float(np.abs(wave).max()), 1e-9) * edges).astype(np.float32)


@lru_cache(maxsize=256)
def note(midi: int, length_seconds: float, timbre: int, sample_rate: int) -> Wave:
    """Return a note of music; it must not be changed.

    Args:
        midi: Pitch, 69 is 440 Hz.
        length_seconds: How long it rings.
        timbre: 0 plucked, 1 mallet, 2 soft pad.
        sample_rate: Samples per second.
    """
    frequency = 440 * 2 ** ((midi - 69) / 12)
    times = _seconds(length_seconds, sample_rate)
    levels = ((1, 0.5, 0.33, 0.2), (1, 0.05, 0.0, 0.25), (1, 0.3, 0.12, 0.05))[timbre]
    wave = sum(level * np.sin(2 * np.pi * frequency * (n + 1) * times) for n, level in enumerate(levels))
    if timbre == 2:
        shape = np.minimum(1, np.minimum(times / 0.15, (length_seconds - times) / 0.3)).clip(0)
    else:
        shape = np.minimum(1, times / 0.004) * _decay(length_seconds, sample_rate, 0.12 + 0.1 * (timbre == 0))
    result = (0.4 * wave * shape).astype(np.float32)
    result.flags.writeable = False
    return result
