"""Speech, music, effects and silence told apart on toon sound, and audio shots cut where picture and sound change."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from animeshooter_hf.dataset_builder.audio.features import HOP_SECONDS, SoundAccumulator, SoundFeatures
from animeshooter_hf.dataset_builder.audio.gate import (
    GateSettings,
    SoundShares,
    Stretch,
    judge_shares,
    sound_shares,
    sound_stretches,
)
from animeshooter_hf.dataset_builder.audio.joint import (
    AudioShot,
    JointSettings,
    joint_shots,
    sound_change,
    true_joint_shots,
)
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.toon.script import MaskRecorder, write_script
from animeshooter_hf.video import FrameIndex, index_frames, write_video

AAC_FRAME = 1024 / 44_100
SEED = 4008  # speech, music and effects in one film; one of the seeds that the settings were fitted on


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], SoundFeatures, FrameIndex]:
    """Return the script of a film, the features of its sound after AAC, and its time."""
    film = ToonFilm.from_seed(SEED, FilmSettings())
    path = tmp_path_factory.mktemp("sound") / "film.mp4"
    blank = np.zeros((16, 16, 3), np.uint8)
    write_video(path, (blank for _ in range(film.num_frames)), 24, audio=film.audio(), preset="ultrafast")
    accumulator = SoundAccumulator(Fraction(0))
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            accumulator.add(frame)
    features = accumulator.finish()
    assert features is not None
    return write_script(film, MaskRecorder(film)), features, index_frames(path)


def covered(stretches: list[tuple[float, float]]) -> np.ndarray:
    times = (np.arange(6000) + 0.5) * HOP_SECONDS
    return np.any([(times >= begin) & (times < end) for begin, end in stretches], axis=0)


def test_speech_and_music_are_found_to_a_tenth_of_their_time(heard: Any) -> None:
    script, features, _ = heard
    stretches = sound_stretches(features)
    for kind in ("speech", "music"):
        found = covered([(one.start_seconds, one.end_seconds) for one in stretches if one.kind == kind])
        true = covered(script[kind])
        assert (found != true).sum() < (0.15 if kind == "speech" else 0.05) * true.sum()
        assert all(0.5 <= one.confidence <= 1 for one in stretches if one.kind == kind)


def test_stretches_cover_the_track_and_only_speech_and_music_overlap(heard: Any) -> None:
    _, features, _ = heard
    stretches = sound_stretches(features)
    masks = {
        kind: covered([(one.start_seconds, one.end_seconds) for one in stretches if one.kind == kind])
        for kind in ("speech", "music", "effect", "silence")
    }
    assert np.any(list(masks.values()), axis=0).all()
    for one, other in (("effect", "speech"), ("effect", "music"), ("effect", "silence"), ("silence", "speech")):
        assert not (masks[one] & masks[other]).any()
    assert sound_stretches(features) == stretches


def test_shares_are_those_of_the_overlap_and_beyond_the_track_is_silence() -> None:
    stretches = [Stretch(0, 4, "speech", 0.8), Stretch(2, 6, "music", 0.6), Stretch(6, 7, "effect", 0.9)]
    shares = sound_shares(stretches, 2, 12)
    assert shares.speech == pytest.approx(0.2)
    assert shares.music == pytest.approx(0.4)
    assert shares.sounding == pytest.approx(0.5)
    assert (shares.speech_confidence, shares.music_confidence) == (pytest.approx(0.8), pytest.approx(0.6))
    assert sound_shares([], 0, 3) == SoundShares(speech=0, music=0, sounding=0)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ({"speech": 0.9}, "speech"),
        ({"music": 0.9}, "music"),
        ({"speech": 0.1, "music": 0.2}, "keep"),
        ({"speech": 0.45}, "borderline"),
        ({"music": 0.6}, "borderline"),
        ({"music": 0.9, "music_confidence": 0.52}, "borderline"),
        ({"speech": 0.9, "speech_confidence": 0.52, "music": 0.9}, "music"),
        ({"sounding": 0.01}, "silence"),
    ],
)
def test_clear_shares_are_judged_and_those_near_the_limit_are_left_open(shares: dict[str, float], verdict: str) -> None:
    assert judge_shares(SoundShares(**{"speech": 0.0, "music": 0.0, "sounding": 1.0, **shares})) == verdict


def test_settings_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="max_covered must lie between 0 and 1"):
        GateSettings(max_covered=1.0)
    with pytest.raises(ValueError, match="room about max_covered"):
        GateSettings(max_covered=0.1, borderline=0.2)
    with pytest.raises(ValueError, match="min_seconds must be positive"):
        JointSettings(min_seconds=0)


def test_audio_shots_tile_the_film_are_longer_than_three_seconds_and_end_at_cuts(heard: Any) -> None:
    script, features, index = heard
    cuts = [one["frame"] for one in script["boundaries"]]
    shots = joint_shots(cuts, index, features)
    assert [shots[0].start_frame, *(shot.end_frame for shot in shots)] == [
        *(shot.start_frame for shot in shots),
        len(index),
    ]
    assert all(shot.end_seconds - shot.start_seconds > 3 for shot in shots)
    assert {shot.start_frame for shot in shots[1:]} <= set(cuts)
    assert shots[0].change is None
    assert all(shot.change is not None and shot.change.score >= 1 for shot in shots[1:])
    inside = {frame for shot in shots for frame in shot.cuts}
    assert inside | {shot.start_frame for shot in shots} == {0, *cuts}


def test_joint_boundaries_lie_within_an_aac_frame_of_the_truth(heard: Any) -> None:
    script, features, index = heard
    shots = joint_shots([one["frame"] for one in script["boundaries"]], index, features)
    found = [shot.start_seconds for shot in shots]
    rate = Fraction(script["frame_rate"])
    true = [float(start / rate) for start, _ in true_joint_shots(script)]
    assert len(found) > 5
    hits = [time for time in true if min(abs(time - one) for one in found) <= AAC_FRAME]
    assert len(hits) >= 0.8 * len(true)


def test_a_segment_is_cut_on_its_own_and_a_short_one_has_no_audio_shot(heard: Any) -> None:
    script, features, index = heard
    cuts = [one["frame"] for one in script["boundaries"]]
    segment = Segment(cuts[1], cuts[7])
    shots = joint_shots(cuts, index, features, segment=segment)
    assert (shots[0].start_frame, shots[-1].end_frame) == (cuts[1], cuts[7])
    assert joint_shots(cuts, index, features, segment=Segment(0, 60)) == []
    true = true_joint_shots(script, segment=segment)
    assert (true[0][0], true[-1][1]) == (cuts[1], cuts[7])
    assert true_joint_shots(script, segment=Segment(0, 60)) == []
    with pytest.raises(ValueError, match="do not lie in"):
        joint_shots(cuts, index, features, segment=Segment(0, 99_999))


def flat(num_hops: int) -> SoundFeatures:
    """Return features of a silent track."""
    names = [f"band_{number:02d}" for number in range(12)]
    arrays = {name: np.full(num_hops, -90, np.float32) for name in ("level_db", *names)}
    return SoundFeatures(hop_seconds=HOP_SECONDS, arrays=arrays)


def test_a_change_needs_another_sound_on_the_other_side() -> None:
    features = flat(1000)
    assert sound_change(features, 120, 0, 5, 10).score == 0
    features.arrays["level_db"][500:] = -20
    features.arrays["band_03"][500:] = -20
    change = sound_change(features, 120, 0, 5, 10)
    assert (change.sounding_before, change.sounding_after) == (0, 1)
    assert change.score >= 1
    features.arrays["level_db"][:500] = -20
    features.arrays["band_03"][:500] = -20
    assert sound_change(features, 120, 0, 5, 10).score < 1
    assert sound_change(features, 120, 20, 25, 30).score == 0


def test_a_sound_that_only_moves_to_another_band_is_a_change() -> None:
    features = flat(1000)
    features.arrays["level_db"][::4] = -20
    features.arrays["band_02"][0:500:4] = -20
    features.arrays["band_09"][500::4] = -20
    change = sound_change(features, 120, 0, 5, 10)
    assert change.level_db < 1
    assert change.timbre_db > 10
    assert change.score >= 1


def toon_truth(sounds: list[tuple[str, float, float]], cuts: list[int], num_frames: int) -> dict[str, Any]:
    return {
        "frame_rate": "24/1",
        "num_frames": num_frames,
        "boundaries": [{"frame": frame} for frame in cuts],
        "sounds": [{"kind": kind, "start_seconds": start, "end_seconds": end} for kind, start, end in sounds],
        "speech": [],
        "music": [[0.0, 100.0]],
    }


def test_the_truth_divides_only_where_the_kinds_of_sound_differ() -> None:
    sounds = [("tap", 1, 1.1), ("tap", 5, 5.1), ("bell", 9, 10), ("tap", 13, 13.1)]
    script = toon_truth(sounds, [96, 192, 288], 384)
    assert true_joint_shots(script) == [(0, 192), (192, 288), (288, 384)]
    short = toon_truth([("tap", 1, 1.1), ("bell", 3, 4), ("tap", 5, 5.1)], [48, 96], 140)
    assert true_joint_shots(short) == [(0, 140)]


def test_an_audio_shot_says_which_cuts_it_holds() -> None:
    shots = joint_shots([96, 192], FrameIndex(np.arange(384), Fraction(1, 24), np.array([0])), flat(1600))
    assert shots == [
        AudioShot(start_frame=0, end_frame=384, start_seconds=0.0, end_seconds=16.0, cuts=(96, 192), change=None)
    ]
