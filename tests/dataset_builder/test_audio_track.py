"""From a film's sound to annotated audio shots: questions, answers of every kind, and what is left out and why."""

import json
import wave
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.annotate.annotator import AudioRequest
from animeshooter_hf.dataset_builder.annotate.question import Answer, Picture, Sound, Text
from animeshooter_hf.dataset_builder.audio.describe import (
    AUDIO_SCHEMA,
    AudioAnswer,
    audio_question,
    encode_wav,
    parse_audio,
    true_audio,
)
from animeshooter_hf.dataset_builder.audio.features import SoundAccumulator
from animeshooter_hf.dataset_builder.audio.taggers import SoundTags
from animeshooter_hf.dataset_builder.audio.track import AudioResult, AudioTrackSettings, make_audio_story
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.records import Story
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.toon.script import MaskRecorder, write_script
from animeshooter_hf.video import index_frames, probe, write_video

WHOLE = {"kind": "effect", "type": "bell", "sound_description": "High.", "visual_context": "A bell."}


class Scene:
    """A film in a file with its scan and its truth."""

    def __init__(self, folder: Path, seed: int) -> None:
        film = ToonFilm.from_seed(seed, FilmSettings(seconds=40))
        path = folder / f"{film.film_id}.mp4"
        blank = np.zeros((16, 16, 3), np.uint8)
        write_video(path, (blank for _ in range(film.num_frames)), 24, audio=film.audio(), preset="ultrafast")
        self.script = write_script(film, MaskRecorder(film))
        self.story = Story.from_json(self.script["stories"][0])
        self.film = FilmSource(video_id=film.film_id, path=path, info=probe(path))
        accumulator = SoundAccumulator(Fraction(0))
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                accumulator.add(frame)
        self.scan = FilmScan(
            width=16,
            height=16,
            index=index_frames(path),
            boundaries=(),
            curve=np.zeros(film.num_frames, np.float32),
            samples=tuple(
                SampledFrame(frame=frame, jpeg=b"jpeg %d" % frame, phash=0) for frame in range(0, film.num_frames, 24)
            ),
            detector="none",
            sound=accumulator.finish(),
        )

    def run(self, annotator: Any, **options: Any) -> AudioResult:
        return make_audio_story(self.film, self.story, self.scan, annotator, **options)


class Teller:
    """An annotator that answers by a function and notes what it was asked."""

    def __init__(self, tell: Callable[[AudioRequest], str], outcome: Any = "ok") -> None:
        self.tell = tell
        self.outcome = outcome
        self.requests: list[AudioRequest] = []

    def describe_audio(self, request: AudioRequest) -> Answer:
        self.requests.append(request)
        return Answer(outcome=self.outcome, text=self.tell(request), detail="as told")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("films"), 4001)


def truthful(scene: Scene) -> Teller:
    return Teller(lambda request: json.dumps(true_audio(scene.script, request)))


def test_every_kept_audio_shot_is_annotated_whole_and_everything_else_has_a_reason(scene: Scene) -> None:
    result = scene.run(truthful(scene))
    assert result.story is not None
    assert len(result.story.shots) >= 2
    names = [shot.shot_id for shot in result.story.shots] + [one.name for one in result.dropped]
    assert sorted(names) == [f"{scene.story.story_id}_a{number:02d}" for number in range(len(result.shots))]
    for position, shot in enumerate(result.story.shots):
        assert shot.index == position
        assert shot.audio is not None
        assert all((shot.audio.audio_type, shot.audio.sound_description, shot.audio.visual_context))
        assert (shot.end_seconds or 0) - (shot.start_seconds or 0) > 3
        assert shot.start_frame in {one.start_frame for one in scene.story.shots}
    assert sum(result.counts.values()) == len(result.shots)
    assert all(one.numbers or one.detail for one in result.dropped)
    assert Story.from_json(result.story.to_json()) == replace(
        result.story, frame_rate=Story.from_json(result.story.to_json()).frame_rate
    )


def test_captions_characters_and_scene_come_from_the_covered_picture_shots(scene: Scene) -> None:
    result = scene.run(truthful(scene))
    assert result.story is not None
    for shot in result.story.shots:
        covered = [
            one
            for one in scene.story.shots
            if (shot.start_frame or 0) <= (one.start_frame or 0) < (shot.end_frame or 0)
        ]
        assert covered[0].start_frame == shot.start_frame
        assert covered[-1].end_frame == shot.end_frame
        assert all((one.descriptive_caption or "") in (shot.descriptive_caption or "") for one in covered)
        assert all((one.narrative_caption or "") in (shot.narrative_caption or "") for one in covered)
        assert set(shot.characters) == {name for one in covered for name in one.characters}
        scenes = {one.scene for one in covered} - {None}
        assert shot.scene == (scenes.pop() if len(scenes) == 1 else None)


