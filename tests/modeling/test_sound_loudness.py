"""Loudness by BS.1770-4 against known tones and against FFmpeg's meter; a limiter that keeps its word."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.sound.mastering import LevelSettings, level_sound, limit_peaks, match_loudness
from animeshooter_hf.video.loudness import integrated_loudness, true_peak
from animeshooter_hf.video.sound import audio_frames

RATE = 48_000


def tone(level_db: float, seconds: float = 3.0, rate: int = RATE, channels: int = 2) -> NDArray[np.float32]:
    """Return a sine of 997 Hz at a peak level."""
    wave = 10 ** (level_db / 20) * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


def noise(scale: float, seconds: float = 3.0, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, scale, (2, round(seconds * RATE))).astype(np.float32)


def ffmpeg_meter(audio: NDArray[np.float32], rate: int) -> dict[str, float]:
    """Return integrated loudness and linear true peak as FFmpeg's ebur128 filter measures them."""
    graph = av.filter.Graph()
    layout = "mono" if len(audio) == 1 else "stereo"
    source = graph.add("abuffer", f"sample_rate={rate}:sample_fmt=fltp:channel_layout={layout}:time_base=1/{rate}")
    meter, sink = graph.add("ebur128", "metadata=1:peak=true"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    told: dict[str, str] = {}
    for frame in [*audio_frames(audio, rate, 0), None]:
        graph.push(frame)
        while True:
            try:
                told = dict(graph.pull().metadata) or told
            except (av.error.BlockingIOError, av.error.EOFError):
                break
    return {"loudness": float(told["lavfi.r128.I"]), "peak": float(told["lavfi.r128.true_peak"])}


def test_a_full_scale_tone_in_one_channel_reads_minus_3_01() -> None:
    assert integrated_loudness(tone(0.0, channels=1), RATE) == pytest.approx(-3.01, abs=0.01)


# EBU Tech 3341 v4, cases 1 to 3 (with 997 Hz in place of 1 kHz): tones of both channels, and the relative gate.
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23.0, 20)], -23.0),
        ([(-33.0, 20)], -33.0),
        ([(-36.0, 10), (-23.0, 60), (-36.0, 10)], -23.0),
        ([(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)], -23.0),
        ([(-26.0, 20), (-20.0, 20.1), (-26.0, 20)], -23.0),
    ],
)
def test_the_ebu_tones_read_what_they_should(parts: list[tuple[float, float]], expected: float) -> None:
    rate = 16_000
    audio = np.concatenate([tone(level, seconds, rate) for level, seconds in parts], axis=1)
    assert integrated_loudness(audio, rate) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_noise_reads_as_on_ffmpegs_meter(rate: int, channels: int) -> None:
    audio = noise(0.1)[:channels]
    audio[:, : rate // 2] *= 0.05
    assert integrated_loudness(audio, rate) == pytest.approx(ffmpeg_meter(audio, rate)["loudness"], abs=0.02)


def test_what_is_too_quiet_or_empty_has_no_loudness() -> None:
    assert integrated_loudness(np.zeros((2, RATE), np.float32), RATE) == -np.inf
    assert integrated_loudness(tone(-80.0), RATE) == -np.inf
    assert integrated_loudness(np.zeros((2, 0), np.float32), RATE) == -np.inf


def test_sound_shorter_than_a_block_is_measured() -> None:
    assert integrated_loudness(tone(-20.0, 0.2), RATE) == pytest.approx(-20.0, abs=0.2)


def test_long_sound_is_weighted_in_pieces_without_a_seam() -> None:
    rate = 8_000
    audio = np.random.default_rng(1).normal(0, 0.1, (1, 45 * rate)).astype(np.float32)
    assert integrated_loudness(audio, rate) == pytest.approx(ffmpeg_meter(audio, rate)["loudness"], abs=0.02)


def test_a_peak_between_the_samples_is_found() -> None:
    wave = np.sin(2 * np.pi * 12_000 * np.arange(4_800) / RATE + np.pi / 4).astype(np.float32)
    wave *= np.hanning(len(wave)).astype(np.float32)
    assert np.abs(wave).max() == pytest.approx(0.707, abs=0.001)
    assert true_peak(wave[None]) == pytest.approx(1.0, abs=0.003)


@pytest.mark.parametrize("level", [-40.0, -23.0, 0.0])
def test_sound_is_brought_to_the_target(level: float) -> None:
    settings = LevelSettings(target_lufs=-23.0)
    assert integrated_loudness(level_sound(tone(level), RATE, settings), RATE) == pytest.approx(-23.0, abs=0.05)


def test_levelling_lifts_no_more_than_allowed_and_leaves_silence() -> None:
    lifted = level_sound(tone(-50.0), RATE, LevelSettings(max_gain_db=6.0))
    assert integrated_loudness(lifted, RATE) == pytest.approx(-44.0, abs=0.05)
    silence = np.zeros((2, RATE), np.float32)
    assert np.array_equal(level_sound(silence, RATE), silence)


@pytest.mark.parametrize("kind", ["noise", "clicks", "square", "burst"])
def test_no_true_peak_rises_above_the_ceiling(kind: str) -> None:
    seconds = np.arange(2 * RATE) / RATE
    audio = {
        "noise": noise(0.8, 2.0),
        "clicks": np.where(np.random.default_rng(2).random((2, 2 * RATE)) < 1e-3, 1.5, 0.0),
        "square": np.repeat(np.sign(np.sin(2 * np.pi * 110 * seconds))[None] * 2, 2, axis=0),
        "burst": noise(1.0, 2.0) * (np.sin(2 * np.pi * 3 * seconds) > 0.8),
    }[kind].astype(np.float32)
    limited = limit_peaks(audio, RATE, 0.5)
    assert true_peak(limited) <= 0.5
    assert true_peak(limited) > 0.45


def test_sound_below_the_ceiling_passes_the_limiter_bit_by_bit() -> None:
    audio = tone(-10.0)
    assert np.array_equal(limit_peaks(audio, RATE, 0.5), audio)


def test_the_limiter_leaves_what_is_far_from_a_peak() -> None:
    audio = tone(-20.0, 1.0)
    audio[:, RATE // 2] = 2.0
    limited = limit_peaks(audio, RATE, 0.5)
    scale = true_peak(limited) / 0.5
    assert scale == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(limited[:, : RATE // 4], audio[:, : RATE // 4], rtol=0.02)


def test_both_channels_are_held_down_together() -> None:
    audio = np.stack([tone(6.0)[0], tone(-20.0)[0]])
    limited = limit_peaks(audio, RATE, 0.5)
    ratio = limited[1, 1000:-1000] / audio[1, 1000:-1000]
    np.testing.assert_allclose(limited[0, 1000:-1000] / audio[0, 1000:-1000], ratio, rtol=1e-3)


def test_matching_moves_shots_towards_their_middle() -> None:
    sounds = [tone(-30.0), tone(-26.0), np.zeros((2, RATE), np.float32), tone(-20.0)]
    levels = [integrated_loudness(one, RATE) for one in match_loudness(sounds, RATE)]
    assert levels[0] == pytest.approx(-26.0, abs=0.05)
    assert levels[3] == pytest.approx(-26.0, abs=0.05)
    assert levels[2] == -np.inf
    half = [integrated_loudness(one, RATE) for one in match_loudness(sounds, RATE, amount=0.5)]
    assert half[0] == pytest.approx(-28.0, abs=0.05)
    assert all(np.array_equal(a, b) for a, b in zip(match_loudness(sounds, RATE, amount=0.0), sounds, strict=True))


def test_settings_and_sound_that_cannot_be_used_are_refused() -> None:
    for wrong in ({"target_lufs": 3}, {"ceiling_dbtp": 1}, {"max_gain_db": -1}, {"target_lufs": "loud"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            LevelSettings(**wrong)
    with pytest.raises(InputError, match="finite"):
        level_sound(np.full((2, 10), np.nan, np.float32), RATE)
    with pytest.raises(InputError, match="amount"):
        match_loudness([tone(-20.0)], RATE, amount=2.0)
    with pytest.raises(ValueError, match="1 or 2 channels"):
        integrated_loudness(np.zeros((3, 10), np.float32), RATE)
