"""A story becomes a film: transitions, sound in step with the picture, chapters, and what it was made by."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.film import FilmSettings
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.sound import CallableScorer, SilenceScorer, SoundSettings
from animeshooter_hf.modeling.transitions import Transition
from animeshooter_hf.records import Story

RATE = 8000


class Tones:
    """A scorer that hums, and remembers what it was asked for."""

    max_seconds = None
    provenance = {"model": "tones"}  # noqa: RUF012 - the protocol wants an attribute

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        self.asked.append((prompt, seconds))
        height = 200 + len(prompt) + 100 * float(torch.rand((), generator=generator))
        times_T = np.arange(round(seconds * RATE)) / RATE
        return (0.1 * np.sin(2 * np.pi * height * times_T)).astype(np.float32), RATE


@pytest.fixture(scope="module")
def tones() -> Tones:
    return Tones()


@pytest.fixture(scope="module")
def film(
    pipeline: AnimeShooterGenPipeline, tones: Tones, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AnimeShooterGenOutput, Path]:
    output = pipeline(
        ["Rain falls.", "Snow falls.", "The sun shines."],
        num_inference_steps=1,
        shot_settings={
            0: {"transition": "dissolve:4"},
            1: {"audio_prompt": "wind howls", "num_frames": 17, "transition": "fade:4"},
            2: {"audio_prompt": ""},
        },
        audio_scorer=tones,
        sound=SoundSettings(sample_rate=RATE),
    )
    path = tmp_path_factory.mktemp("film") / "story.mp4"
    output.save(path)
    return output, path


def test_each_shot_has_sound_exactly_as_long_as_itself(film: tuple[AnimeShooterGenOutput, Path]) -> None:
    output, _ = film
    assert output.audio is not None
    assert [sound.shape for sound in output.audio] == [(2, 9000), (2, 17000), (2, 9000)]
    assert [bool(sound.any()) for sound in output.audio] == [True, True, False]
    assert output.sample_rate == RATE
    assert output.sound_provenance == {"model": "tones"}


def test_a_shots_own_words_are_what_the_scorer_is_asked_for(
    film: tuple[AnimeShooterGenOutput, Path], tones: Tones
) -> None:
    (first, _), (second, seconds) = tones.asked[:2]
    assert "Rain falls." in first
    assert second == "wind howls."
    assert seconds == 17 / 8


def test_the_film_has_the_shots_transitions_and_chapters(film: tuple[AnimeShooterGenOutput, Path]) -> None:
    output, path = film
    assert output.state.transitions == (
        Transition(kind="dissolve", num_frames=4),
        Transition(kind="fade", num_frames=4),
    )
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        chapters = container.chapters()
        metadata = json.loads(container.metadata["animeshooter"])
    assert frames == 9 + 17 + 9 - 4
    assert [chapter["start"] * chapter["time_base"] for chapter in chapters] == [0, Fraction(7, 8), Fraction(22, 8)]
    assert metadata["ai_generated"] is True
    assert metadata["weights_origin"] == "random"
    assert metadata["sound"] == {"model": "tones"}


def test_sound_and_picture_of_the_film_end_together(film: tuple[AnimeShooterGenOutput, Path]) -> None:
    _, path = film
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples / RATE - 31 / 8) <= 1024 / RATE


def test_a_film_can_be_put_together_anew_with_other_transitions(
    film: tuple[AnimeShooterGenOutput, Path], tmp_path: Path
) -> None:
    output, _ = film
    plan = output.save(tmp_path / "cut.mp4", FilmSettings(transitions=Transition()))
    assert plan.num_frames == 35


def test_a_film_of_a_state_needs_no_output(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput, tmp_path: Path
) -> None:
    plan = pipeline.film(whole.state, tmp_path / "silent.mp4")
    assert plan.num_frames == 27
    with av.open(str(tmp_path / "silent.mp4")) as container:
        assert not container.streams.audio
    pipeline.film(whole.state.cut_to(1), tmp_path / "one.mp4", audio_scorer=SilenceScorer())
    with av.open(str(tmp_path / "one.mp4")) as container:
        assert container.streams.audio
    with pytest.raises(InputError, match="no film of a story of which no shot is done"):
        pipeline.film(whole.state.cut_to(0), tmp_path / "none.mp4")


def test_making_a_shot_anew_asks_for_one_sound_when_the_others_are_kept(
    pipeline: AnimeShooterGenPipeline, story: Story, tmp_path: Path
) -> None:
    tones = Tones()
    sound: dict[str, Any] = {"audio_scorer": tones, "sound_folder": tmp_path, "sound": SoundSettings(sample_rate=RATE)}
    made = pipeline(story, require_references=False, num_inference_steps=1, **sound)
    assert len(tones.asked) == 3
    edited = pipeline.regenerate_shot(made.state, 1, settings={"audio_prompt": "a bell"}, **sound)
    assert [prompt for prompt, _ in tones.asked[3:]] == ["a bell."]
    assert made.audio is not None
    assert edited.audio is not None
    assert [np.array_equal(a, b) for a, b in zip(made.audio, edited.audio, strict=True)] == [True, False, True]
    again = pipeline.resume(edited.state, **sound)
    assert again.audio is not None
    assert all(np.array_equal(a, b) for a, b in zip(again.audio, edited.audio, strict=True))
    assert len(tones.asked) == 4


def test_sound_that_cannot_be_made_is_refused_before_the_first_shot(
    pipeline: AnimeShooterGenPipeline, tmp_path: Path
) -> None:
    made: list[int] = []
    short = CallableScorer(lambda prompt, seconds, generator: (np.zeros(9), RATE), max_seconds=1.0)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"audio_scorer": 5}, "A scorer must be callable"),
        ({"audio_scorer": short, "sound": SoundSettings(too_long="refuse")}, "Shot 0 lasts 1.12 s"),
        ({"audio_scorer": short, "sound_folder": tmp_path}, "kept under its name"),
    ]
    for options, message in refusals:
        with pytest.raises(InputError, match=message):
            pipeline(["Rain."], callback_on_shot_end=lambda _, shot: made.append(shot.index), **options)
    assert not made
