"""The records check themselves, and their JSON form is the row of the `stories` config."""

import json
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

from animeshooter_hf import AudioAnnotation, Character, ReferenceMask, Scene, Shot, Story
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import make_shot_id, make_story_id


@pytest.fixture
def story() -> Story:
    shots = (
        Shot(
            shot_id="v_000_00", index=0, start_frame=10, end_frame=58, start_seconds=0.0, end_seconds=2.002,
            clip_start_seconds=0.0, clip_end_seconds=2.0, characters=("Mia",), scene="Park",
            narrative_caption="Mia waves.", descriptive_caption="A girl waves in a park.",
            audio=AudioAnnotation(audio_type="bell", sound_description="bright", visual_context="a bicycle"),
        ),
        Shot(shot_id="v_000_01", index=1, start_frame=58, end_frame=70, is_prologue_or_epilogue=True),
    )  # fmt: skip
    return Story(
        video_id="v", story_id=make_story_id("v", 0), url="https://example.org/v", frame_rate=Fraction(24000, 1001),
        start_frame=10, end_frame=70, storyline="A walk.", characters=(Character(id="Mia", appearance="red hat"),),
        scenes=(Scene(id="Park", environment="trees"),), shots=shots,
        references=(
            ReferenceMask(character_id="Mia", frame_index=12, mask=RleMask.from_array(np.eye(4, dtype=bool))),
            ReferenceMask(character_id="Mia", frame_index=30),
        ),
    )  # fmt: skip


def test_the_json_form_gives_the_story_back(story: Story) -> None:
    assert Story.from_json(json.loads(json.dumps(story.to_json()))) == story


def test_the_json_form_is_a_row_of_the_stories_config(story: Story) -> None:
    from datasets import Dataset

    from animeshooter_hf.features import stories

    row = Dataset.from_list([story.to_json()], features=stories)[0]
    assert set(row) == set(stories)
    assert Story.from_dataset_row(row) == story


def test_ids_are_made_from_the_video_and_the_position() -> None:
    assert make_shot_id(make_story_id("LvJRvwIDh0E", 3), 7) == "LvJRvwIDh0E_003_07"


def test_captions_alone_make_a_story() -> None:
    story = Story.from_captions(["a dog runs", "a dog sleeps"], characters=[Character(id="dog")])
    assert [shot.caption for shot in story.shots] == ["a dog runs", "a dog sleeps"]
    assert all(shot.characters == ("dog",) and shot.num_frames is None for shot in story.shots)


def test_a_story_written_by_hand_needs_only_captions() -> None:
    story = Story.from_json({"story_id": "mine", "shots": [{"descriptive_caption": "a cat"}]})
    assert story.shots[0].shot_id == "mine_00"


def test_length_and_number_of_frames_are_derived(story: Story) -> None:
    assert story.duration_seconds == pytest.approx(60 * 1001 / 24000)
    assert [shot.num_frames for shot in story.shots] == [48, 12]


def test_records_cannot_be_changed(story: Story) -> None:
    with pytest.raises(FrozenInstanceError):
        story.storyline = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"storyline": 3}, "storyline in story v_000 must be a text"),
        ({"plot": "x"}, "Unknown key 'plot' in story v_000"),
        ({"shots": "none"}, "shots in story v_000 must be a list"),
        ({"shots": [{"caption": "x"}]}, "Unknown key 'caption' in shot 0"),
        ({"shots": [{"start_time": 3.0}]}, "both a start and an end"),
        ({"shots": [{"start_time": 3.0, "end_time": 1.0}]}, "0 <= start <= end"),
        ({"shots": [{"start_frame": 1.5, "end_frame": 2}]}, "must be a whole number"),
        ({"shots": [{"characters": "Mia"}]}, "must be a list of texts"),
        ({"shots": [7]}, "to be a JSON object"),
        ({"main_characters": [{"id": "a"}, {"id": "a"}]}, "declares a character twice"),
        ({"main_characters": [{"id": ""}]}, "Character.id must be a text that is not empty"),
        ({"fps": 0}, "frame rate"),
        ({"story_id": ""}, "must be a text that is not empty"),
    ],
)
def test_values_that_do_not_fit_are_refused(story: Story, change: dict[str, object], message: str) -> None:
    data = {**story.to_json(), **change, **({"video_id": ""} if change.get("story_id") == "" else {})}
    with pytest.raises(ValueError, match=message):
        Story.from_json(data)


def test_captions_that_are_no_list_of_texts_are_refused() -> None:
    for captions in ([], "one text", [""]):
        with pytest.raises(ValueError):
            Story.from_captions(captions)


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a JSON object, got list"):
        Story.from_json([])  # type: ignore[arg-type]
