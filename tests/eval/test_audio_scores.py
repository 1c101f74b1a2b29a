"""The arithmetic of sync: what goes together is found with its lag, what does not is chance, and nothing is guessed."""

import itertools

import numpy as np
import pytest

from animeshooter_hf.eval.audio_scores import (
    HOP_SECONDS,
    SoundTrack,
    VisualTrack,
    level_jumps,
    other_tracks,
    sync_against_others,
    sync_of,
)

RATE = 16.0


def visual(num_frames: int = 49, seed: int = 0) -> VisualTrack:
    """Return a picture in which now and then something moves."""
    motion = np.random.default_rng(seed).gamma(0.4, 1.0, num_frames - 1)
    return VisualTrack(motion, np.arange(num_frames) / RATE)


def sound_of(track: VisualTrack, lag_seconds: float = 0.0, tail_seconds: float = 0.5) -> SoundTrack:
    """Return a sound that begins whenever the picture moves, so much later."""
    num_hops = round((track.seconds[-1] + tail_seconds) / HOP_SECONDS)
    middles = (np.arange(num_hops) + 0.5) * HOP_SECONDS - lag_seconds
    interval = np.searchsorted(track.seconds, middles, side="right") - 1
    inside = (interval >= 0) & (interval < len(track.motion_M))
    return SoundTrack(np.where(inside, track.motion_M[np.clip(interval, 0, len(track.motion_M) - 1)], 0.0))


@pytest.mark.parametrize("lag_ms", [-200, -60, 0, 60, 200])
def test_a_sound_that_follows_the_picture_is_found_with_its_lag(lag_ms: int) -> None:
    track = visual()
    found = sync_of(track, sound_of(track, lag_ms / 1000))
    assert found is not None
    assert found.peak > 0.85
    assert found.lag_ms == pytest.approx(lag_ms, abs=15)


def test_a_sound_that_is_half_a_second_late_is_not_found() -> None:
    peaks, late_peaks = [], []
    for seed in range(12):
        track = visual(seed=seed)
        peaks.append(sync_of(track, sound_of(track)).peak)  # type: ignore[union-attr]
        late_peaks.append(sync_of(track, sound_of(track, 0.5)).peak)  # type: ignore[union-attr]
    assert np.mean(peaks) > 0.9
    assert np.mean(late_peaks) < 0.5


def test_own_sounds_beat_those_of_other_shots_and_unrelated_ones_do_not() -> None:
    tracks = [visual(seed=seed) for seed in range(30)]
    own = [sound_of(track) for track in tracks]
    unrelated = [sound_of(visual(seed=1000 + seed)) for seed in range(30)]
    for sounds, low, high in ((own, 0.97, 1.0), (unrelated, 0.35, 0.65)):
        areas = []
        for index, track in enumerate(tracks):
            found = sync_against_others(track, sounds[index], sounds[:index] + sounds[index + 1 :])
            assert found is not None
            assert found.auc is not None
            areas.append(found.auc)
        assert low <= np.mean(areas) <= high


def test_a_sound_that_is_the_same_in_every_shot_is_chance() -> None:
    track = visual()
    sound = sound_of(track)
    found = sync_against_others(track, sound, [sound, SoundTrack(sound.onset_H.copy())])
    assert found is not None
    assert found.auc == 0.5
    assert found.others == found.peak


def test_own_and_other_sound_are_compared_over_the_same_time() -> None:
    track = visual(num_frames=97)
    whole = sound_of(track)
    short = SoundTrack(whole.onset_H[:150])
    found = sync_against_others(track, whole, [short])
    assert found is not None
    assert found.auc == 0.5, "a shorter copy of the own sound is neither better nor worse"


def test_what_does_not_vary_has_no_sync() -> None:
    track = visual()
    still = VisualTrack(np.zeros(48), track.seconds)
    assert sync_of(still, sound_of(track)) is None
    assert sync_of(track, SoundTrack(np.zeros(300))) is None
    assert sync_against_others(still, sound_of(track), [sound_of(track)]) is None


def test_shots_of_fewer_than_eight_intervals_have_no_sync() -> None:
    short = visual(num_frames=8)
    assert sync_of(short, sound_of(short)) is None
    assert sync_of(visual(), SoundTrack(np.ones(20))) is None
    assert sync_of(VisualTrack(np.zeros(0), np.zeros(0)), SoundTrack(np.ones(300))) is None


def test_without_a_usable_other_sound_there_is_a_peak_and_no_control() -> None:
    track = visual()
    found = sync_against_others(track, sound_of(track), [SoundTrack(np.zeros(300)), SoundTrack(np.ones(3))])
    assert found is not None
    assert found.peak > 0.9
    assert (found.others, found.auc) == (None, None)


def test_the_correlation_is_pearsons_of_motion_and_mean_onset() -> None:
    track = VisualTrack(visual().motion_M, np.arange(49) / 20)  # an interval is five hops
    followed = sound_of(track)
    noise = np.random.default_rng(5).gamma(0.5, 0.3, len(followed.onset_H))
    sound = SoundTrack(followed.onset_H + noise)
    means = [_mean_between(sound.onset_H, *pair) for pair in itertools.pairwise(track.seconds)]
    middles = (track.seconds[:-1] + track.seconds[1:]) / 2
    around = [track.motion_M[np.abs(middles - one) <= 1.0 + 1e-9].mean() for one in middles]
    found = sync_of(track, sound)
    assert found is not None
    assert found.lag_ms == 0
    assert found.peak == pytest.approx(np.corrcoef(track.motion_M - around, means)[0, 1], abs=1e-12)


def _mean_between(onset: np.ndarray, begin: float, end: float) -> float:
    sums = np.concatenate([[0.0], np.cumsum(onset)])
    places = np.arange(len(sums)) * HOP_SECONDS
    return float(np.diff(np.interp([begin, end], places, sums))[0] / (end - begin))


def test_each_shot_is_held_against_as_many_others_whatever_their_order() -> None:
    names = [f"story {index}" for index in range(50)]
    chosen = other_tracks(names, most=20)
    assert chosen == other_tracks(names[::-1], most=20)
    assert all(len(set(others)) == 20 and name not in others for name, others in chosen.items())
    served = [sum(name in others for others in chosen.values()) for name in names]
    assert served == [20] * 50


def test_few_shots_are_held_against_all_others() -> None:
    assert other_tracks(["a"]) == {"a": ()}
    assert {name: set(others) for name, others in other_tracks(["a", "b", "c"]).items()} == {
        "a": {"b", "c"},
        "b": {"a", "c"},
        "c": {"a", "b"},
    }
    with pytest.raises(ValueError, match="same name"):
        other_tracks(["a", "a"])


def test_jumps_are_between_neighbours_that_are_heard() -> None:
    assert level_jumps([-20.0, -26.0, None, -30.0, -29.0]) == pytest.approx(3.5)
    assert level_jumps([-20.0, None, -20.0]) is None
    assert level_jumps([]) is None
