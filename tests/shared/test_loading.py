"""The joined view decodes what is touched, and finds every frame, reference and sound."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf import load_stories
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import CacheSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import MASK, SHOT_FRAMES, Films, film, story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loading")
    film(root, "v")
    write_dataset(root / "data", [story("v"), story("v", 1)], media=Films(root))
    return root / "data"


def test_stories_come_back_as_records_in_order(folder: Path) -> None:
    view = load_stories(folder)
    assert [item.story for item in view] == [story("v"), story("v", 1)]
    assert len(view) == 2
    assert view[1:][0].story == view.find("v_001").story
    assert view.story_ids == ["v_000", "v_001"]


def test_any_frames_of_any_shot_can_be_read(folder: Path) -> None:
    item = load_stories(folder)[1]
    frames = item.frames(2, 3, 6)
    assert [round((float(image[20:].mean()) - 10) / 4) for image in frames] == [27, 28, 29]
    assert item.num_frames(2) == SHOT_FRAMES
    np.testing.assert_array_equal(item.sample_frames(2, [5, 3])[0], frames[2])


def test_frames_are_found_across_the_shots_of_a_story(folder: Path) -> None:
    item = load_stories(folder)[0]
    frames = item.frames_between(10, 26)
    apart = [item.frames(0, 10), item.frames(1), item.frames(2, 0, 2)]
    np.testing.assert_array_equal(frames, np.concatenate(apart))
    with pytest.raises(InputError, match="Frame 48 belongs to no shot of story v_000"):
        item.frames_between(40, 50)


def test_a_story_gives_its_clips_captions_and_thumbnails(folder: Path) -> None:
    item = load_stories(folder)[0]
    assert [(shot.index, clip == item.clip(shot.index)) for shot, clip in item.iter_clips()] == [
        (index, True) for index in range(4)
    ]
    assert item.captions == tuple(f"Somebody is seen doing thing number {index}." for index in range(4))
    assert item.storyline == "A day of Mia."
    assert [one.id for one in (*item.characters, *item.scenes)] == ["Mia", "Park"]
    np.testing.assert_array_equal(np.asarray(item.thumbnail(1)), item.frames(1)[SHOT_FRAMES // 2])
    assert item.thumbnail(1, width=32).size == (32, 24)


def test_references_come_with_their_masks(folder: Path) -> None:
    references = load_stories(folder)[0].references("Mia")
    assert [reference.frame_index for reference in references] == [5, 20]
    for reference in references:
        np.testing.assert_array_equal(reference.mask, MASK)
        np.testing.assert_array_equal(reference.cutout[..., 3] > 0, MASK)
    assert load_stories(folder)[0].references("Nobody") == []


def test_sound_is_there_where_it_is_annotated(folder: Path) -> None:
    item = load_stories(folder)[0]
    assert [item.has_audio(index) for index in range(4)] == [True, False, True, False]
    assert [row["shot_id"] for row in item.audio_shots()] == ["v_000_00", "v_000_02"]
    sound, rate = item.audio(2)
    assert sound.shape[1] == rate // 2
    with pytest.raises(InputError, match="no audio of shot v_000_01"):
        item.audio(1)


def test_media_that_is_not_asked_for_is_not_joined(folder: Path) -> None:
    item = load_stories(folder, media=())[0]
    assert item.references() == []
    assert not item.has_clip(0)
    with pytest.raises(InputError, match="no video of shot"):
        item.frames(0)


def test_opening_reads_no_text_and_a_clip_is_read_without_its_neighbours(folder: Path) -> None:
    view = load_stories(folder)
    assert view.cache_info().text_bytes == 0
    item = view[1]
    assert item.has_clip(2)
    before = view.cache_info()
    clip = item.clip(2)
    read = view.cache_info().bytes_read - before.bytes_read
    assert len(clip) <= read <= len(clip) + 100
    assert view.cache_info().clips_opened == 0


def test_a_clip_that_is_still_open_goes_on_where_it_stood(folder: Path) -> None:
    view = load_stories(folder)
    item = view[0]
    item.frames(0, 0, 6)
    first = view.cache_info()
    item.frames(0, 6, 12)
    second = view.cache_info()
    assert (first.clips_opened, second.clips_opened, second.clips_reused) == (1, 1, 1)
    assert second.frames_decoded == SHOT_FRAMES
    item.frames(0, 0, 6)
    assert view.cache_info().clips_opened == 1


def test_no_more_clips_stay_open_than_are_allowed(folder: Path) -> None:
    view = load_stories(folder, caches=CacheSettings(max_clips=2))
    for item in view:
        for shot in item.shots:
            item.frames(shot.index)
    info = view.cache_info()
    assert (info.clips_opened, info.clips_kept) == (8, 2)
    tight = load_stories(folder, caches=CacheSettings(clip_bytes=0))
    tight[0].frames(0)
    assert (tight.cache_info().clips_kept, tight.cache_info().clip_bytes) == (0, 0)
    with pytest.raises(ValueError, match="max_clips must not be negative"):
        CacheSettings(max_clips=-1)


def test_masks_are_read_only_by_who_asks(folder: Path) -> None:
    view = load_stories(folder)
    without = load_stories(folder, with_masks=False)
    for one in (view, without):
        assert [len(item.shots) for item in one] == [4, 4]
    assert view.cache_info() == without.cache_info()
    assert without[0].story.references == ()
    assert without.cache_info().bytes_read == view.cache_info().bytes_read
    assert len(view[0].story.references) == 2
    assert view.cache_info().bytes_read > without.cache_info().bytes_read


def test_stories_are_filtered_by_columns_alone(folder: Path) -> None:
    view = load_stories(folder)
    assert view.filter(characters="Mia", scenes=["Park"], min_shots=4, max_shots=4).story_ids == ["v_000", "v_001"]
    assert view.filter(characters=("Mia", "Tom")).story_ids == []
    assert view.filter(scenes="Lake").story_ids == []
    assert view.filter(min_shots=5).story_ids == view.filter(max_shots=3).story_ids == []
    chosen = view.select(lambda row: row["story_id"].endswith("1"), ["story_id"])
    assert [item.story_id for item in chosen] == ["v_001"]
    assert chosen.filter(characters="Mia").story_ids == ["v_001"]
    assert view[:1].select(lambda row: True, ["storyline"]).story_ids == ["v_000"]
    (part,) = chosen.iter_tables(["story_id", "storyline"])
    assert part.to_pylist() == [{"story_id": "v_001", "storyline": "A day of Mia."}]
    assert view.cache_info().text_bytes == 0
    with pytest.raises(InputError, match="There is no column 'plot'; there are video_id, story_id"):
        view.select(lambda row: True, ["plot"])
    with pytest.raises(InputError, match="There is no story v_000"):
        chosen.find("v_000")


def test_a_view_crosses_to_another_process_without_what_it_holds(folder: Path) -> None:
    view = load_stories(folder)[1:]
    frames = view[0].frames(3)
    packed = pickle.dumps(view)
    assert len(packed) < 4096
    again = pickle.loads(packed)
    assert again.cache_info().clips_kept == 0
    assert again.story_ids == ["v_001"]
    np.testing.assert_array_equal(again[0].frames(3), frames)


def test_many_threads_read_the_same_frames(folder: Path) -> None:
    view = load_stories(folder, caches=CacheSettings(max_clips=3))
    expected = [view[0].frames(index) for index in range(4)]

    def read(number: int) -> bool:
        index, start = number % 4, number % 7
        return bool(np.array_equal(view[0].frames(index, start), expected[index][start:]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(40)))
    assert view.cache_info().clips_kept <= 3


def test_a_takedown_list_is_obeyed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("story:v_000\n")
    view = load_stories(folder, takedown=tmp_path / "list.txt")
    assert view.story_ids == ["v_001"]
    assert view.filter(characters="Mia").story_ids == view.select(lambda row: True, ["url"]).story_ids == ["v_001"]
    with pytest.raises(InputError, match="There is no story v_000"):
        view.find("v_000")


def test_what_cannot_be_opened_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no dataset folder"):
        load_stories(tmp_path / "absent")
    with pytest.raises(InputError, match="no dataset of ours"):
        load_stories(tmp_path)
    with pytest.raises(InputError, match=r"no split 'dev'\. Its splits: train"):
        load_stories(folder, split="dev")
    with pytest.raises(ValueError, match="media must be some of"):
        load_stories(folder, media=("smell",))
    with pytest.raises(InputError, match="There is no story nobody"):
        load_stories(folder).find("nobody")
    with pytest.raises(InputError, match="can only be read with streaming=True"):
        load_stories("s3://bucket/data")
    item = load_stories(folder)[0]
    with pytest.raises(InputError, match="has 4 shots, there is no shot 9"):
        item.frames(9)
    with pytest.raises(InputError, match="shot v_000_00 cannot be read: frames 3 to 13 do not lie in it, it has 12"):
        item.frames(0, 3, 13)
    with pytest.raises(InputError, match="shot v_000_00 cannot be read: frame 12 does not lie in the clip"):
        item.sample_frames(0, [12])


def test_a_shard_that_is_cut_off_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "stories").mkdir()
    whole = next((folder / "stories").iterdir())
    broken = tmp_path / "stories" / whole.name
    broken.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(InputError, match="is no Parquet file, or it is cut off"):
        load_stories(tmp_path)
    broken.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        load_stories(tmp_path)
