"""The features of a sound track: the same however it is cut into frames, placed by time stamps, silent in gaps."""

from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.events import EventSettings, sound_events
from animeshooter_hf.dataset_builder.audio.features import (
    FEATURE_NAMES,
    SILENCE_DB,
    SoundAccumulator,
    SoundFeatures,
)
from animeshooter_hf.toon.sound import note, sound_effect, syllable_sound

RATE = 44_100


def frames_of(audio_T: NDArray[np.float32], size: int, *, rate: int = RATE, first: int = 0) -> list[av.AudioFrame]:
    """Return frames of `size` samples whose first sample stands at `first`."""
    frames = []
    for begin in range(0, len(audio_T), size):
        block = np.ascontiguousarray(audio_T[None, begin : begin + size], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, first + begin, Fraction(1, rate)
        frames.append(frame)
    return frames


def features_of(frames: list[av.AudioFrame], origin: Fraction = Fraction(0)) -> SoundFeatures:
    accumulator = SoundAccumulator(origin)
    for frame in frames:
        accumulator.add(frame)
    features = accumulator.finish()
    assert features is not None
    return features


def taps(*times: float, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    audio = np.zeros(round(seconds * rate), np.float32)
    wave = sound_effect("tap", 0, rate)
    for time in times:
        start = round(time * rate)
        audio[start : start + len(wave)] += wave
    return audio


def first_heard(features: SoundFeatures) -> float:
    return float(np.flatnonzero(features.arrays["level_db"] > -50)[0] * features.hop_seconds)


def test_a_track_cut_into_other_frames_gives_the_same_features() -> None:
    audio = np.random.default_rng(0).standard_normal(RATE * 12).astype(np.float32) * 0.1
    first = features_of(frames_of(audio, 1024))
    second = features_of(frames_of(audio, 4999))
    assert set(first.arrays) == set(FEATURE_NAMES)
    for name in FEATURE_NAMES:
        assert first.arrays[name].dtype == np.float32
        assert first.arrays[name].shape == (1200,)
        np.testing.assert_allclose(first.arrays[name], second.arrays[name], atol=0.05, rtol=1e-3)


def test_features_survive_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    features = features_of(frames_of(taps(0.5, seconds=2), 1024))
    np.savez(tmp_path / "sound.npz", **features.arrays)
    with np.load(tmp_path / "sound.npz") as data:
        read = SoundFeatures(hop_seconds=features.hop_seconds, arrays={name: data[name] for name in data.files})
    for name in FEATURE_NAMES:
        np.testing.assert_array_equal(read.arrays[name], features.arrays[name])
    assert read.duration_seconds == pytest.approx(2.0)
    assert read.bands().shape == (200, 12)


def test_sound_before_the_picture_is_dropped_and_sound_that_begins_late_follows_silence() -> None:
    audio = taps(1.0, seconds=3)
    assert first_heard(features_of(frames_of(audio, 1024))) == pytest.approx(1.0, abs=0.02)
    assert first_heard(features_of(frames_of(audio, 1024), Fraction(1, 4))) == pytest.approx(0.75, abs=0.02)
    late = features_of(frames_of(audio, 1024, first=2 * RATE))
    assert first_heard(late) == pytest.approx(3.0, abs=0.02)
    assert (late.arrays["level_db"][:190] == SILENCE_DB).all()
    assert not features_of(frames_of(audio, 1024), Fraction(10)).num_hops


def test_a_gap_in_the_time_stamps_becomes_silence_of_that_length() -> None:
    audio = taps(0.5, seconds=1)
    features = features_of([*frames_of(audio, 1000), *frames_of(audio, 1000, first=9 * RATE)])
    heard = np.flatnonzero(features.arrays["level_db"] > -50) * features.hop_seconds
    assert features.duration_seconds == pytest.approx(10.0, abs=0.011)
    assert heard[0] == pytest.approx(0.5, abs=0.02)
    assert heard[-1] == pytest.approx(9.55, abs=0.08)
    assert not ((heard > 1.0) & (heard < 9.4)).any()


def test_time_stamps_that_step_back_do_not_move_what_was_there() -> None:
    audio = taps(0.5, seconds=1)
    features = features_of([*frames_of(audio, 1000), *frames_of(audio, 1000, first=RATE // 2)])
    assert features.duration_seconds == pytest.approx(1.5, abs=0.011)
    heard = np.flatnonzero(features.arrays["level_db"] > -50) * features.hop_seconds
    assert (np.abs(heard - 0.5) < 0.1).sum() > 2
    assert (heard > 0.95).sum() > 2


def test_coarse_time_stamps_are_joined_without_a_seam() -> None:
    audio = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE * 4) / RATE)).astype(np.float32)
    frames = frames_of(audio, 1024)
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = round(number * 1024 / RATE * 1000), Fraction(1, 1000)
    features = features_of(frames)
    assert features.duration_seconds == pytest.approx(4.0, abs=0.011)
    assert float(np.ptp(features.arrays["level_db"][5:-5])) < 0.5
    assert (features.arrays["onset"][10:-10] < 20).all()


def test_a_change_of_rate_and_layout_in_the_middle_keeps_time() -> None:
    first = frames_of(taps(0.5, seconds=1), 1024)
    second = frames_of(taps(0.5, seconds=1, rate=48_000), 1024, rate=48_000, first=48_000)
    features = features_of([*first, *second])
    starts = [event.start_seconds for event in sound_events(features)]
    np.testing.assert_allclose(starts, [0.5, 1.5], atol=0.015)


def test_frames_without_time_stamps_follow_on() -> None:
    frames = frames_of(taps(0.5, seconds=1), 1000)
    for frame in frames[1:]:
        frame.pts = None
    assert features_of(frames).duration_seconds == pytest.approx(1.0, abs=0.011)


def test_no_frame_gives_no_features_and_a_far_time_stamp_no_flood() -> None:
    assert SoundAccumulator(Fraction(0)).finish() is None
    features = features_of([*frames_of(taps(0.5, seconds=1), 1024), *frames_of(taps(seconds=1), 1024, first=10**12)])
    assert features.duration_seconds == pytest.approx(1.0, abs=0.011)


def test_voices_music_and_noise_differ_in_the_features_made_for_them() -> None:
    voice = np.concatenate([syllable_sound(0.2, vowel, 220, RATE) for vowel in (0, 1, 2, 3, 4)])
    chord = sum(np.asarray(note(midi, 3.0, 2, RATE)) for midi in (48, 52, 55))
    noise = np.random.default_rng(1).standard_normal(RATE * 2).astype(np.float32) * 0.1
    heard = {
        name: features_of(frames_of(np.asarray(wave, np.float32), 1024)).arrays
        for name, wave in {"voice": voice, "chord": chord, "noise": noise}.items()
    }
    medians = {name: float(np.median(arrays["voice_db"][10:-10])) for name, arrays in heard.items()}
    assert medians["voice"] > 5 > 3.5 > max(medians["chord"], medians["noise"])
    assert float(np.median(heard["voice"]["pitch_hz"][10:-10])) == pytest.approx(220, rel=0.1)
    assert float(np.median(heard["chord"]["partials"][50:-50])) >= 3
    assert float(np.median(heard["noise"]["partials"])) == 0
    assert float(np.median(heard["noise"]["flatness"])) > 0.3 > float(np.median(heard["chord"]["flatness"]))


@pytest.mark.parametrize("kind", ["footstep", "tap", "thud", "pop", "bell", "splash", "bounce"])
def test_a_struck_sound_is_found_within_an_aac_frame_of_its_first_sample(kind: str) -> None:
    times = (0.503, 1.2371, 2.0019, 2.9)
    audio = np.zeros(RATE * 5, np.float32)
    for time in times:
        wave = sound_effect(kind, 1, RATE)
        start = round(time * RATE)
        audio[start : start + len(wave)] += 0.5 * wave
    starts = [event.start_seconds for event in sound_events(features_of(frames_of(audio, 1024)))]
    assert all(min(abs(start - time) for start in starts) <= 1024 / RATE for time in times)
    ends = [event.end_seconds for event in sound_events(features_of(frames_of(taps(1.0, seconds=2), 1024)))]
    assert ends == [pytest.approx(1.1, abs=0.03)]


def test_silence_has_no_events_and_a_higher_limit_finds_fewer() -> None:
    assert sound_events(features_of(frames_of(np.zeros(RATE, np.float32), 1024))) == ()
    noise = (np.random.default_rng(2).standard_normal(RATE * 3) * 0.05).astype(np.float32)
    features = features_of(frames_of(noise + taps(1.0, seconds=3), 1024))
    few, many = (sound_events(features, EventSettings(rise_db=limit)) for limit in (45.0, 10.0))
    assert len(few) < len(many)