def test_clear_speech_and_music_are_left_out_without_asking_anybody(scene: Scene) -> None:
    teller = truthful(scene)
    result = scene.run(teller)
    without_call = {"speech", "music", "silence"}
    silent = [one for one in result.dropped if one.reason in without_call and one.numbers]
    assert silent
    assert len(teller.requests) == len(result.shots) - len(silent)
    for one in silent:
        assert one.reason == "silence" or one.numbers[one.reason] > 0.5


def test_the_stage_gives_the_same_result_again(scene: Scene) -> None:
    assert scene.run(truthful(scene)) == scene.run(truthful(scene))


def test_requests_carry_the_sound_and_the_pictures_of_the_shot(scene: Scene) -> None:
    teller = truthful(scene)
    scene.run(teller)
    request = teller.requests[0]
    start, end = request.shot.start_frame or 0, request.shot.end_frame or 0
    with wave.open(BytesIO(request.wav)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16_000)
        assert file.getnframes() == pytest.approx((end - start) / 24 * 16_000, abs=1)
    assert request.samples
    assert all(start <= one.frame < end for one in request.samples)
    question = audio_question(request)
    assert [type(part) for part in question.parts] == [Text, *[Picture] * (len(question.parts) - 2), Sound]
    assert len(question.parts) <= 10
    assert question.schema == AUDIO_SCHEMA
    text = question.parts[0].text  # type: ignore[union-attr]
    assert "$" not in text
    assert scene.story.storyline in text
    with pytest.raises(ValueError, match="has no frames"):
        audio_question(replace(request, shot=replace(request.shot, start_frame=None, end_frame=None)))


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("", "blocked", "answer_blocked"),
        ("I hear nothing special.", "ok", "answer_incomplete"),
        (json.dumps({**WHOLE, "visual_context": " "}), "ok", "answer_incomplete"),
        (json.dumps({**WHOLE, "kind": "music"}), "ok", "annotator_hears_music"),
    ],
)
def test_answers_that_do_not_describe_an_effect_leave_the_shot_out(
    scene: Scene, text: str, outcome: str, reason: str
) -> None:
    result = scene.run(Teller(lambda _: text, outcome))
    assert result.story is None
    assert result.counts["kept"] == 0
    assert result.counts[reason] >= 2


def covering(scene: Scene, share: float) -> dict[str, Any]:
    """Return a script whose speech covers a share of every shot, from its start."""
    spans = [(shot.start_frame or 0, shot.end_frame or 0) for shot in scene.story.shots]
    return {"music": [], "speech": [[start / 24, (start + share * (end - start)) / 24] for start, end in spans]}


@pytest.mark.parametrize(("kind", "kept"), [("effect", True), ("speech", False)])
def test_the_annotator_decides_what_is_borderline(scene: Scene, kind: str, kept: bool) -> None:
    teller = Teller(lambda _: json.dumps({**WHOLE, "kind": kind}))
    result = scene.run(teller, script=covering(scene, 0.5))
    assert teller.requests
    assert (result.story is not None) == kept
    assert ("speech" in result.counts) == (not kept)


class Listener:
    """A tagger that always hears the same."""

    name = "always"
    sample_rate = 22_050

    def __init__(self, tags: SoundTags) -> None:
        self.tags = tags
        self.num_calls = 0

    def tag(self, audio_T: np.ndarray, rate: int) -> SoundTags:
        assert rate == self.sample_rate
        assert audio_T.ndim == 1
        assert len(audio_T) > 3 * rate
        self.num_calls += 1
        return self.tags


@pytest.mark.parametrize(
    ("tags", "reasons", "asked"),
    [
        (SoundTags(speech=0.9, music=0.1, effect=0.2), {"speech"}, False),
        (SoundTags(speech=0.1, music=0.9, effect=0.2), {"music"}, False),
        (SoundTags(speech=0.1, music=0.1, effect=0.9), {"annotator_hears_music"}, True),
        (SoundTags(speech=0.5, music=0.1, effect=0.9), {"music"}, True),
        (SoundTags(speech=0.1, music=None, effect=None), {"music"}, True),
    ],
)
def test_a_tagger_is_asked_before_the_annotator_about_borderline_shots_only(
    scene: Scene, tags: SoundTags, reasons: set[str], asked: bool
) -> None:
    teller, listener = Teller(lambda _: json.dumps({**WHOLE, "kind": "music"})), Listener(tags)
    result = scene.run(teller, tagger=listener, script=covering(scene, 0.5))
    assert listener.num_calls > 0
    assert bool(teller.requests) == asked
    assert {one.reason for one in result.dropped} == reasons


