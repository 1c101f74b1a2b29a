"""How loud sound is, by the rule of broadcasting, and how high its true peaks are.

Source: Recommendation ITU-R BS.1770-4, annex 1 (integrated loudness, two gates) and annex 2 (true peak).

The recommendation gives its weighting filter for 48 kHz only. For other rates the same analogue filter is taken to the
digital side anew, as libebur128 and FFmpeg do. It is applied to the spectrum of long padded blocks, which needs numpy
alone; its ringing has died out to 1e-9 after the second that each block is padded by. Blocks are powers of two long,
for the Fourier transform's sake.

Shape letters used below
    C channels    T samples    B blocks of 400 ms
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["SILENCE_LUFS", "integrated_loudness", "k_weighted", "oversampled_peaks", "true_peak"]

SILENCE_LUFS = -70.0
"""Blocks below this are not heard (BS.1770-4, absolute gate)."""

_RELATIVE_GATE_LU = 10.0
_OFFSET = -0.691
_BLOCK_SECONDS = 0.4
_STEP_SECONDS = 0.1
_CHUNK_SECONDS = 20
_TAIL_SECONDS = 1

_PHASES = 4
"""BS.1770-4 asks for a rate of at least 192 kHz; four times 44.1 kHz is what libebur128 and FFmpeg take too."""
_HALF_TAPS = 16


def integrated_loudness(audio_CT: NDArray[np.float32], sample_rate: int) -> float:
    """Return the loudness of mono or stereo sound in LUFS, or -inf where nothing is heard.

    Sound shorter than a block of 400 ms is measured as one block, as if it went on at the same power.

    Args:
        audio_CT: Samples; full scale is [-1, 1].
        sample_rate: Samples per second.

    Raises:
        ValueError: If the shape is not (1 or 2, samples).
    """
    _check(audio_CT)
    if audio_CT.shape[1] == 0:
        return -math.inf
    power_B = _block_powers(k_weighted(audio_CT, sample_rate), sample_rate)
    heard_B = power_B[_lufs(power_B) > SILENCE_LUFS]
    if not heard_B.size:
        return -math.inf
    gate = float(_lufs(heard_B.mean())) - _RELATIVE_GATE_LU
    kept_B = heard_B[_lufs(heard_B) > gate]
    return float(_lufs(kept_B.mean()))


def true_peak(audio_CT: NDArray[np.float32]) -> float:
    """Return the highest level between and at the samples, 1.0 being full scale."""
    _check(audio_CT)
    return max(float(oversampled_peaks(audio_CT[channel]).max(initial=0.0)) for channel in range(len(audio_CT)))


def oversampled_peaks(audio_T: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each sample the highest magnitude from it to just before the next one, at four times the rate."""
    peaks_T = np.abs(audio_T).astype(np.float32)
    if len(audio_T):
        for taps in _interpolators():
            between_T = np.convolve(audio_T, taps, mode="full")[_HALF_TAPS - 1 :][: len(audio_T)]
            np.maximum(peaks_T, np.abs(between_T), out=peaks_T)
    return peaks_T


def k_weighted(audio_CT: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return sound as the rule hears it: a shelf for the head, a high-pass for the ear, shape (C, T)."""
    weighted_CT = np.zeros(audio_CT.shape, np.float64)
    chunk, tail = _CHUNK_SECONDS * sample_rate, _TAIL_SECONDS * sample_rate
    for start in range(0, audio_CT.shape[1], chunk):
        piece_CT = audio_CT[:, start : start + chunk].astype(np.float64)
        length = 1 << (piece_CT.shape[1] + tail - 1).bit_length()
        spectrum_CF = np.fft.rfft(piece_CT, length, axis=1) * _response(length, sample_rate)
        filtered_CT = np.fft.irfft(spectrum_CF, length, axis=1)
        room = min(length, audio_CT.shape[1] - start)
        weighted_CT[:, start : start + room] += filtered_CT[:, :room]
    return weighted_CT


def _block_powers(weighted_CT: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Return the mean square, summed over channels, of blocks of 400 ms that begin every 100 ms."""
    power_T = np.square(weighted_CT).sum(axis=0)
    block, step = round(_BLOCK_SECONDS * sample_rate), round(_STEP_SECONDS * sample_rate)
    if len(power_T) < block:
        return np.array([power_T.mean()])
    sums = np.concatenate([[0.0], np.cumsum(power_T)])
    starts = np.arange(0, len(power_T) - block + 1, step)
    return np.maximum(0.0, (sums[starts + block] - sums[starts]) / block)


def _lufs(power: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(_OFFSET + 10 * np.log10(power))


@lru_cache(maxsize=4)
def _response(length: int, sample_rate: int) -> NDArray[np.complex128]:
    """Return the frequency response of both stages of the weighting, for the bins of a real FFT."""
    delay_F = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    total_F = np.ones(len(delay_F), np.complex128)
    for numerator, denominator in (_shelf(sample_rate), _high_pass(sample_rate)):
        total_F *= np.polyval(numerator[::-1], delay_F) / np.polyval(denominator[::-1], delay_F)
    return total_F


def _shelf(sample_rate: int) -> tuple[list[float], list[float]]:
    """Return the first stage; at 48 kHz these are the coefficients of the recommendation."""
    tangent = math.tan(math.pi * 1681.974450955533 / sample_rate)
    quality, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    norm = 1 + tangent / quality + tangent**2
    numerator = [high + middle * tangent / quality + tangent**2, 2 * (tangent**2 - high),
                 high - middle * tangent / quality + tangent**2]  # fmt: skip
    denominator = [norm, 2 * (tangent**2 - 1), 1 - tangent / quality + tangent**2]
    return [value / norm for value in numerator], [value / norm for value in denominator]


def _high_pass(sample_rate: int) -> tuple[list[float], list[float]]:
    """Return the second stage."""
    tangent = math.tan(math.pi * 38.13547087602444 / sample_rate)
    quality = 0.5003270373238773
    norm = 1 + tangent / quality + tangent**2
    return [1.0, -2.0, 1.0], [1.0, 2 * (tangent**2 - 1) / norm, (1 - tangent / quality + tangent**2) / norm]


def _interpolators() -> Iterator[NDArray[np.float32]]:
    """Yield the filters that give the values a quarter, a half and three quarters after each sample."""
    for phase in range(1, _PHASES):
        offset = np.arange(-_HALF_TAPS + 1, _HALF_TAPS + 1) - phase / _PHASES
        taps = (
            np.sinc(offset)
            * np.kaiser(2 * _HALF_TAPS * 64 + 1, 8.0)[np.round((offset / _HALF_TAPS + 1) * _HALF_TAPS * 64).astype(int)]
        )
        yield (taps / taps.sum())[::-1].astype(np.float32)


def _check(audio_CT: NDArray[np.float32]) -> None:
    if audio_CT.ndim != 2 or audio_CT.shape[0] not in (1, 2):
        raise ValueError(f"Sound must have the shape (1 or 2 channels, samples), got {audio_CT.shape}.")
