"""A new toon character comes with clips to learn it from, and a story that none of them tells."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.dataset_builder.character_clips import (
    draw_character_clips,
    read_character_clips,
    write_character_dataset,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import load_stories
from animeshooter_hf.records import Story
from animeshooter_hf.toon.attributes import is_held_out
from animeshooter_hf.toon.compact import CompactSettings

SEED = 40_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("character")
    write_character_dataset(place, SEED)
    return place


def test_the_character_is_held_out_and_the_same_everywhere() -> None:
    drawn = draw_character_clips(SEED)
    assert is_held_out(drawn.story.character)
    assert all(clip.character == drawn.story.character for clip in drawn.clips)


def test_clips_are_of_other_stories_and_tell_nothing_of_the_story() -> None:
    for seed in range(SEED, SEED + 5):
        drawn = draw_character_clips(seed)
        captions = [clip.captions for clip in drawn.clips]
        assert len(set(captions)) == 5
        assert not set(drawn.story.captions) & {caption for (caption,) in captions}
        assert len({story.plan.seed for story in (drawn.story, *drawn.clips)}) == 6


def test_a_story_of_all_captions_still_leaves_clips() -> None:
    drawn = draw_character_clips(SEED, settings=CompactSettings(num_shots=64))
    assert len(drawn.clips) == 5


def test_the_dataset_holds_the_clips_pixels_and_their_references(folder: Path) -> None:
    drawn = draw_character_clips(SEED)
    items = {item.story.video_id: item for item in load_stories(folder / "data", split="train")}
    assert set(items) == {clip.plan.film_id for clip in drawn.clips}
    for clip in drawn.clips:
        item = items[clip.plan.film_id]
        seen = item.sample_frames(0, range(5)).reshape(5, 64, 2, 64, 2, 3).mean((2, 4))
        assert np.abs(seen - clip.frames(0)).mean() < 4
        (reference,) = item.references("Pip")
        mask = clip.reference()[..., 3] > 127
        assert (reference.mask[::2, ::2] == mask).all()


def test_story_reference_and_truth_belong_together(folder: Path) -> None:
    story = draw_character_clips(SEED).story
    record = Story.from_json(json.loads((folder / "story.json").read_text()))
    assert [shot.caption for shot in record.shots] == list(story.captions)
    assert (np.asarray(Image.open(folder / "reference.png")) == story.reference()).all()
    truth = np.load(folder / "truth.npy")
    assert truth.shape == (4, 5, 64, 64, 3)
    assert (truth[2] == story.frames(2)).all()


def test_what_was_written_is_drawn_again_from_the_folder(folder: Path) -> None:
    assert read_character_clips(folder) == draw_character_clips(SEED)


def test_a_folder_is_not_written_over_unasked(folder: Path) -> None:
    with pytest.raises(InputError, match="holds a dataset already"):
        write_character_dataset(folder, SEED)
    write_character_dataset(folder, SEED, overwrite=True)


@pytest.mark.parametrize("number", [0, 51])
def test_a_number_of_clips_that_cannot_be_is_refused(number: int) -> None:
    with pytest.raises(InputError, match="num_clips must lie in 1 to 50"):
        draw_character_clips(SEED, num_clips=number)


def test_a_folder_without_a_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no character that was drawn"):
        read_character_clips(tmp_path)


def test_a_folder_of_another_world_is_refused(folder: Path, tmp_path: Path) -> None:
    facts = json.loads((folder / "character.json").read_text())
    (tmp_path / "character.json").write_text(json.dumps({**facts, "captions": ["Pip flies."]}))
    with pytest.raises(InputError, match="another version of the toon world"):
        read_character_clips(tmp_path)
