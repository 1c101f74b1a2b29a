"""Audio alignment from files to numbers: sync that is there is found, what is not there is counted with its reason."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from audio_toys import FRAME_RATE, RATE, jumping_shot, make_clap

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.audio_base import load_audio_model
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.engine import encode_stories
from animeshooter_hf.eval.metrics.audio_alignment import AudioAlignment
from animeshooter_hf.eval.story_metric import MetricScores
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import encode_flac, write_video

SILENT = encode_flac(np.zeros((1, 3 * RATE), np.float32), RATE)


def make_story(number: int, *, late_seconds: float = 0.0, num_shots: int = 3) -> StoryPrediction:
    """Return a story whose shots are arrays with their sound beside them."""
    shots = [jumping_shot(10 * number + index, late_seconds=late_seconds) for index in range(num_shots)]
    return StoryPrediction(
        story_id=f"story_{number}",
        ip_id=f"ip_{number}",
        shots=tuple(frames for frames, _ in shots),
        sound=tuple(encode_flac(sound, RATE) for _, sound in shots),
    )


def score(stories: list[StoryPrediction], metric: AudioAlignment | None = None) -> MetricScores:
    metric = metric or AudioAlignment(EncodingSettings(), load_backbone("classical"))
    return metric.score(encode_stories(stories, [metric], metric.settings))


def mean_of(scores: MetricScores, name: str) -> float:
    return float(np.mean([value for one in scores.stories.values() if (value := one.values[name]) is not None]))


@pytest.fixture(scope="module")
def stories() -> list[StoryPrediction]:
    return [make_story(number) for number in range(4)]


@pytest.fixture(scope="module")
def scores(stories: list[StoryPrediction]) -> MetricScores:
    return score(stories)


def test_clicks_at_every_jump_beat_the_sounds_of_other_shots(scores: MetricScores) -> None:
    assert mean_of(scores, "sync_auc") > 0.95
    assert mean_of(scores, "sync") > mean_of(scores, "sync_others") + 0.3
    assert mean_of(scores, "sync_lag_abs_ms") < 60
    assert all(one.n_evaluated == 3 for one in scores.stories.values())


def test_the_same_clicks_half_a_second_late_are_chance(scores: MetricScores) -> None:
    late = score([make_story(number, late_seconds=0.5) for number in range(4)])
    assert mean_of(late, "sync_auc") < 0.75
    assert mean_of(late, "sync") < mean_of(scores, "sync") - 0.2


def test_one_sound_under_every_shot_is_chance(stories: list[StoryPrediction]) -> None:
    sound = stories[0].sound[0]
    same = score([replace(story, sound=(sound,) * 3) for story in stories])
    assert mean_of(same, "sync_auc") == 0.5


def test_every_number_stands_in_directions_and_lies_in_its_range(scores: MetricScores) -> None:
    for story in scores.stories.values():
        assert set(story.values) == set(AudioAlignment.directions)
        assert 0 <= story.values["sync_auc"] <= 1  # type: ignore[operator]
        assert -1 <= story.values["sync"] <= 1  # type: ignore[operator]
        assert 0 <= story.values["silence_share"] < 1  # type: ignore[operator]
        assert story.values["sound_text"] is None
        assert story.values["sound_video_contrast"] is None
    assert AudioAlignment.headline in AudioAlignment.directions


def test_the_order_of_stories_changes_no_number(stories: list[StoryPrediction], scores: MetricScores) -> None:
    backwards = score(stories[::-1])
    assert {name: dict(one.values) for name, one in backwards.stories.items()} == {
        name: dict(one.values) for name, one in scores.stories.items()
    }


def test_shots_without_sound_are_skipped_broken_ones_fail_and_silent_ones_say_so(
    stories: list[StoryPrediction],
) -> None:
    story = replace(
        stories[0],
        shots=(*stories[0].shots[:1],) * 4,
        sound=(None, b"no sound at all", SILENT, stories[0].sound[0]),
    )
    found = score([story, *stories[1:]])
    counts = found.stories["story_0"]
    assert (counts.n_evaluated, counts.n_failed, counts.n_skipped) == (1, 1, 2)
    without, broken, silent, whole = found.problems["story_0"]
    assert without == "The shot has no sound."
    assert broken
    assert "silent" in silent
    assert whole == ""
    rows = found.shots["story_0"]
    assert rows[0]["silence_share"] is None
    assert rows[2]["silence_share"] == 1.0
    assert rows[2]["loudness_lufs"] is None
    assert rows[2]["sync"] is None
    assert rows[3]["sync"] is not None


def test_a_story_without_any_sound_has_no_numbers(stories: list[StoryPrediction]) -> None:
    found = score([replace(stories[0], sound=())]).stories["story_0"]
    assert set(found.values.values()) == {None}
    assert (found.n_evaluated, found.n_failed, found.n_skipped) == (0, 0, 3)


def test_a_picture_that_stands_still_has_levels_but_no_sync(stories: list[StoryPrediction]) -> None:
    still = np.repeat(stories[0].shots[0][:1], 49, axis=0)  # type: ignore[index]
    found = score([replace(stories[0], shots=(still,) * 3), stories[1]])
    assert found.stories["story_0"].values["sync"] is None
    assert found.stories["story_0"].values["loudness_lufs"] is not None
    assert found.stories["story_0"].n_skipped == 3
    assert "still" in found.problems["story_0"][0]


def test_a_single_shot_has_a_sync_and_no_control(stories: list[StoryPrediction]) -> None:
    one = replace(stories[0], shots=stories[0].shots[:1], sound=stories[0].sound[:1])
    found = score([one]).stories["story_0"].values
    assert found["sync"] is not None
    assert found["sync_auc"] is None
    assert found["loudness_jump_lu"] is None


def test_louder_shots_make_jumps(stories: list[StoryPrediction]) -> None:
    sounds = [jumping_shot(index)[1] for index in range(3)]
    even = replace(stories[0], sound=tuple(encode_flac(sounds[0] * gain, RATE) for gain in (0.5, 0.5, 0.5)))
    uneven = replace(stories[0], sound=tuple(encode_flac(sounds[0] * gain, RATE) for gain in (0.5, 0.05, 0.5)))
    assert score([even]).stories["story_0"].values["loudness_jump_lu"] == pytest.approx(0.0, abs=0.1)
    assert score([uneven]).stories["story_0"].values["loudness_jump_lu"] == pytest.approx(20.0, abs=0.3)


def test_sound_inside_a_video_file_is_found(tmp_path: Path) -> None:
    paths = []
    for index in range(3):
        frames, sound = jumping_shot(70 + index)
        paths.append(
            write_video(tmp_path / f"{index}.mp4", frames, Fraction(FRAME_RATE), audio=sound, sample_rate=RATE)
        )
    found = score([StoryPrediction(story_id="files", ip_id="a", shots=tuple(paths))])
    assert found.stories["files"].n_evaluated == 3
    assert found.stories["files"].values["sync_auc"] == 1.0


@pytest.fixture(scope="module")
def clap_metric(tmp_path_factory: pytest.TempPathFactory) -> AudioAlignment:
    folder = tmp_path_factory.mktemp("clap")
    make_clap(folder)
    return AudioAlignment(EncodingSettings(audio_backend=f"clap:{folder}"), load_backbone("classical"))


def test_a_sound_encoder_compares_sounds_with_their_captions(
    stories: list[StoryPrediction], clap_metric: AudioAlignment
) -> None:
    captions = ("a dog barks", "rain falls", "the bell rings")
    told = replace(stories[0], sound_captions=captions)
    partly = replace(stories[1], sound_captions=("a dog barks", "", " "), sound=(*stories[1].sound[:2], SILENT))
    found = score([told, partly, stories[2]], clap_metric)
    values = found.stories["story_0"].values
    assert -1 <= values["sound_text"] <= 1  # type: ignore[operator]
    assert values["sound_text_contrast"] is not None
    assert values["sound_text_contrast"] == pytest.approx(0.0, abs=0.2), "random weights know nothing"
    assert values["sound_video"] is None, "CLAP sees nothing"
    rows = found.shots["story_1"]
    assert [row["sound_text"] is None for row in rows] == [False, True, True]
    assert rows[0]["sound_text_contrast"] is None, "there is no other caption"
    assert found.stories["story_2"].values["sound_text"] is None
    assert found.stories["story_0"].n_evaluated == 3


def test_the_signature_names_the_sound_encoder(clap_metric: AudioAlignment) -> None:
    plain = AudioAlignment(EncodingSettings(), load_backbone("classical"))
    assert "encoder:none" in plain.signature
    assert "clap|sha256:" in clap_metric.signature
    assert clap_metric.signature != plain.signature


def test_an_unknown_sound_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="no sound model 'dog'"):
        AudioAlignment(EncodingSettings(audio_backend="dog"), load_backbone("classical"))


def test_a_constructed_encoder_that_knows_its_sounds_has_full_contrast(
    stories: list[StoryPrediction], clap_metric: AudioAlignment
) -> None:
    """The arithmetic from rows to numbers: rows are put in by hand, as a perfect encoder would give them."""
    assert clap_metric.audio_model is not None
    captions = ("a dog barks", "rain falls", "the bell rings")
    told = replace(stories[0], sound_captions=captions)
    encoded = encode_stories([told], [clap_metric], clap_metric.settings)[0]
    texts = clap_metric.audio_model.embed_text(captions)
    shots = [
        replace(shot, arrays={**shot.arrays, "clip.sound": texts[index]}) for index, shot in enumerate(encoded.shots)
    ]
    values = clap_metric.score([replace(encoded, shots=tuple(shots))]).stories["story_0"].values
    assert values["sound_text"] == pytest.approx(1.0, abs=1e-6)
    assert values["sound_text_retrieval_at_1"] == 1.0
    assert values["sound_text_auc"] == 1.0


def test_load_audio_model_wants_a_well_formed_name() -> None:
    for spec in ("clap:", "clap:folder@", "pe-av:@main"):
        with pytest.raises(InputError, match="is written NAME or NAME:REPO_OR_FOLDER"):
            load_audio_model(spec)
    with pytest.raises(InputError, match="dtype must be one of"):
        load_audio_model("clap", dtype="int8")
