"""Bring a film's sound to one loudness without clipping.

One gain lifts or lowers the whole film, so shots keep their loudness to each other; what would then rise above the
ceiling between or at the samples is held down by a limiter that looks ahead.

AAC gives back other peaks than it was given: 2.9 dB higher for a dense mix, 5.4 dB for a square wave (measured). So
what comes near full scale is encoded and decoded once in memory, and turned down by what would clip.

Shape letters used below
    C channels    T samples
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video.loudness import integrated_loudness, oversampled_peaks, true_peak
from animeshooter_hf.video.sound import audio_frames

__all__ = ["LevelSettings", "keep_below_clipping", "level_sound", "limit_peaks", "match_loudness"]

_WINDOW_SECONDS = 0.005
"""How far the limiter looks ahead and holds. Our choice: 5 ms, the shortest that leaves low tones whole."""


_SAFE_PEAK = 0.4
_MAX_TURNS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSettings:
    """To what loudness a film's sound is brought."""

    target_lufs: float = -16.0
    """Integrated loudness. Our choice, near what streaming services play at; broadcasting takes -23 (EBU R 128)."""

    ceiling_dbtp: float = -2.0
    """Highest true peak before the encoder. Our choice: EBU R 128 allows -1; the rest is for the encoder."""

    max_gain_db: float = 20.0
    """Most that sound is lifted, so that near silence stays what it is. Our choice."""

    def __post_init__(self) -> None:
        for name, lowest, highest in (("target_lufs", -60, -5), ("ceiling_dbtp", -20, 0), ("max_gain_db", 0, 60)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
                raise InputError(f"{name} must lie in {lowest} to {highest}, got {value!r}.")


def level_sound(
    audio_CT: NDArray[np.float32], sample_rate: int, settings: LevelSettings | None = None
) -> NDArray[np.float32]:
    """Return sound at the target loudness whose true peaks stay below the ceiling; silence comes back as it is.

    Where peaks have to be held down, the result is quieter than the target: the limiter never lifts.

    Args:
        audio_CT: Samples of the whole film, one or two channels.
        sample_rate: Samples per second.
        settings: Target and ceiling.

    Raises:
        InputError: If a sample is not a finite number.
    """
    settings = settings or LevelSettings()
    if not np.isfinite(audio_CT).all():
        raise InputError("The sound holds values that are not finite numbers.")
    loudness = integrated_loudness(audio_CT, sample_rate)
    gain_db = 0.0
    if math.isfinite(loudness):
        gain_db = min(settings.target_lufs - loudness, settings.max_gain_db)
    ceiling = 10 ** (settings.ceiling_dbtp / 20)
    return limit_peaks(audio_CT * np.float32(10 ** (gain_db / 20)), sample_rate, ceiling)


def limit_peaks(audio_CT: NDArray[np.float32], sample_rate: int, ceiling: float) -> NDArray[np.float32]:
    """Return sound whose true peaks are at most the ceiling; sound below it comes back bit by bit.

    The gain of every sample is the least that any sample within the window needs, smoothed over the window, and the
    same on both sides, so that the picture of the stage does not move.

    Args:
        audio_CT: Samples.
        sample_rate: Samples per second.
        ceiling: Highest true peak, 1.0 being full scale.
    """
    peaks_T = np.max([oversampled_peaks(channel_T) for channel_T in audio_CT], axis=0)
    if peaks_T.max(initial=0.0) <= ceiling:
        return audio_CT
    needed_T = np.minimum(1.0, ceiling / np.maximum(peaks_T, 1e-12))
    half = max(1, round(_WINDOW_SECONDS * sample_rate))
    held_T = _sliding_minimum(np.pad(needed_T, 2 * half, constant_values=1.0), 2 * half + 1)
    sums = np.concatenate([[0.0], np.cumsum(held_T, dtype=np.float64)])
    smooth_T = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    limited_CT = (audio_CT * smooth_T).astype(np.float32)
    # A gain that moves shifts the values between samples by a trace.
    excess = true_peak(limited_CT) / ceiling
    return limited_CT if excess <= 1 else limited_CT * np.float32((1 - 1e-6) / excess)


def keep_below_clipping(audio_CT: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return stereo sound that does not clip after AAC: as it is, or turned down by as much as is needed.

    Sound whose true peak is below -8 dB is passed on unheard.
    """
    if true_peak(audio_CT) < _SAFE_PEAK:
        return audio_CT
    for _ in range(_MAX_TURNS):
        peak = _peak_after_aac(audio_CT, sample_rate)
        if peak < 1.0:
            return audio_CT
        audio_CT = audio_CT * np.float32(0.97 / peak)
    return audio_CT * np.float32(0.9)


def _peak_after_aac(audio_CT: NDArray[np.float32], sample_rate: int) -> float:
    """Return the highest sample that the encoder of our films gives back."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="stereo")
        for frame in audio_frames(audio_CT, sample_rate, 0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        return max((float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0)), default=0.0)


def match_loudness(
    sounds: Sequence[NDArray[np.float32]], sample_rate: int, *, amount: float = 1.0, max_gain_db: float = 6.0
) -> list[NDArray[np.float32]]:
    """Return the sounds of the shots moved towards their common loudness, so that joins do not jump.

    A quiet scene after a loud one is often meant, so nothing calls this unless asked to.

    Args:
        sounds: One per shot, of shape (C, T).
        sample_rate: Samples per second.
        amount: 0 leaves the differences, 1 takes them away.
        max_gain_db: Most that a shot is lifted or lowered.

    Raises:
        InputError: If `amount` does not lie in 0 to 1, or `max_gain_db` is negative.
    """
    if not 0 <= amount <= 1 or max_gain_db < 0:
        raise InputError(f"amount must lie in 0 to 1 and max_gain_db be positive, got {amount} and {max_gain_db}.")
    levels = [integrated_loudness(sound_CT, sample_rate) for sound_CT in sounds]
    heard = [level for level in levels if math.isfinite(level)]
    if not heard:
        return list(sounds)
    middle = float(np.median(heard))
    gains_db = [
        float(np.clip(amount * (middle - level), -max_gain_db, max_gain_db)) if math.isfinite(level) else 0.0
        for level in levels
    ]
    return [sound_CT * np.float32(10 ** (gain / 20)) for sound_CT, gain in zip(sounds, gains_db, strict=True)]


def _sliding_minimum(values_T: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the least of every `size` neighbours; one value for each full window. Van Herk's two passes."""
    blocks = -(-len(values_T) // size)
    padded = np.pad(values_T, (0, blocks * size - len(values_T)), constant_values=1.0).reshape(blocks, size)
    forward = np.minimum.accumulate(padded, axis=1).ravel()
    backward = np.minimum.accumulate(padded[:, ::-1], axis=1)[:, ::-1].ravel()
    count = len(values_T) - size + 1
    return np.minimum(backward[:count], forward[size - 1 : size - 1 + count])
