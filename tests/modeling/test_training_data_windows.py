"""Windows of a dataset and of the toon world: what they hold, in which order, and what is refused."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from toon_dataset import write_toon_dataset

from animeshooter_hf import load_stories
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.prompt_layout import build_chunk
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox
from animeshooter_hf.modeling.training.buckets import Bucket, BucketOrder, choose_bucket, fit_frames
from animeshooter_hf.modeling.training.settings import DataSettings, defaults_for
from animeshooter_hf.modeling.training.story_windows import StoryWindows
from animeshooter_hf.modeling.training.toon_windows import ToonWindows
from animeshooter_hf.modeling.training.window_settings import WindowSettings, window_settings
from animeshooter_hf.modeling.training.windows import PlannedSource, Window, window_loader
from animeshooter_hf.records import Shot
from animeshooter_hf.toon.compact import CompactSettings

_SIZE = Bucket(64, 64, 9)
_COMPACT = CompactSettings(size=64, frames_per_shot=9, frame_rate=8, num_shots=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toon_dataset(tmp_path_factory.mktemp("windows"), seeds=range(3))


def windows(folder: Path, **settings: Any) -> StoryWindows:
    return StoryWindows(load_stories(folder), WindowSettings(**{"buckets": (_SIZE,), **settings}))


def changed(folder: Path, into: Path, config: str, change: Any) -> Path:
    """Copy a dataset with the rows of one config changed by a function."""
    for name in ("stories", "shots", "references"):
        (into / name).mkdir(parents=True)
        (path,) = (folder / name).iterdir()
        table = pq.read_table(path)
        if name == config:
            table = pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema)
        pq.write_table(table, into / name / path.name)
    return into


def test_a_dataset_and_the_toon_world_are_planned_sources(folder: Path) -> None:
    assert isinstance(windows(folder), PlannedSource)
    assert isinstance(ToonWindows(range(1)), PlannedSource)


def test_windows_are_all_stretches_of_shots_of_a_story(folder: Path) -> None:
    assert len(windows(folder, window=3)) == 3 * 2
    assert len(windows(folder, window=3, step=2)) == 3
    assert len(windows(folder, window=1)) == 12
    keys = [windows(folder, window=3)[number].key for number in range(2)]
    assert keys[1].split("+")[:2] == keys[0].split("+")[1:]


def test_a_window_is_a_story_of_its_own_that_the_prompt_layout_takes(folder: Path) -> None:
    window = windows(folder, window=3)[1]
    assert [shot.index for shot in window.shots] == [0, 1, 2]
    assert window.shots[0].shot_id.endswith("_01")
    assert window.frames_SFHW3 is not None
    assert window.frames_SFHW3.shape == (3, 9, 64, 64, 3)
    assert window.last_frames[0] is None
    for number in (1, 2):
        np.testing.assert_array_equal(window.last_frames[number], window.frames_SFHW3[number - 1, -1])
    chunks = [
        build_chunk(shot, references=window.references, last_frame=last, max_pixels=64 * 64)
        for shot, last in zip(window.shots, window.last_frames, strict=True)
    ]
    assert [len(chunk.images) for chunk in chunks] == [1, 1, 1]
    assert chunks[0].num_reference_segments == 2


def test_frames_are_those_of_the_clips_and_references_those_of_the_story(folder: Path) -> None:
    item = load_stories(folder)[0]
    window = windows(folder, window=4)[0]
    assert window.frames_SFHW3 is not None
    for shot in range(4):
        np.testing.assert_array_equal(window.frames_SFHW3[shot], item.frames(shot))
    (reference,) = window.references["Pip"]
    np.testing.assert_array_equal(np.asarray(reference), item.references()[0].cutout)
    whole = windows(folder, reference_kind="image")[0].references["Pip"][0]
    np.testing.assert_array_equal(np.asarray(whole), item.references()[0].image)


def test_frames_follow_the_wanted_rate(folder: Path) -> None:
    slow = windows(folder, window=1, buckets=(Bucket(64, 64, 3),), frame_rate=4, place="start")[0]
    item = load_stories(folder)[0]
    assert slow.frames_SFHW3 is not None
    np.testing.assert_array_equal(slow.frames_SFHW3[0], item.sample_frames(0, [0, 2, 4]))


def test_a_shot_has_room_for_a_frame_that_begins_within_it(folder: Path) -> None:
    """9 frames at 8 per second last 1.125 s; at 7 per second the eighth begins after 1 s."""
    assert len(windows(folder, window=1, buckets=(Bucket(64, 64, 8),), frame_rate=7)) == 12
    assert windows(folder, window=1, buckets=(Bucket(64, 64, 8),), frame_rate=7)[0].size.num_frames == 8
    with pytest.raises(InputError, match="fewer than 9 frames"):
        windows(folder, window=1, buckets=(Bucket(64, 64, 9),), frame_rate=7)


def frames_of(window: Window) -> NDArray[np.uint8]:
    assert window.frames_SFHW3 is not None
    return window.frames_SFHW3


def test_epochs_take_the_variants_of_a_clip_in_turns(folder: Path) -> None:
    source = windows(folder, window=1, buckets=(Bucket(64, 64, 3),), frame_variants=2, seed=3)
    shown = [frames_of(source[SampleKey(epoch, 5)]) for epoch in range(4)]
    np.testing.assert_array_equal(shown[0], shown[2])
    np.testing.assert_array_equal(shown[1], shown[3])
    plans = [source.plan(SampleKey(epoch, 5)).clips[0].mark for epoch in range(4)]
    assert plans[0] == plans[2] != plans[1] == plans[3]


def test_the_chance_of_a_clip_does_not_depend_on_the_other_stories(folder: Path) -> None:
    all_of_them = windows(folder, window=1, buckets=(Bucket(64, 64, 3),))
    last = StoryWindows(load_stories(folder)[2:], WindowSettings(buckets=(Bucket(64, 64, 3),), window=1))
    np.testing.assert_array_equal(frames_of(all_of_them[8]), frames_of(last[0]))
    assert all_of_them.plan(8).clips[0].mark == last.plan(0).clips[0].mark


def test_mirroring_is_off_and_where_it_is_on_it_is_part_of_the_mark(folder: Path) -> None:
    plain = windows(folder, window=1, place="start")
    mirrored = windows(folder, window=1, place="start", horizontal_flip=True, frame_variants=8)
    flips = []
    for epoch in range(8):
        shown = frames_of(mirrored[SampleKey(epoch, 0)])
        is_flipped = not np.array_equal(shown, frames_of(plain[0]))
        if is_flipped:
            np.testing.assert_array_equal(shown, frames_of(plain[0])[:, :, :, ::-1])
        flips.append(is_flipped)
        assert (mirrored.plan(SampleKey(epoch, 0)).clips[0].mark != plain.plan(0).clips[0].mark) == is_flipped
    assert 0 < sum(flips) < 8


def test_references_are_chosen_anew_in_each_epoch_and_again_the_same(folder: Path, tmp_path: Path) -> None:
    def more(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        out = []
        for row in rows:
            shades = [replaced_picture(row, 40 * number) for number in range(4)]
            out += shades
        return out

    source = windows(changed(folder, tmp_path, "references", more), references=2, window=1)
    chosen = [[mark.mark for _, mark in source.plan(SampleKey(epoch, 0)).references] for epoch in range(12)]
    assert all(len(set(marks)) == 2 for marks in chosen)
    assert len({tuple(marks) for marks in chosen}) > 4
    assert chosen[3] == [mark.mark for _, mark in source.plan(SampleKey(3, 0)).references]
    assert {mark for marks in chosen for mark in marks} <= {one.mark for one in source.candidates(0)}
    assert len(source[SampleKey(3, 0)].references["Pip"]) == 2


def replaced_picture(row: Mapping[str, Any], shade: int) -> dict[str, Any]:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.new("RGBA", (64, 64), (shade, 0, 0, 255)).save(data, "PNG")
    return {**row, "frame_index": shade, "cutout": {"bytes": data.getvalue(), "path": None}}


def test_drawn_windows_hold_every_clip_once_as_the_first_and_differ_between_epochs(folder: Path) -> None:
    source = windows(folder, arrangement="drawn", window=3, max_clips=5)
    plans = [[source.plan(SampleKey(epoch, number)) for number in range(5)] for epoch in range(2)]
    assert len(source) == 5
    firsts = [plan.shots[0].shot_id for plan in plans[0]]
    assert len(set(firsts)) == 5
    for plan in plans[0]:
        ids = [shot.shot_id for shot in plan.shots]
        assert len(set(ids)) == 3
        assert set(ids) <= set(firsts)
        assert [shot.index for shot in plan.shots] == [0, 1, 2]
    assert [plan.key for plan in plans[0]] != [plan.key for plan in plans[1]]
    assert source[0].frames_SFHW3 is not None


def test_one_ip_can_be_taken_by_its_video(folder: Path) -> None:
    source = windows(folder, window=1, ip_id="compact-1")
    assert {source.plan(number).story_id for number in range(len(source))} == {"compact-1_000"}
    with pytest.raises(InputError, match="has the video or story ID nobody; it has 3, such as compact-0_000"):
        windows(folder, ip_id="nobody")


def test_a_trigger_stands_before_every_caption(folder: Path) -> None:
    shots = windows(folder, trigger="in the style of Pip,")[0].shots
    assert all(shot.caption.startswith("in the style of Pip, Pip ") for shot in shots)


def test_streamed_windows_equal_local_ones(folder: Path) -> None:
    view = load_stories(folder.as_uri(), streaming=True)
    streamed = StoryWindows(view, WindowSettings(buckets=(_SIZE,)))
    local = windows(folder)
    assert len(streamed) == len(local)
    for number in (0, len(local) - 1):
        np.testing.assert_array_equal(frames_of(streamed[number]), frames_of(local[number]))
        assert streamed.plan(number).clips == local.plan(number).clips or [
            clip.mark for clip in streamed.plan(number).clips
        ] == [clip.mark for clip in local.plan(number).clips]


def test_a_pickled_source_gives_the_same_windows(folder: Path) -> None:
    for source in (windows(folder), ToonWindows(range(2), settings=_COMPACT)):
        other = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(frames_of(other[1]), frames_of(source[1]))


# -------------------------------------------------------------------------------------------------- what is refused


def test_shots_that_are_too_short_are_left_out_and_counted_repeated_or_refused(folder: Path, tmp_path: Path) -> None:
    longer = Bucket(64, 64, 17)
    with pytest.raises(
        InputError, match="has 3 clips in a row to train on: 6 left out because a shot has fewer than 17"
    ):
        windows(folder, buckets=(longer,))
    repeated = frames_of(windows(folder, buckets=(longer,), short_shots="repeat")[0])
    np.testing.assert_array_equal(repeated[0, 9], repeated[0, 16])
    refusing = windows(folder, buckets=(longer,), short_shots="refuse")
    with pytest.raises(InputError, match="The clip of shot compact-0_000_00 cannot be read: it gives 9 frames and 17"):
        refusing[0]

    def shorter(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "end_frame": row["start_frame"] + 4} if row["shot_index"] == 3 else row for row in rows]

    source = windows(changed(folder, tmp_path, "shots", shorter))
    assert len(source) == 3
    assert source.skipped == {"a shot has fewer than 9 frames": 3}


def test_a_dataset_without_references_is_refused_unless_it_may_have_none(tmp_path: Path) -> None:
    bare = write_toon_dataset(tmp_path, seeds=range(1), with_references=False)
    with pytest.raises(InputError, match=r"has a reference picture.*set require_references to false"):
        windows(bare)
    assert windows(bare, without_references="keep")[0].references == {}


def test_windows_of_stories_without_a_reference_are_counted(folder: Path, tmp_path: Path) -> None:
    source = windows(changed(folder, tmp_path, "references", lambda rows: rows[1:]))
    assert len(source) == 4
    assert source.skipped == {"its story has no reference": 2}


def test_shots_without_a_caption_and_titles_are_left_out(folder: Path, tmp_path: Path) -> None:
    def dumb(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "descriptive_caption": " "} if row["shot_index"] == 0 else row for row in rows]

    source = windows(changed(folder, tmp_path / "dumb", "shots", dumb), window=1)
    assert len(source) == 9
    assert source.skipped == {"a shot has no caption": 3}

    def titled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "is_prologue_or_epilogue": row["shot_index"] == 1} for row in rows]

    folder = changed(folder, tmp_path / "titled", "shots", titled)
    assert len(windows(folder, window=2)) == 3
    assert len(windows(folder, window=2, with_titles=True)) == 9


def test_a_view_without_clips_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="Training needs the media 'video', but the view leaves them out"):
        StoryWindows(load_stories(folder, media=("references",)), WindowSettings(buckets=(_SIZE,)))


def test_too_few_clips_for_a_window_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"No story of .* has 5 clips in a row to train on"):
        windows(folder, window=5)
    with pytest.raises(InputError, match="Windows of 3 clips cannot be drawn from the 2 of"):
        windows(folder, arrangement="drawn", max_clips=2)


def test_a_clip_that_cannot_be_read_stops_or_gives_way_to_the_next(folder: Path, tmp_path: Path) -> None:
    def broken(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**row, "video": {"bytes": b"no video", "path": None}} if number == 0 else row
            for number, row in enumerate(rows)
        ]

    bad = changed(folder, tmp_path, "shots", broken)
    with pytest.raises(InputError, match="The clip of shot compact-0_000_00 cannot be read"):
        windows(bad)[0]
    with pytest.raises(InputError, match="The clip of shot compact-0_000_00 cannot be read"):
        windows(bad, buckets=(_SIZE, Bucket(32, 64, 9))).bucket_numbers()
    assert windows(bad, buckets=(_SIZE, Bucket(32, 64, 9)), on_problem="skip").bucket_numbers().tolist() == [0] * 6
    window = windows(bad, on_problem="skip")[0]
    assert window.shots[0].shot_id == "compact-0_000_01"
    assert len(window.problems) == 1
    assert "compact-0_000_00" in window.problems[0]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("window", 0, "window must be a whole number of at least 1, got 0"),
        ("place", "end", "place must be one of random, start, center, got 'end'"),
        ("short_shots", "stretch", "short_shots must be one of"),
        ("frame_rate", 0.0, "frame_rate must be above 0, got 0.0"),
        ("frame_variants", 0, "frame_variants must be a whole number"),
        ("buckets", (), "There must be a size to train at"),
    ],
)
def test_settings_that_are_not_possible_are_refused(setting: str, value: object, message: str) -> None:
    given: dict[str, Any] = {"buckets": (_SIZE,), setting: value}
    with pytest.raises(InputError, match=message):
        WindowSettings(**given)


def test_drawn_windows_of_several_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="need one size; give a single bucket"):
        WindowSettings(buckets=(_SIZE, Bucket(32, 32, 9)), arrangement="drawn")


def test_a_training_s_settings_become_a_window_s_and_sizes_are_checked() -> None:
    from animeshooter_hf.modeling.decoders import decoder_for

    decoder = decoder_for(**tiny_cogvideox("2b"), reference_latents=None)
    made = window_settings(DataSettings(), decoder)
    assert made.buckets == (Bucket(32, 48, 9),)
    assert made.window == 3
    assert made.without_references == "skip"
    drawn = window_settings(replace(defaults_for("enhance").data, ip_id="x"), decoder, seed=4)
    assert (drawn.arrangement, drawn.max_clips, drawn.seed) == ("drawn", 6, 4)
    assert window_settings(defaults_for("align").data, decoder).without_references == "keep"
    with pytest.raises(InputError, match="num_frames must be a multiple of 8 plus 1"):
        window_settings(DataSettings(num_frames=10), decoder)
    with pytest.raises(InputError, match="height must be a multiple of 16"):
        window_settings(DataSettings(buckets=("30x48x9",)), decoder)


# ------------------------------------------------------------------------------------------------------------- sizes


def test_frames_are_scaled_until_they_cover_the_size_and_cut_around_the_middle() -> None:
    frames = np.zeros((2, 40, 80, 3), np.uint8)
    frames[:, :, 20:60] = 200
    square = fit_frames(frames, 20, 20)
    assert square.shape == (2, 20, 20, 3)
    assert (square == 200).all()
    assert fit_frames(frames, 40, 80) is frames
    wide = fit_frames(frames, 100, 200)
    assert wide.shape == (2, 100, 200, 3)
    assert wide[0, 50, 100, 0] == 200
    assert wide[0, 50, 2, 0] == 0


def test_the_bucket_is_the_nearest_in_shape_with_as_many_frames_as_there_are() -> None:
    buckets = [Bucket.parse(text) for text in ("480x720x49", "480x720x25", "720x480x49", "240x360x49")]
    assert choose_bucket(buckets, height=480, width=720, num_frames=60) == buckets[0]
    assert choose_bucket(buckets, height=480, width=720, num_frames=30) == buckets[1]
    assert choose_bucket(buckets, height=640, width=420, num_frames=60) == buckets[2]
    assert choose_bucket(buckets, height=300, width=450, num_frames=60) == buckets[3]
    assert choose_bucket(buckets[:1], height=100, width=10, num_frames=3) == buckets[0]
    assert str(buckets[0]) == "480x720x49"


@pytest.mark.parametrize("text", ["480x720", "480x720xlong", "0x720x49", "²x1x1"])
def test_a_bucket_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"HEIGHTxWIDTHxFRAMES|at least 1x1x1"):
        Bucket.parse(text)


@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_of_one_size_on_all_processes_and_hold_every_window(drop_last: bool) -> None:
    buckets = np.array([0, 1, 1, 0, 2] * 7)
    orders = [
        BucketOrder(buckets=buckets, batch_size=2, seed=5, rank=rank, world_size=2, drop_last=drop_last)
        for rank in range(2)
    ]
    both = list(zip(orders[0].batches(3), orders[1].batches(3), strict=True))
    assert all(len(set(buckets[np.concatenate(pair)])) == 1 for pair in both)
    assert all(len(batch) == 2 for pair in both for batch in pair)
    seen = np.concatenate([batch for pair in both for batch in pair])
    if drop_last:
        assert len(set(seen)) == len(seen) == 4 * (14 // 4 + 14 // 4 + 7 // 4)
    else:
        assert set(seen) == set(range(35))
    assert not np.array_equal(both[0][0], orders[0].batches(4)[0])
    assert np.array_equal(both[0][0], orders[0].batches(3)[0])


def test_windows_of_a_dataset_get_a_size_each(folder: Path) -> None:
    source = windows(folder, buckets=(Bucket(64, 64, 5), Bucket(32, 64, 5), Bucket(64, 64, 9)))
    assert source.bucket_numbers().tolist() == [2] * 6
    assert source[0].size == Bucket(64, 64, 9)


# ------------------------------------------------------------------------------------------------------- the order


@pytest.mark.parametrize("buckets", [None, [0, 1, 0]])
def test_an_epoch_that_was_broken_off_goes_on_exactly(buckets: list[int] | None) -> None:
    source = _Numbered(buckets)

    def taken(loader: Any, epochs: int) -> list[list[str]]:
        return [[window.key for window in batch["windows"]] for _ in range(epochs) for batch in loader]

    whole = window_loader(source, batch_size=2, seed=1)
    expected = taken(whole, 2)
    broken = window_loader(source, batch_size=2, seed=1)
    iterator = iter(broken)
    begun = [[window.key for window in next(iterator)["windows"]] for _ in range(2)]
    state = broken.state_dict()
    again = window_loader(source, batch_size=2, seed=1)
    again.load_state_dict(state)
    assert begun + taken(again, 2) == expected
    with pytest.raises(InputError, match="The state has seed 1, the loader 2"):
        window_loader(source, batch_size=2, seed=2).load_state_dict(state)


class _Numbered:
    """Nine windows without pixels, three for each size as it is told."""

    def __init__(self, buckets: list[int] | None) -> None:
        self._buckets = buckets

    def __len__(self) -> int:
        return 9

    def __getitem__(self, key: Any) -> Window:
        name = f"window {key.position}"
        shot = Shot(shot_id=name, index=0)
        return Window(story_id=name, key=f"{name} of epoch {key.epoch}", shots=(shot,), size=_SIZE, last_frames=(None,))

    def bucket_numbers(self) -> NDArray[np.int64] | None:
        return None if self._buckets is None else np.repeat(self._buckets, 3)


def test_any_number_of_workers_gives_the_same_batches(folder: Path) -> None:
    source = windows(folder, frame_variants=None, buckets=(Bucket(64, 64, 5),))
    batches = []
    for workers in (0, 2):
        options = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
        loader = window_loader(source, batch_size=2, seed=4, **options)
        batches.append([[(w.key, frames_of(w).sum()) for w in batch["windows"]] for batch in loader])
    assert batches[0] == batches[1]


# ------------------------------------------------------------------------------------------------------------- toon


def test_toon_windows_are_what_the_compact_world_draws() -> None:
    source = ToonWindows(range(5, 7), "held_out", _COMPACT)
    window, story = source[1], source.story(1)
    assert len(source) == 2
    assert story.plan.seed == 6
    for shot in range(4):
        np.testing.assert_array_equal(frames_of(window)[shot], story.frames(shot))
    assert [shot.caption for shot in window.shots] == list(story.captions)
    (reference,) = window.references[story.character.id]
    np.testing.assert_array_equal(np.asarray(reference), story.reference())


def test_parts_of_toon_stories_can_be_windows() -> None:
    source = ToonWindows(range(2), settings=_COMPACT, window=1)
    whole = ToonWindows(range(2), settings=_COMPACT)
    assert len(source) == 8
    np.testing.assert_array_equal(frames_of(source[6])[0], frames_of(whole[1])[2])
    assert source.plan(6).clips[0].mark == whole.plan(1).clips[2].mark


def test_another_seed_pool_or_size_has_other_marks() -> None:
    def marks(*arguments: Any, **options: Any) -> tuple[str, ...]:
        plan = ToonWindows(*arguments, **{"settings": _COMPACT, **options}).plan(0)
        return (*(clip.mark for clip in plan.clips), *(mark.mark for _, mark in plan.references))

    others = [marks(range(1, 2)), marks(range(1), "all"), marks(range(1), settings=replace(_COMPACT, size=32))]
    assert marks(range(1)) == marks(range(1))
    everything = [mark for one in (marks(range(1)), *others) for mark in one]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize(
    ("arguments", "options"), [((range(0),), {}), ((range(1), "train", _COMPACT), {"window": 5}), ((range(1), "x"), {})]
)
def test_toon_windows_that_cannot_be_are_refused(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"Toon windows need a seed|pool must be"):
        ToonWindows(*arguments, **options)
