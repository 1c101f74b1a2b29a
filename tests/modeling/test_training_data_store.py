"""The feature store: what it gives back is whole, whatever was killed, cut off, or written at the same time."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.content_marks import mark_of
from animeshooter_hf.modeling.training.feature_store import FeatureStore

_FORK = multiprocessing.get_context("fork")


def key(number: int) -> str:
    return mark_of("test", number)


def value(number: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(number)
    return {"mean": torch.randn(3, 4, generator=draw), "is_token": torch.arange(number % 5) > 1}


def is_whole(store: FeatureStore, number: int) -> bool:
    found = store.get(key(number))
    return found is not None and all(torch.equal(found[name], one) for name, one in value(number).items())


def started(work: Callable[..., None], *arguments: Any) -> Any:
    child = _FORK.Process(target=work, args=arguments, daemon=True)
    child.start()
    return child


def write_numbers(folder: Path, numbers: range, shard_bytes: int = 200) -> None:
    with FeatureStore(folder, shard_bytes=shard_bytes) as store:
        for number in numbers:
            store.put(key(number), "test", value(number))


@pytest.fixture
def filled(tmp_path: Path) -> FeatureStore:
    write_numbers(tmp_path / "store", range(8))
    return FeatureStore(tmp_path / "store")


def test_values_come_back_bit_equal_in_another_process_s_store(filled: FeatureStore) -> None:
    assert len(filled) == 8
    assert all(is_whole(filled, number) for number in range(8))
    assert filled.get(key(99)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.bool, torch.int64])
def test_every_type_that_is_kept_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1], [7, 3]]).to(dtype)
    with FeatureStore(tmp_path) as store:
        store.put(key(0), "test", {"it": tensor.T, "nothing": tensor[:0]})
    found = FeatureStore(tmp_path).get(key(0))
    assert found is not None
    assert found["it"].dtype == dtype
    assert torch.equal(found["it"], tensor.T)
    assert found["nothing"].shape == (0, 2)


def test_a_value_can_be_read_before_it_is_on_disk(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put(key(1), "test", value(1))
    assert is_whole(store, 1)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_writer_that_is_killed_leaves_only_whole_values(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        store, number = FeatureStore(folder, shard_bytes=1000), 0
        while True:
            store.put(key(number), "test", value(number))
            number += 1

    child = started(write, tmp_path)
    while len(list(tmp_path.glob("*.safetensors"))) < 5:
        assert child.is_alive()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    store = FeatureStore(tmp_path)
    assert len(store) > 5
    assert all(is_whole(store, number) for number in range(len(store)))
    assert not store.report().damaged_files


def test_what_a_killed_writer_had_begun_is_no_value_and_does_not_stay(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(2))
    partial = tmp_path / ".0001-abc.safetensors.partial"
    partial.write_bytes(b"half of a file")
    assert len(FeatureStore(tmp_path)) == 2
    assert partial.exists()
    os.utime(partial, (0, 0))
    FeatureStore(tmp_path)
    assert not partial.exists()


def test_two_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    children = [started(write_numbers, tmp_path, range(0, 40)), started(write_numbers, tmp_path, range(20, 60))]
    for child in children:
        child.join()
        assert child.exitcode == 0
    store = FeatureStore(tmp_path)
    assert len(store) == 60
    assert all(is_whole(store, number) for number in range(60))


def test_another_run_s_values_are_seen_after_a_refresh(tmp_path: Path) -> None:
    mine = FeatureStore(tmp_path)
    write_numbers(tmp_path, range(3))
    assert key(1) not in mine
    mine.refresh()
    assert is_whole(mine, 1)


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_a_file_that_was_cut_off_counts_as_absent_and_is_told(tmp_path: Path, cut: int) -> None:
    with FeatureStore(tmp_path) as store:
        for number in range(3):
            store.put(key(number), "test", value(number))
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    store = FeatureStore(tmp_path)
    assert len(store) == 0
    assert store.get(key(1)) is None
    assert store.report().damaged_files == (path.name,)


def test_a_single_flipped_bit_makes_a_value_absent_and_leaves_its_neighbours(tmp_path: Path) -> None:
    with FeatureStore(tmp_path) as store:
        for number in range(3):
            store.put(key(number), "test", {"it": torch.full((64,), float(number))})
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((2,), 1.0).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(data)
    store = FeatureStore(tmp_path)
    assert store.get(key(1)) is None
    assert store.get(key(0)) is not None
    assert store.get(key(2)) is not None
    assert store.report().damaged_entries == 1
    # Later runs know it, and what is made again wins over what is damaged.
    assert key(1) not in FeatureStore(tmp_path)
    with FeatureStore(tmp_path) as again:
        again.put(key(1), "test", {"it": torch.full((64,), 1.0)})
    assert FeatureStore(tmp_path).get(key(1)) is not None
    assert FeatureStore(tmp_path).report().damaged_entries == 0


def test_verifying_finds_damage_without_being_asked_for_the_value(filled: FeatureStore) -> None:
    assert filled.verify() == 0
    for path in filled.folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 255
        path.write_bytes(data)
    damaged = FeatureStore(filled.folder).verify()
    assert damaged > 0
    assert len(FeatureStore(filled.folder)) == 8 - damaged


def test_a_full_disk_is_one_sentence_and_harms_nothing(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(4))
    told, tell = _FORK.Pipe(duplex=False)

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        store = FeatureStore(tmp_path, shard_bytes=1)
        try:
            store.put(key(5), "test", {"it": torch.zeros(100_000)})
        except InputError as error:
            tell.send(str(error))

    started(write).join()
    assert told.poll(), "the writer did not say that the disk is full"
    assert "cannot be written: File too large. What it held before is unharmed" in told.recv()
    assert not list(tmp_path.glob(".*.partial"))
    store = FeatureStore(tmp_path)
    assert len(store) == 4
    assert all(is_whole(store, number) for number in range(4))


def test_a_store_that_was_pickled_reads_the_same(filled: FeatureStore) -> None:
    import pickle

    assert is_whole(filled, 0)
    other = pickle.loads(pickle.dumps(filled))
    assert all(is_whole(other, number) for number in range(8))


def test_rebuilding_removes_everything(filled: FeatureStore) -> None:
    filled.rebuild()
    assert len(filled) == 0
    assert not list(filled.folder.iterdir())
    filled.put(key(0), "test", value(0))
    filled.flush()
    assert is_whole(FeatureStore(filled.folder), 0)


def test_files_without_a_value_that_is_used_can_be_removed(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(4), shard_bytes=1)
    store = FeatureStore(tmp_path)
    before = store.report().file_bytes
    freed = store.remove_unused([key(0)])
    after = store.report()
    assert freed > 0
    assert after.file_bytes == before - freed
    assert is_whole(store, 0)
    assert key(3) not in store


def test_the_report_counts_values_and_bytes_by_kind(tmp_path: Path) -> None:
    with FeatureStore(tmp_path) as store:
        store.put(key(0), "latents", {"mean": torch.zeros(10)})
        store.put(key(1), "latents", {"mean": torch.zeros(10)})
        store.put(key(2), "text", {"states": torch.zeros(3, dtype=torch.bfloat16)})
    report = store.report()
    assert report.entries == {"latents": 2, "text": 1}
    assert report.bytes == {"latents": 80, "text": 6}
    assert report.num_files == 1
    assert report.file_bytes > 86
    assert "latents" in str(report)
    assert "1 files" in str(report)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        FeatureStore(tmp_path / "file" / "store")


def test_types_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(ValueError, match="There must be tensors of the types"):
        store.put(key(0), "test", {"it": torch.zeros(2, dtype=torch.complex64)})
    with pytest.raises(ValueError, match="There must be tensors of the types"):
        store.put(key(0), "test", {})


def test_limits_that_are_not_positive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least a byte"):
        FeatureStore(tmp_path, shard_bytes=0)
