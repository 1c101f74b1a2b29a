"""What is taken from the sound of a shot: levels as other meters tell them, onsets where something begins, motion."""

import math

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.audio_features import (
    LEVELS,
    MAX_FRAMES,
    SoundFeature,
    is_silent,
    motion_energy,
    onset_strength,
    sound_levels,
)
from animeshooter_hf.eval.shot_feature import ShotFacts, ShotMedia
from animeshooter_hf.video.sound import audio_frames

RATE = 48_000


def levels(sound: NDArray[np.float32], seconds: float, rate: int = RATE) -> dict[str, float]:
    return dict(zip(LEVELS, sound_levels(sound, rate, seconds).tolist(), strict=True))


def tone(level: float, seconds: float, rate: int = RATE, channels: int = 2) -> NDArray[np.float32]:
    wave = level * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


def media(sound: NDArray[np.float32] | None, num_frames: int = 32, rate: int = RATE) -> ShotMedia:
    facts = ShotFacts(num_frames=num_frames, frame_rate=16.0, has_sound=sound is not None)
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 36, 64, 3)).astype(np.uint8)
    return ShotMedia(facts=facts, frames=dict(enumerate(frames)), sound=sound, sample_rate=rate)


def ffmpeg_loudness(sound: NDArray[np.float32], rate: int) -> float:
    """Return the integrated loudness that FFmpeg's ebur128 filter measures."""
    graph = av.filter.Graph()
    layout = "mono" if len(sound) == 1 else "stereo"
    source = graph.add("abuffer", f"sample_rate={rate}:sample_fmt=fltp:channel_layout={layout}:time_base=1/{rate}")
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    told = math.nan
    for frame in [*audio_frames(sound, rate, 0), None]:
        graph.push(frame)
        while True:
            try:
                told = float(graph.pull().metadata.get("lavfi.r128.I", told))
            except (av.error.BlockingIOError, av.error.EOFError):
                break
    return told


@pytest.mark.parametrize("rate", [48_000, 44_100, 24_000])
def test_loudness_is_what_ffmpeg_measures(rate: int) -> None:
    generator = np.random.default_rng(rate)
    loud, soft = generator.normal(0, 0.2, (2, 3 * rate)), generator.normal(0, 0.02, (2, 3 * rate))
    sound = np.concatenate([loud, soft], axis=1).astype(np.float32)
    assert levels(sound, 6.0, rate)["loudness_lufs"] == pytest.approx(ffmpeg_loudness(sound, rate), abs=0.1)


def test_peaks_of_a_tone_are_its_level() -> None:
    told = levels(tone(0.5, 2.0), 2.0)
    assert told["sample_peak_dbfs"] == pytest.approx(-6.02, abs=0.02)
    assert told["true_peak_dbtp"] == pytest.approx(-6.02, abs=0.05)
    assert told["clipping_share"] == 0.0
    assert told["silence_share"] == 0.0


def test_the_share_of_clipped_samples_is_counted() -> None:
    sound = tone(0.5, 1.0, channels=1)
    sound[0, :4800] = 1.3
    assert levels(sound, 1.0)["clipping_share"] == pytest.approx(0.1)


def test_silence_is_what_is_silent_and_what_the_track_lacks() -> None:
    sound = tone(0.3, 2.0)
    sound[:, RATE:] = 0
    assert levels(sound, 2.0)["silence_share"] == pytest.approx(0.5, abs=0.01)
    assert levels(sound, 4.0)["silence_share"] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("num_samples", [0, 100, 2 * RATE])
