"""What each shot adds to the context: references first, captions with names, frames of the shot before."""

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, build_chunk, caption_of, fit_image
from animeshooter_hf.modeling.testing_mllms import noise_image
from animeshooter_hf.records import Shot


def test_a_huge_reference_is_shrunk_to_the_budget_and_a_small_one_is_kept() -> None:
    assert fit_image(Image.new("RGB", (8000, 4000)), 448 * 448).size == (633, 316)
    small = noise_image(0, 20, 30)
    assert fit_image(small, 448 * 448).size == (30, 20)


def test_what_is_transparent_becomes_white() -> None:
    seen_through = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert fit_image(seen_through, 100).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_shot_tells_the_references_by_name_and_later_ones_the_last_frame() -> None:
    mia, rex = noise_image(0, 8, 8), noise_image(1, 8, 8)
    shot = Shot(shot_id="s_00", index=0, characters=("Mia", "Rex"), descriptive_caption="Mia and a dog walk.")
    chunk = build_chunk(shot, references={"Mia": [mia, rex], "Rex": [rex]}, last_frame=None, max_pixels=1000)
    texts = [segment if isinstance(segment, str) else "image" for segment in chunk.segments]
    assert texts == ["Mia:", "image", "Mia:", "image", "Rex:", "image", "Rex: Mia and a dog walk."]
    assert chunk.num_reference_segments == 6
    later = Shot(shot_id="s_01", index=1, characters=("Mia",), descriptive_caption="Mia sits.")
    chunk = build_chunk(later, references={"Mia": [mia]}, last_frame=np.asarray(rex), max_pixels=1000)
    assert [isinstance(segment, str) for segment in chunk.segments] == [False, True]
    assert chunk.segments[1] == "Mia sits."
    assert chunk.num_reference_segments == 0


def test_a_later_shot_without_the_frame_before_it_is_a_mistake() -> None:
    shot = Shot(shot_id="s_01", index=1, descriptive_caption="Mia sits.")
    with pytest.raises(ValueError, match="Shot 1 must get the last frame"):
        build_chunk(shot, references={}, last_frame=None, max_pixels=1000)


@pytest.mark.parametrize(
    ("number", "expected"), [(1, [8]), (2, [4, 8]), (3, [2, 5, 8]), (4, [1, 4, 6, 8]), (20, list(range(9)))]
)
def test_frames_of_the_shot_before_are_evenly_spaced_and_end_with_the_last(number: int, expected: list[int]) -> None:
    frames = np.stack([np.full((4, 6, 3), index, np.uint8) for index in range(9)])
    shot = Shot(shot_id="s_01", index=1, descriptive_caption="Mia sits.")
    layout = LayoutSettings(frames_per_past_shot=number)
    chunk = build_chunk(shot, references={}, last_frame=frames, max_pixels=1000, layout=layout)
    assert [int(np.asarray(image)[0, 0, 0]) for image in chunk.images] == expected


def test_all_frames_with_the_default_layout_give_what_the_last_frame_gives() -> None:
    frames = np.stack([np.asarray(noise_image(index, 16, 24)) for index in range(9)])
    shot = Shot(shot_id="s_01", index=1, descriptive_caption="Mia sits.")
    chunks = [build_chunk(shot, references={}, last_frame=past, max_pixels=1000) for past in (frames, frames[-1])]
    assert chunks[0] == chunks[1]


def test_several_frames_cannot_be_taken_from_one() -> None:
    shot = Shot(shot_id="s_01", index=1, descriptive_caption="Mia sits.")
    layout = LayoutSettings(frames_per_past_shot=2)
    with pytest.raises(ValueError, match="takes 2 frames of the shot before; give all its frames"):
        build_chunk(shot, references={}, last_frame=np.zeros((4, 4, 3), np.uint8), max_pixels=99, layout=layout)


def test_the_caption_is_the_one_asked_for_or_the_one_there_is() -> None:
    both = Shot(shot_id="s_00", index=0, narrative_caption="Mia is sad.", descriptive_caption="A girl in rain.")
    assert caption_of(both) == caption_of(both, "descriptive") == "A girl in rain."
    assert caption_of(both, "narrative") == "Mia is sad."
    assert caption_of(both, "both") == "Mia is sad. A girl in rain."
    told = Shot(shot_id="s_00", index=0, narrative_caption="Mia is sad.")
    seen = Shot(shot_id="s_00", index=0, descriptive_caption="A girl in rain.")
    assert caption_of(told, "descriptive") == caption_of(told, "both") == "Mia is sad."
    assert caption_of(seen, "narrative") == caption_of(seen, "both") == "A girl in rain."


def test_a_character_is_named_when_the_caption_asked_for_does_not_name_it() -> None:
    shot = Shot(
        shot_id="s_00",
        index=0,
        characters=("Mia",),
        narrative_caption="Mia is sad.",
        descriptive_caption="A girl in rain.",
    )
    told = {
        kind: build_chunk(
            shot, references={}, last_frame=None, max_pixels=99, layout=LayoutSettings(caption=kind)
        ).segments
        for kind in ("narrative", "descriptive", "both")
    }
    assert told == {
        "narrative": ("Mia is sad.",),
        "descriptive": ("Mia: A girl in rain.",),
        "both": ("Mia is sad. A girl in rain.",),
    }


def test_a_chunk_can_open_a_context_with_the_references_of_the_story() -> None:
    mia, frame = noise_image(0, 8, 8), noise_image(1, 8, 8)
    first = ShotChunk(("Mia:", mia, "Mia wakes up."), num_reference_segments=2)
    later = ShotChunk((frame, "Mia runs."))
    assert later.after_references_of(first) == ShotChunk(("Mia:", mia, frame, "Mia runs."), num_reference_segments=2)
    assert first.after_references_of(first) == first
    assert later.after_references_of(ShotChunk(("A fox.",))) == later


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames_per_past_shot": 0}, "frames_per_past_shot must be a whole number of at least 1, got 0"),
        ({"frames_per_past_shot": None}, "frames_per_past_shot must be a whole number"),
        ({"window_shots": 0}, "window_shots must be a whole number of at least 1, got 0"),
        ({"caption": "long"}, "caption must be one of descriptive, narrative, both, got 'long'"),
        ({"keep_queries": "no"}, "keep_queries must be true or false"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LayoutSettings(**settings)  # type: ignore[arg-type]


def test_a_chunk_needs_a_text_and_has_no_more_references_than_segments() -> None:
    with pytest.raises(ValueError, match="needs a text"):
        ShotChunk((noise_image(0, 8, 8),))
    with pytest.raises(ValueError, match="num_reference_segments must be 0 to 1, got 2"):
        ShotChunk(("A fox.",), num_reference_segments=2)