def test_a_tagger_is_not_asked_about_clear_shots(scene: Scene) -> None:
    listener = Listener(SoundTags(speech=0.9, music=0.9, effect=0.9))
    result = scene.run(truthful(scene), tagger=listener, script=covering(scene, 0.0))
    assert result.story is not None
    assert listener.num_calls == 0


def test_a_segment_full_of_speech_or_without_sound_or_too_short_is_left_out_as_a_whole(scene: Scene) -> None:
    teller = truthful(scene)
    speech = scene.run(teller, script=covering(scene, 1.0))
    assert [one.reason for one in speech.dropped] == ["segment_speech"]
    assert speech.dropped[0].numbers["speech"] > 0.9
    silent = make_audio_story(scene.film, scene.story, replace(scene.scan, sound=None), teller)
    assert silent.counts == {"no_sound": 1, "kept": 0}
    first = scene.story.shots[0]
    short = replace(
        scene.story,
        end_frame=60,
        shots=(replace(first, end_frame=60, start_frame=0, end_seconds=2.5, start_seconds=0),),
    )
    result = make_audio_story(scene.film, short, scene.scan, teller, script={"speech": [], "music": []})
    assert {one.reason for one in result.dropped} <= {"too_short", "segment_silence"}
    assert not teller.requests


def test_a_story_outside_the_film_is_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="do not lie in a film"):
        make_audio_story(scene.film, replace(scene.story, end_frame=9999), scene.scan, truthful(scene))
    with pytest.raises(ValueError, match="tagger_sure"):
        AudioTrackSettings(tagger_sure=0.4)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WHOLE),
        f"Here you are:\n```json\n{json.dumps(WHOLE)}\n```\nAnything else?",
        json.dumps([WHOLE]),
        json.dumps({"audio annotation": WHOLE}),
        json.dumps({"Kind": "Sound effect", "Type": "bell", "sound description": "High.", "Visual Context": "A bell."}),
        json.dumps(
            {"kind": ["effect"], "audio_type": ["bell"], "sound-description": "High.", "visual_context": "A bell."}
        ),
        json.dumps(WHOLE)[:-1] + ",}",
    ],
)
def test_answers_are_read_in_all_their_spellings(text: str) -> None:
    expected = AudioAnswer(kind="effect", audio_type="bell", sound_description="High.", visual_context="A bell.")
    assert parse_audio(text) == expected
    assert expected.missing == ()


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", "null", "{" * 5000, '{"kind": {"a": 1}}', "\x00\ud800", '{"type": true}']
)
def test_answers_that_say_nothing_give_an_empty_answer(text: str | None) -> None:
    answer = parse_audio(text)
    assert answer == AudioAnswer()
    assert len(answer.missing) == 4


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_an_answer(text: str) -> None:
    answer = parse_audio(text)
    assert answer.kind in (None, "effect", "speech", "music", "silence")
    answer.annotation()


def test_the_true_answer_names_the_sound_or_what_covers_most(scene: Scene) -> None:
    teller = truthful(scene)
    scene.run(teller)
    request = teller.requests[0]
    kinds = {sound["kind"] for sound in scene.script["sounds"]}
    assert kinds
    told = true_audio(scene.script, request)
    assert told["kind"] == "effect"
    truths = [row["audio_annotation"] for row in scene.script["stories"][0]["shots"] if row["audio_annotation"]]
    assert told["type"] in {one["audio_type"] for one in truths}
    loud = {**scene.script, "music": [[0.0, 40.0]]}
    assert true_audio(loud, request)["kind"] == "music"
    assert true_audio({**loud, "music": [], "speech": [[0.0, 40.0]]}, request)["kind"] == "speech"
    assert true_audio({**loud, "music": [], "speech": [], "sounds": []}, request)["kind"] == "silence"
    with pytest.raises(ValueError, match="has no frames"):
        true_audio(scene.script, replace(request, shot=replace(request.shot, start_frame=None, end_frame=None)))


def test_a_wav_keeps_every_sample() -> None:
    audio = np.linspace(-1, 1, 1000, dtype=np.float32)
    with wave.open(BytesIO(encode_wav(audio, 8000))) as file:
        read = np.frombuffer(file.readframes(2000), "<i2") / 32767
    np.testing.assert_allclose(read, audio, atol=1e-4)