def test_a_silent_track_is_all_silence_and_has_no_level(num_samples: int) -> None:
    sound = np.zeros((2, num_samples), np.float32)
    told = levels(sound, 2.0)
    assert told["silence_share"] == 1.0
    assert told["clipping_share"] == 0.0
    assert {told[name] for name in ("loudness_lufs", "true_peak_dbtp", "sample_peak_dbfs")} == {-math.inf}
    assert is_silent(sound)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_onsets_are_where_clicks_begin(rate: int) -> None:
    generator = np.random.default_rng(1)
    sound = generator.normal(0, 1e-4, 3 * rate).astype(np.float32)
    times = (0.5, 1.1, 1.73, 2.4)
    for seconds in times:
        sound[round(seconds * rate) : round((seconds + 0.02) * rate)] += 0.4
    onset = onset_strength(sound, rate)
    assert len(onset) == 300
    found = np.sort(np.argsort(onset)[::-1][: 2 * len(times)])
    assert all(np.abs(found * 0.01 - seconds).min() <= 0.02 for seconds in times)


def test_onsets_do_not_depend_on_silence_that_follows_and_the_cut_is_none() -> None:
    sound = np.random.default_rng(2).normal(0, 0.1, RATE).astype(np.float32)
    onset = onset_strength(sound, RATE)
    assert onset[:3].max() < 3 * np.median(onset), "a shot that begins in the midst of sound has no onset there"
    longer = onset_strength(np.concatenate([sound, np.zeros(RATE, np.float32)]), RATE)
    np.testing.assert_allclose(longer[:95], onset[:95], atol=1e-6)


def test_sound_shorter_than_a_window_has_no_onsets() -> None:
    assert onset_strength(np.ones(500, np.float32), RATE).tolist() == [0.0]
    assert onset_strength(np.zeros(0, np.float32), RATE).size == 0


def test_a_still_picture_has_no_motion_and_a_flash_has() -> None:
    still = np.full((4, 72, 128, 3), 80, np.uint8)
    np.testing.assert_array_equal(motion_energy(list(still)), np.zeros(3))
    still[2:] = 180
    assert motion_energy(list(still)).tolist() == pytest.approx([0.0, 10.0, 0.0])


@pytest.mark.parametrize(("rate", "step"), [(8, 1), (16, 1), (24, 2), (30, 2), (50, 4), (60, 5), (120, 10)])
def test_about_12_frames_a_second_are_looked_at(rate: int, step: int) -> None:
    wanted = SoundFeature().frames_wanted(ShotFacts(num_frames=3 * rate, frame_rate=rate, has_sound=True))
    assert list(wanted) == list(range(0, 3 * rate, step))


def test_no_frame_is_wanted_without_sound_and_never_more_than_200() -> None:
    feature = SoundFeature()
    assert list(feature.frames_wanted(ShotFacts(num_frames=90, frame_rate=16.0))) == []
    assert len(feature.frames_wanted(ShotFacts(num_frames=10**6, frame_rate=24.0, has_sound=True))) == MAX_FRAMES


def test_a_shot_without_sound_says_only_that() -> None:
    assert {name: array.tolist() for name, array in SoundFeature().extract(media(None)).items()} == {"present": [0]}


def test_what_is_heard_after_the_picture_does_not_count() -> None:
    sound = tone(0.3, 2.0)
    longer = np.concatenate([sound, tone(1.5, 1.0)], axis=1)
    first, second = SoundFeature().extract(media(sound)), SoundFeature().extract(media(longer))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


def test_onsets_reach_no_further_than_the_frames_looked_at() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 30 * 8_000)).astype(np.float32)
    facts = ShotFacts(num_frames=480, frame_rate=16.0, has_sound=True)
    frame = np.zeros((36, 64, 3), np.uint8)
    arrays = SoundFeature().extract(
        ShotMedia(facts=facts, frames=dict.fromkeys(range(480), frame), sound=sound, sample_rate=8_000)
    )
    assert len(arrays["motion"]) == MAX_FRAMES - 1
    assert len(arrays["onset"]) <= (MAX_FRAMES / 16 + 1) * 100 + 1


def test_samples_that_are_not_finite_are_refused() -> None:
    sound = tone(0.3, 2.0)
    sound[0, 5] = np.nan
    with pytest.raises(InputError, match="not finite"):
        SoundFeature().extract(media(sound))
