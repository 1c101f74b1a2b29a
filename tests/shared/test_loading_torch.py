"""The face for PyTorch: the same samples whatever reads them, and an epoch that goes on where it stopped."""

import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from packaging_stories import SHOT_FRAMES, Films, film, story

from animeshooter_hf import load_stories
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import FrameSampling, StoryLoader, StoryView, collate_stories
from animeshooter_hf.loading.epoch_order import EpochOrder, SampleKey
from animeshooter_hf.video.reading import FrameIndex

NUM_STORIES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("torch")
    film(root, "v")
    write_dataset(root / "data", [story("v", segment) for segment in range(NUM_STORIES)], media=Films(root))
    return root / "data"


@pytest.fixture(scope="module")
def broken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without references and sound, and with one clip that is none."""
    root = tmp_path_factory.mktemp("broken")
    (root / "stories").mkdir()
    (root / "shots").mkdir()
    for config in ("stories", "shots"):
        (path,) = (folder / config).iterdir()
        table = pq.read_table(path)
        if config == "shots":
            cells = table["video"].to_pylist()
            cells[6]["bytes"] = b"no video"
            field = table.schema.field("video")
            table = table.set_column(table.schema.get_field_index("video"), field, pa.array(cells, field.type))
        pq.write_table(table, root / config / path.name)
    return root


def taken(batches: Any) -> list[tuple[Any, ...]]:
    return [(tuple(map(tuple, b["shot_ids"])), b["frame_indices"].tolist(), int(b["frames"].sum())) for b in batches]


def loader(view: StoryView, workers: int = 0, **options: Any) -> StoryLoader:
    samples = view.torch(window=2, sampling=FrameSampling(num_frames=3), references=1)
    return StoryLoader(samples, **{"batch_size": 3, "seed": 4, "num_workers": workers, **options})


def test_a_sample_holds_consecutive_shots_with_references_captions_and_sound(folder: Path) -> None:
    view = load_stories(folder)
    samples = view.torch(window=3, sampling=FrameSampling(num_frames=4, place="start"), references=2, audio=True)
    assert len(samples) == NUM_STORIES * 2
    sample = samples[3]
    assert sample["shot_ids"] == ["v_001_01", "v_001_02", "v_001_03"]
    assert sample["captions"] == list(view[1].captions[1:])
    assert (sample["story_id"], sample["storyline"]) == ("v_001", "A day of Mia.")
    assert sample["shot_indices"].tolist() == [1, 2, 3]
    assert sample["frames"].shape == (3, 4, 3, 48, 64)
    for place, index in enumerate((1, 2, 3)):
        expected = view[1].frames(index, 0, 4)
        np.testing.assert_array_equal(sample["frames"][place].permute(0, 2, 3, 1).numpy(), expected)
    assert sample["references"].shape == (2, 3, 48, 64)
    assert sample["reference_characters"] == ["Mia", "Mia"]
    assert [None if sound is None else sound.shape[1] for sound in sample["audio"]] == [None, 22050, None]
    assert sample["audio_rates"] == [None, 44100, None]


def test_pixels_come_as_whole_numbers_or_between_zero_and_one(folder: Path) -> None:
    view = load_stories(folder)
    whole = view.torch(references=1, reference_kind="cutout")[0]
    parts = view.torch(references=1, reference_kind="cutout", as_float=True)[0]
    assert whole["frames"].dtype == whole["references"].dtype == torch.uint8
    assert whole["references"].shape == (1, 4, 48, 64)
    torch.testing.assert_close(parts["frames"], whole["frames"].float() / 255)
    torch.testing.assert_close(parts["references"], whole["references"].float() / 255)


def test_a_whole_story_is_a_sample_where_no_window_is_given(folder: Path) -> None:
    samples = load_stories(folder).torch(window=None, sampling=FrameSampling(num_frames=2))
    assert [samples[n]["shot_ids"][-1] for n in range(len(samples))] == [f"v_00{n}_03" for n in range(NUM_STORIES)]


def test_only_the_stories_of_the_view_are_sampled(folder: Path) -> None:
    view = load_stories(folder)
    samples = view[2:].torch(sampling=FrameSampling(num_frames=1))
    assert {samples[n]["story_id"] for n in range(len(samples))} == {"v_002", "v_003"}


def test_a_transform_is_applied_to_each_sample(folder: Path) -> None:
    samples = load_stories(folder).torch(transform=lambda sample: sample["shot_ids"])
    assert samples[2] == ["v_000_02"]


def test_any_number_of_workers_gives_the_same_batches(folder: Path) -> None:
    view = load_stories(folder)
    alone = taken(loader(view))
    assert sorted(one for batch in alone for one in batch[0]) == sorted(
        (f"v_00{n}_0{k}", f"v_00{n}_0{k + 1}") for n in range(NUM_STORIES) for k in range(3)
    )
    assert taken(loader(view, 1)) == taken(loader(view, 2)) == alone


def test_workers_that_are_spawned_give_the_same_batches(folder: Path) -> None:
    view = load_stories(folder)
    view[0].frames(0)
    assert taken(loader(view[:1], 1, multiprocessing_context="spawn")) == taken(loader(view[:1]))


def test_each_epoch_has_its_own_order_and_frames_and_a_seed_gives_them_again(folder: Path) -> None:
    view = load_stories(folder)
    one = loader(view)
    first, second = taken(one), taken(one)
    assert one.epoch == 2
    assert [batch[0] for batch in first] != [batch[0] for batch in second]
    frames = [
        {ids: frames for batch in epoch for ids, frames in zip(batch[0], batch[1], strict=True)}
        for epoch in (first, second)
    ]
    assert frames[0].keys() == frames[1].keys()
    assert frames[0] != frames[1]
    again = loader(view)
    again.set_epoch(1)
    assert taken(again) == second
    assert taken(loader(view, seed=5)) != first
    in_order = loader(view, shuffle=False)
    assert taken(in_order)[0][0][0] == ("v_000_00", "v_000_01")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_was_broken_off_goes_on_with_the_next_batch(folder: Path, workers: int) -> None:
    view = load_stories(folder)
    whole = taken(loader(view))
    broken_off = loader(view, workers)
    batches = iter(broken_off)
    begun = taken([next(batches), next(batches)])
    state = pickle.loads(pickle.dumps(broken_off.state_dict()))
    del batches
    resumed = loader(view, workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert begun + taken(resumed) == whole
    assert taken(resumed) == taken(second_epoch(view))


def second_epoch(view: StoryView) -> StoryLoader:
    later = loader(view)
    later.set_epoch(1)
    return later


def test_a_state_of_another_order_is_refused(folder: Path) -> None:
    view = load_stories(folder)
    with pytest.raises(InputError, match="The state has batch_size 3, the loader 2"):
        loader(view, batch_size=2).load_state_dict(loader(view).state_dict())


def test_processes_share_the_samples_of_an_epoch(folder: Path) -> None:
    view = load_stories(folder)
    shares = [[ids for batch in taken(loader(view, rank=rank, world_size=2)) for ids in batch[0]] for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == 6
    assert len({*shares[0], *shares[1]}) == 12
    uneven = [EpochOrder(num_samples=7, rank=rank, world_size=2).batches(0) for rank in (0, 1)]
    assert [len(share) for share in uneven] == [4, 4]
    assert len({int(one) for share in uneven for batch in share for one in batch}) == 7
    full = [taken(loader(view, rank=rank, world_size=2, drop_last=True)) for rank in (0, 1)]
    assert [[len(batch[0]) for batch in share] for share in full] == [[3, 3], [3, 3]]


def test_what_is_broken_is_named_or_left_out_and_counted(broken: Path) -> None:
    view = load_stories(broken)
    with pytest.raises(InputError, match="The clip of shot v_001_02 cannot be read"):
        view.torch()[6]
    samples = view.torch(on_error="skip", sampling=FrameSampling(num_frames=1))
    batches = StoryLoader(samples, batch_size=1, num_workers=1)
    assert sum(len(batch["shot_ids"]) for batch in batches) == NUM_STORIES * 4 - 1
    (skipped,) = batches.skipped
    assert skipped.story_id == "v_001"
    assert "shot v_001_02 cannot be read" in skipped.reason
    batch = collate_stories([samples[5], samples[6]])
    assert (batch["frames"].shape[0], len(batch["skipped"])) == (1, 1)


def test_reading_stories_needs_no_torch() -> None:
    code = "import sys, animeshooter_hf.loading as one; one.load_stories; print('torch' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "False"


def test_shots_of_several_sizes_stay_a_list() -> None:
    batch = collate_stories([{"frames": torch.zeros(1, 2)}, {"frames": torch.zeros(1, 3)}])
    assert [frames.shape for frames in batch["frames"]] == [(1, 2), (1, 3)]


def test_what_a_sample_cannot_have_is_refused(folder: Path, broken: Path) -> None:
    view = load_stories(folder)
    with pytest.raises(InputError, match=r"need the media 'references', but .* has no config references"):
        load_stories(broken).torch(references=1)
    with pytest.raises(InputError, match="need the media 'audio', but the view leaves them out"):
        load_stories(folder, media=("video",)).torch(audio=True)
    with pytest.raises(InputError, match=r"No story of .* has 5 consecutive clips"):
        view.torch(window=5)
    with pytest.raises(ValueError, match="window must be at least 1"):
        view.torch(window=0)
    with pytest.raises(ValueError, match="step must be at least 1"):
        view.torch(step=0)
    with pytest.raises(ValueError, match="on_error is raise or skip"):
        view.torch(on_error="ignore")
    with pytest.raises(IndexError, match="there is no sample 16"):
        view.torch()[16]
    with pytest.raises(ValueError, match="rank must lie in"):
        loader(view, rank=2, world_size=2)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        loader(view, batch_size=0)


def index_of(num_frames: int, rate: int = 24) -> FrameIndex:
    return FrameIndex(np.arange(num_frames, dtype=np.int64), Fraction(1, rate), np.zeros(1, np.int64))


def test_frames_are_chosen_as_asked() -> None:
    rng = np.random.default_rng(0)
    index = index_of(SHOT_FRAMES)

    def chosen(**settings: Any) -> list[int]:
        return list(FrameSampling(**settings).choose(index, rng))

    assert chosen() == list(range(12))
    assert chosen(stride=5) == [0, 5, 10]
    assert chosen(num_frames=3, stride=2, place="start") == [0, 2, 4]
    assert chosen(num_frames=4, place="center") == [4, 5, 6, 7]
    assert chosen(num_frames=3, place="even") == [2, 6, 10]
    assert chosen(num_frames=14, place="even") == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11]
    assert chosen(frame_rate=8.0) == [0, 3, 6, 9]
    assert chosen(frame_rate=48.0, num_frames=4, place="start") == [0, 0, 1, 1]
    assert chosen(num_frames=15) == [*range(12), 11, 11, 11]
    starts = {chosen(num_frames=10)[0] for _ in range(60)}
    assert starts == {0, 1, 2}
    pairs = [chosen(num_frames=2, frame_rate=8.0) for _ in range(20)]
    assert {second - first for first, second in pairs} == {3}
    assert len({first for first, _ in pairs}) > 3


def test_a_sampling_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        FrameSampling(num_frames=0)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        FrameSampling(stride=0)
    with pytest.raises(ValueError, match="stands without a stride"):
        FrameSampling(stride=2, frame_rate=8)
    with pytest.raises(ValueError, match="'even' needs num_frames"):
        FrameSampling(place="even")
    with pytest.raises(ValueError, match="place must be random"):
        FrameSampling(place="somewhere")  # type: ignore[arg-type]


def test_an_order_by_blocks_gives_every_sample_once_and_reads_few_blocks_at_a_time() -> None:
    blocks = np.repeat(np.arange(30), 10)
    order = EpochOrder(num_samples=300, batch_size=4, seed=1, blocks=blocks)
    batches = order.batches(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert [len(batch) for batch in batches] == [4] * 75
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in order.batches(1)]
    last_use = {block: number for number, batch in enumerate(batches) for block in blocks[batch].tolist()}
    first_use: dict[int, int] = {}
    for number, batch in enumerate(batches):
        for block in blocks[batch].tolist():
            first_use.setdefault(block, number)
    in_use = [sum(first_use[b] <= number <= last_use[b] for b in first_use) for number in range(len(batches))]
    assert max(in_use) <= 16 < 30
    shares = [EpochOrder(num_samples=300, blocks=blocks, rank=rank, world_size=3).batches(0) for rank in range(3)]
    assert sorted(np.concatenate([one for share in shares for one in share]).tolist()) == list(range(300))


def test_a_plain_number_is_a_sample_of_the_first_epoch(folder: Path) -> None:
    samples = load_stories(folder).torch(sampling=FrameSampling(num_frames=3))
    torch.testing.assert_close(samples[7]["frames"], samples[SampleKey(0, 7)]["frames"])
    torch.testing.assert_close(samples[-1]["frames"], samples[len(samples) - 1]["frames"])
