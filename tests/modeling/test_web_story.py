"""The web app without its page: the form is read field by field, and each visitor's story is made apart."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.modeling.web.background import in_background
from animeshooter_hf.modeling.web.page_parts import error_html, header_html, shot_html
from animeshooter_hf.modeling.web.story_form import CastMember, FormError, StoryForm, begin_story, read_story
from animeshooter_hf.modeling.web.story_session import Clip, StorySession, Studio
from animeshooter_hf.records import Story
from animeshooter_hf.video import probe


@pytest.fixture(scope="module")
def mia(tmp_path_factory: pytest.TempPathFactory, portraits: dict[str, Image.Image]) -> str:
    path = tmp_path_factory.mktemp("uploads") / "mia.png"
    portraits["Mia"].save(path)
    return str(path)


@pytest.fixture
def form(mia: str) -> StoryForm:
    cast = (CastMember("Mia", (mia, mia)), CastMember(""))
    return StoryForm(text="Mia wakes up.\n\n  Mia eats soup.\n", cast=cast, seed="7", num_inference_steps=1)


@pytest.fixture(scope="module")
def studio(pipeline: AnimeShooterGenPipeline, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(pipeline, tmp_path_factory.mktemp("studio"))


@pytest.fixture
def session(studio: Studio) -> Iterator[StorySession]:
    opened = studio.open_session()
    yield opened
    opened.close()


def state_of(session: StorySession) -> StoryState:
    assert session.state is not None
    return session.state


def same_frames(one: StoryState, other: StoryState) -> list[bool]:
    pairs = zip(one.shots, other.shots, strict=True)
    return [np.array_equal(a.frames_FHW3, b.frames_FHW3) for a, b in pairs]


# ---------------------------------------------------------------------------------------------------- the form


def test_plain_lines_become_shots_with_every_character(pipeline: AnimeShooterGenPipeline, form: StoryForm) -> None:
    state = begin_story(pipeline, form)
    assert [shot.caption for shot in state.story.shots] == ["Mia wakes up.", "Mia eats soup."]
    assert [shot.characters for shot in state.story.shots] == [("Mia",), ("Mia",)]
    assert (len(state.references["Mia"]), state.seed, state.settings.num_inference_steps) == (2, 7, 1)


def test_json_brings_its_own_cast(pipeline: AnimeShooterGenPipeline, form: StoryForm, story: Story) -> None:
    text = json.dumps(story.to_json())
    assert read_story(f"\ufeff{text}", ["nobody"]) == story
    state = begin_story(pipeline, replace(form, text=text, allow_missing_references=True))
    assert state.story == story


def test_every_wrong_field_gets_a_sentence_of_its_own(
    pipeline: AnimeShooterGenPipeline, form: StoryForm, tmp_path: Path
) -> None:
    (tmp_path / "no.png").write_text("no image")
    cast = (CastMember("Mia", (str(tmp_path / "no.png"),)), CastMember("", form.cast[0].images), CastMember("Mia"))
    wrong = replace(form, text=" \n", cast=cast, seed="-1", num_inference_steps=1.5)
    with pytest.raises(FormError) as refusal:
        begin_story(pipeline, wrong)
    assert refusal.value.fields == {
        "story": "Write the story first: one line for each shot.",
        "character_0": "Picture 1: this is no image that can be read.",
        "character_1": "Say who this is: the name as it stands in the story.",
        "character_2": "'Mia' stands here twice; put all references of a character into one row.",
        "seed": "The seed must be a whole number from 0 to 2**63 - 1, got '-1'.",
        "num_inference_steps": "num_inference_steps must be a whole number, got 1.5.",
    }


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"num_frames": 5}, "num_frames", "must be a multiple of 8 plus 1"),
        ({"height": 33}, "size", "height must be a multiple of 16"),
        ({"width": float("inf")}, "size", "width must be a whole number"),
        ({"guidance_scale": -1}, "guidance_scale", "must lie in 0 to 100"),
        ({"num_inference_steps": 100_000}, "num_inference_steps", "at most 1000"),
        ({"seed": str(2**63)}, "seed", "from 0 to 2"),
        ({"seed": "1e3"}, "seed", "whole number"),
        ({"text": '{"shots": ['}, "story", "no JSON that can be read, line 1"),
        ({"text": "{" * 100_000}, "story", "no JSON that can be read"),
        ({"text": '{"story_id": "s"}'}, "story", "Story s has no shots"),
        ({"text": '{"shots": [{"plot": 1}]}'}, "story", "plot"),
        ({"text": "Mia runs.\n" * 65}, "story", "65 shots; at most 64"),
        ({"text": "x" * 2_000_001}, "story", "at most 2,000,000"),
        ({"cast": (CastMember("Mia"),)}, "characters", "'Mia' has no reference image"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    pipeline: AnimeShooterGenPipeline, form: StoryForm, change: dict[str, object], field: str, words: str
) -> None:
    with pytest.raises(FormError) as refusal:
        begin_story(pipeline, replace(form, **change))  # type: ignore[arg-type]
    assert list(refusal.value.fields) == [field]
    assert words in refusal.value.fields[field]


# ---------------------------------------------------------------------------------------------------- a session


def test_shots_come_one_by_one_and_equal_those_of_the_pipeline(
    pipeline: AnimeShooterGenPipeline, session: StorySession, form: StoryForm
) -> None:
    begun = begin_story(pipeline, form)
    steps: list[tuple[int, int]] = []
    session.on_step = lambda step, total: steps.append((step, total))
    seen = []
    for clip in session.generate(begun):
        assert (probe(clip.path).num_frames, clip.seconds) == (9, 9 / 8)
        seen.append((clip.index, len(state_of(session).shots), clip.caption))
    assert seen == [(0, 1, "Mia wakes up."), (1, 2, "Mia eats soup.")]
    assert steps == [(1, 1), (1, 1)]
    assert same_frames(state_of(session), pipeline.resume(begun).state) == [True, True]


def test_a_story_stops_after_a_shot_and_goes_on_as_if_it_had_not(
    pipeline: AnimeShooterGenPipeline, session: StorySession, whole: AnimeShooterGenOutput
) -> None:
    for _ in session.generate(whole.state.cut_to(0)):
        session.stop()
    assert len(state_of(session).shots) == 1
    session.begin_run()
    assert [clip.index for clip in session.generate(state_of(session))] == [1, 2]
    assert same_frames(state_of(session), whole.state) == [True] * 3


@pytest.mark.parametrize("keep_following", [True, False])
def test_a_shot_made_anew_equals_what_the_pipeline_makes(
    pipeline: AnimeShooterGenPipeline, session: StorySession, whole: AnimeShooterGenOutput, keep_following: bool
) -> None:
    session.state = whole.state
    change = {"caption": "Rex sleeps beside Mia.", "seed": 5, "keep_following": keep_following}
    clips = list(session.regenerate(1, **change))  # type: ignore[arg-type]
    wanted = pipeline.regenerate_shot(whole.state, 1, **change).state  # type: ignore[arg-type]
    assert [clip.index for clip in clips] == ([1] if keep_following else [1, 2])
    assert (clips[0].caption, clips[0].seed) == ("Rex sleeps beside Mia.", 5)
    assert same_frames(state_of(session), wanted) == [True] * 3
    assert same_frames(state_of(session), whole.state) == [True, False, keep_following]


def test_a_stop_while_later_shots_are_made_anew_keeps_the_old_ones_behind(
    session: StorySession, whole: AnimeShooterGenOutput
) -> None:
    session.state = whole.state
    clips = []
    for clip in session.regenerate(0, seed=5, keep_following=False):
        clips.append(clip.index)
        session.stop()
    assert clips == [0]
    assert same_frames(state_of(session), whole.state) == [False, True, True]


def test_a_stop_pressed_before_the_first_shot_is_begun_is_not_forgotten(
    session: StorySession, whole: AnimeShooterGenOutput
) -> None:
    session.begin_run()
    session.stop()
    assert [clip.index for clip in session.generate(whole.state.cut_to(0))] == [0]


def test_without_a_seed_a_new_one_is_drawn(session: StorySession, whole: AnimeShooterGenOutput) -> None:
    session.state = whole.state
    (clip,) = session.regenerate(2)
    assert clip.seed != whole.state.seed_of(2)


def test_no_shot_and_no_caption_are_refused(session: StorySession, whole: AnimeShooterGenOutput) -> None:
    with pytest.raises(InputError, match=r"no such shot yet"):
        session.regenerate(0)
    session.state = whole.state
    with pytest.raises(InputError, match=r"no such shot yet"):
        session.regenerate(3)
    with pytest.raises(InputError, match=r"caption must not be empty"):
        session.regenerate(0, caption=" ")


def test_the_film_has_chapters_and_says_what_made_it(session: StorySession, whole: AnimeShooterGenOutput) -> None:
    assert session.write_film() is None
    session.state = whole.state
    path = session.write_film()
    assert path is not None
    with av.open(str(path)) as film:
        chapters, metadata = film.chapters(), dict(film.metadata)
    assert (probe(path).num_frames, len(chapters)) == (27, 3)
    assert metadata["comment"].endswith("weights: random")
    assert json.loads(metadata["animeshooter"])["ai_generated"] is True


def test_a_clip_is_written_once_and_anew_only_when_its_shot_is(
    session: StorySession, whole: AnimeShooterGenOutput
) -> None:
    session.state = whole.state
    before = session.clips()
    assert session.clips() == before
    list(session.regenerate(1, seed=11))
    after = session.clips()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert all(clip.path.exists() for clip in after)
    after[0].path.unlink()
    assert session.clips()[0].path.exists()


def test_a_project_opens_in_another_session_and_goes_on_there(
    studio: Studio, session: StorySession, whole: AnimeShooterGenOutput
) -> None:
    session.state = whole.state.cut_to(2)
    project = session.write_project()
    assert project is not None
    other = studio.open_session()
    state = other.open_project(project)
    assert [clip.index for clip in other.clips()] == [0, 1]
    assert [clip.index for clip in other.generate(state)] == [2]
    assert same_frames(state_of(other), whole.state) == [True] * 3
    files = other.reference_files()
    assert {name: len(some) for name, some in files.items()} == {"Mia": 1, "Rex": 1}
    again = np.asarray(Image.open(files["Mia"][0]))
    assert np.array_equal(again, np.asarray(whole.state.references["Mia"][0]))
    other.close()


def test_a_project_of_another_model_is_refused_and_the_story_stays(
    studio: Studio, session: StorySession, whole: AnimeShooterGenOutput, tmp_path: Path
) -> None:
    foreign = Studio(tiny_pipeline(seed=1, height=32, width=48), tmp_path).open_session()
    foreign.state = replace(whole.state, model_fingerprint=foreign._studio.pipeline.fingerprint())
    project = foreign.write_project()
    assert project is not None
    session.state = whole.state
    with pytest.raises(InputError, match=r"made by another model"):
        session.open_project(project)
    assert session.state is whole.state


def test_two_visitors_at_once_get_what_each_would_get_alone(
    studio: Studio, pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput
) -> None:
    begun = [pipeline.begin([f"The {hero} wakes up.", f"The {hero} runs."], seed=hero, num_inference_steps=1)
             for hero in (1, 2)]  # fmt: skip
    sessions = [studio.open_session() for _ in begun]
    threads = [
        threading.Thread(target=lambda one=one, state=state: list(one.generate(state)))
        for one, state in zip(sessions, begun, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, state in zip(sessions, begun, strict=True):
        assert same_frames(state_of(one), pipeline.resume(state).state) == [True, True]
        one.close()
    assert not any(folder.exists() for folder in (one._folder for one in sessions))


# ---------------------------------------------------------------------------------------------------- parts


def test_whatever_a_visitor_wrote_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    clip = Clip(index=0, caption=evil, seed=1, path=Path("/tmp/a b'<.mp4"), seconds=1.0)
    for html in (shot_html(clip), error_html(evil), header_html(evil, (evil,), evil)):
        assert "<img" not in html
        assert "&lt;img" in html
    assert "/tmp/a%20b%27%3C.mp4" in shot_html(clip)


def test_random_weights_are_said_on_the_page(pipeline: AnimeShooterGenPipeline) -> None:
    assert "The weights are random: the frames show nothing." in header_html("A", pipeline.notes, "tiny")


def test_what_fails_in_the_background_is_raised_in_front() -> None:
    def work(tell: object) -> Iterator[int]:
        assert callable(tell)
        yield 1
        tell(2)
        raise InputError("It broke.")

    things = in_background(work)
    assert [next(things), next(things)] == [1, 2]
    with pytest.raises(InputError, match=r"It broke"):
        next(things)
