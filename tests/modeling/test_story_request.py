"""What a user asks for ends in one checked request: names are bound, images are read, settings are placed."""

import logging
from typing import Any

import numpy as np
import pytest
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.story_request import ShotSettings, StoryRequest, make_request, with_caption
from animeshooter_hf.modeling.transitions import Transition
from animeshooter_hf.records import Story

RED = Image.new("RGB", (20, 30), "red")
BLUE = Image.new("RGB", (30, 20), "blue")
CAST = {"Mia": [RED, BLUE], "Rex": BLUE}


def request(story: Any, references: Any = None, **options: Any) -> StoryRequest:
    return make_request(story, references, max_shots=9, **options)


def test_marked_names_tell_who_is_in_a_shot_and_are_read_without_the_marks() -> None:
    asked = request(["<Mia> runs past <Rex>.", "<Mia> sits.", "Rain falls."], CAST)
    assert [shot.caption for shot in asked.story.shots] == ["Mia runs past Rex.", "Mia sits.", "Rain falls."]
    assert [shot.characters for shot in asked.story.shots] == [("Mia", "Rex"), ("Mia",), ()]


def test_captions_without_marks_show_everybody() -> None:
    asked = request(["Mia runs.", "2 < 3 and 4 > 3."], CAST)
    assert [shot.characters for shot in asked.story.shots] == [("Mia", "Rex")] * 2
    assert asked.story.shots[1].caption == "2 < 3 and 4 > 3."


def test_a_mark_in_a_record_adds_to_those_who_appear() -> None:
    row = {
        "story_id": "s",
        "main_characters": [{"id": "Mia"}, {"id": "Rex"}],
        "shots": [{"narrative_caption": "<Rex> waits.", "characters": ["Mia"]}],
    }
    (shot,) = request(row, CAST).story.shots
    assert (shot.characters, shot.narrative_caption, shot.descriptive_caption) == (("Mia", "Rex"), "Rex waits.", None)


def test_a_caption_that_marks_an_unknown_name_is_refused() -> None:
    message = r"The caption of shot 1 names the character 'Bob', .* \(declared: Mia, Rex\)"
    with pytest.raises(InputError, match=message):
        request(["<Mia> runs.", "<Bob> runs."], CAST)
    story = request(["<Mia> runs."], CAST).story
    with pytest.raises(InputError, match="names the character 'Bob'"):
        with_caption(story, 0, "<Bob> sleeps.")
    assert with_caption(story, 0, "<Rex> sleeps.").shots[0].characters == ("Mia", "Rex")


def test_each_character_keeps_all_its_references_in_order() -> None:
    asked = request(["<Mia> runs past <Rex>."], {"Rex": BLUE, "Mia": [RED, np.asarray(BLUE)]})
    assert {name: [image.size for image in images] for name, images in asked.references.items()} == {
        "Rex": [(30, 20)],
        "Mia": [(20, 30), (30, 20)],
    }


def test_a_huge_reference_is_shrunk_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        asked = request(["Mia runs."], {"Mia": Image.new("RGB", (8000, 1000), "red")})
    diffusers_logging.disable_propagation()
    (image,) = asked.references["Mia"]
    assert image.width * image.height <= 2048 * 2048
    assert image.width / image.height == pytest.approx(8, rel=0.01)
    assert [record.message for record in caplog.records] == [
        f"The reference of 'Mia' is 8000x1000; it is shrunk to {image.width}x{image.height}."
    ]


def test_settings_of_shots_may_be_a_mapping_or_a_list() -> None:
    captions = ["A.", "B."]
    own = ShotSettings(seed=4, transition="dissolve:3")  # type: ignore[arg-type]  # A text will do.
    assert own.transition == Transition(kind="dissolve", num_frames=3)
    by_index = request(captions, shot_settings={1: own}).shot_settings
    assert by_index == {1: own}
    assert request(captions, shot_settings=[None, own]).shot_settings == by_index
    assert request(captions, shot_settings={1: {"seed": 4, "transition": "dissolve:3"}}).shot_settings == by_index
    assert request(captions, shot_settings={0: {}}).shot_settings == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({2: {"seed": 1}}, "shot_settings are for shot 2, but the story has the shots 0 to 1"),
        ({-1: {"seed": 1}}, "shot_settings are for shot -1"),
        ([{"seed": 1}], "The story has 2 shots, but there are 1 shot_settings"),
        ("seed", "shot_settings must be a mapping"),
        ({0: 5}, "The settings of shot 0 must be ShotSettings, got 5"),
        ({0: {"sed": 1}}, "The settings of shot 0 have the unknown key 'sed'"),
        ({0: {"seed": -1}}, "Shot 0: seed must be a whole number"),
        ({0: {"seed": True}}, "Shot 0: seed must be a whole number"),
        ({1: {"num_frames": 0}}, "Shot 1: num_frames must be a whole number of at least 1"),
        ({1: {"guidance_scale": 101}}, "Shot 1: guidance_scale must lie in 0 to 100"),
        ({1: {"reference_scale": float("nan")}}, "Shot 1: reference_scale must lie in 0 to 100"),
        ({0: {"negative_prompt": 3}}, "Shot 0: negative_prompt must be a text"),
        ({0: {"audio_prompt": b"rain"}}, "Shot 0: audio_prompt must be a text"),
        ({0: {"lora_weights": ["style"]}}, "Shot 0: lora_weights must be a mapping"),
        ({0: {"lora_weights": {"style": 50}}}, "Shot 0: The weight of the LoRA 'style' must lie in -10 to 10"),
        ({1: {"continues": 1}}, "Shot 1: continues must be true or false"),
        ({0: {"transition": "wipe"}}, "Shot 0: A transition is cut, dissolve"),
        ({0: {"transition": 4}}, "Shot 0: transition must be a Transition"),
    ],
)
def test_settings_of_shots_that_are_not_possible_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        request(Story.from_captions(["A.", "B."]), shot_settings=given)
    assert message in str(refusal.value)


def test_settings_of_a_shot_come_back_from_json() -> None:
    own = ShotSettings(
        seed=1,
        num_frames=17,
        negative_prompt="blurred",
        lora_weights={"style": 0.5},
        transition=Transition(kind="fade", num_frames=4, colour=(255, 0, 16)),
        audio_prompt="",
    )
    assert own.to_json()["transition"] == "fade:4:#ff0010"
    assert request(["A."], shot_settings={0: own.to_json()}).shot_settings == {0: own}
