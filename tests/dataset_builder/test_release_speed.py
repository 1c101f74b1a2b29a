"""What the release reader does to be fast says the same as the plain way, and holds no more memory."""

import copy
import pickle
import random
from dataclasses import fields, replace
from typing import Any

import pytest

from animeshooter_hf.dataset_builder.release import changes, keys
from animeshooter_hf.dataset_builder.release.changes import apply_changes, find_changes
from animeshooter_hf.dataset_builder.release.drafts import draft_mask, draft_reference, draft_shot, place_shot
from animeshooter_hf.dataset_builder.release.masks import count_all_pixels, read_references
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.values import Place, read_clock, read_clock_range
from animeshooter_hf.masks import RleMask, decode_runs, encode_runs
from animeshooter_hf.records import AudioAnnotation, Character, ReferenceMask, Shot

SHOT: dict[str, Any] = {
    "shot_id": "a_000_00",
    "index": 0,
    "start_seconds": 1.0,
    "end_seconds": 5.0,
    "clip_start_seconds": 1.0,
    "clip_end_seconds": 5.0,
    "is_prologue_or_epilogue": True,
    "characters": ("Girl", "Dog"),
    "scene": "Bridge",
    "narrative_caption": "She walks.",
    "descriptive_caption": "A girl on a bridge.",
    "audio": AudioAnnotation(audio_type="footsteps"),
}


def drafted_shot(**changed: Any) -> Shot:
    told = {**SHOT, **changed}
    span = {
        name: None
        if told[f"{prefix}start_seconds"] is None
        else (told[f"{prefix}start_seconds"], told[f"{prefix}end_seconds"])
        for name, prefix in (("times", ""), ("clip", "clip_"))
    }
    rest = {key: value for key, value in told.items() if not key.endswith("_seconds")}
    return draft_shot(**span, **rest)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"start_seconds": None, "end_seconds": None},
        {"clip_start_seconds": None, "clip_end_seconds": None, "audio": None, "scene": None},
        {"characters": (), "narrative_caption": None, "descriptive_caption": None, "is_prologue_or_epilogue": False},
    ],
)
def test_a_drafted_shot_is_the_shot_that_checks_itself(changed: dict[str, Any]) -> None:
    plain = Shot(**{**SHOT, **changed})
    drafted = drafted_shot(**changed)
    assert type(drafted) is Shot
    assert [getattr(drafted, one.name) for one in fields(Shot)] == [getattr(plain, one.name) for one in fields(Shot)]
    assert (drafted, hash(drafted), repr(drafted)) == (plain, hash(plain), repr(plain))
    assert place_shot(drafted, 30, 150) == replace(plain, start_frame=30, end_frame=150)


def test_a_drafted_mask_and_reference_are_those_that_check_themselves() -> None:
    mask = RleMask(4, 6, encode_runs([4, 20]))
    reference = ReferenceMask(character_id="Girl", frame_index=7, mask=mask)
    drafted = draft_reference("Girl", 7, draft_mask(4, 6, mask.counts))
    assert (drafted, hash(drafted), repr(drafted)) == (reference, hash(reference), repr(reference))
    assert type(drafted) is ReferenceMask
    assert type(drafted.mask) is RleMask


def test_a_drafted_record_is_frozen_and_can_be_copied_and_pickled() -> None:
    drafted = drafted_shot()
    with pytest.raises(AttributeError):
        drafted.index = 1  # type: ignore[misc]
    assert copy.deepcopy(drafted) == pickle.loads(pickle.dumps(drafted)) == replace(drafted) == Shot(**SHOT)


def plain_count(text: str, limit: int) -> int | None:
    try:
        return sum(decode_runs(text, limit=limit))
    except ValueError:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_pixels_of_many_texts_are_counted_as_one_by_one_whatever_the_damage(seed: int) -> None:
    chance = random.Random(seed)
    lengths = [0, 1, 15, 16, 17, 511, 512, 513, 1023, 16383, 16384, 1 << 20, 1 << 28]
    for _ in range(200):
        texts = []
        for _ in range(chance.randint(1, 5)):
            letters = list(encode_runs([chance.choice(lengths) for _ in range(chance.randint(1, 9))]))
            if chance.random() < 0.3:
                letters[chance.randrange(len(letters))] = chr(chance.randint(45, 115))
            texts.append("".join(letters))
        limits = [chance.choice([1 << 10, 1 << 28, 1 << 30]) for _ in texts]
        assert count_all_pixels(texts, limits) == [plain_count(*pair) for pair in zip(texts, limits, strict=True)]


def test_runs_that_add_up_past_every_mask_are_not_taken_for_good_ones() -> None:
    # Steps of 2^34 that are legal as groups of five bits, and whose sums leave every mask far behind.
    text = encode_runs([0, *[(1 << 34) - 1] * 3]) + encode_runs([(1 << 34) - 1]) * 40
    assert count_all_pixels([text, "04"], [1 << 28, 4]) == [None, 4]


def test_a_plain_mask_is_read_as_one_with_its_keys_in_another_order() -> None:
    counts = encode_runs([2] * 500)
    masks = [{"frame index": frame, "rle mask": {"size": [20, 50], "counts": counts}} for frame in (9, 3)]
    turned = [{"rle mask": dict(reversed(one["rle mask"].items())), "frame index": one["frame index"]} for one in masks]  # type: ignore[attr-defined]
    told, logs = [], []
    for rows in (masks, turned):
        log = ProblemLog()
        entry = [{"ID": "Girl", "masks": rows}]
        told.append(read_references(entry, (Character(id="Girl"),), Place(log, "a.json", "a_000")))
        logs.append(list(log.entries()))
    assert told[0] == told[1]
    assert [one.frame_index for one in told[0]] == [3, 9]
    assert logs[0] == logs[1]
    assert [problem.code for problem in logs[0]] == ["references_unordered"]


@pytest.mark.parametrize(
    ("told", "original"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [0.0]}, {"a": [-0.0]}),
        (0.0, -0.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": [{"x": None}]}, {"a": [{"x": None, "y": None}]}),
        ([[1, 2]], [[1, 2, 3]]),
        ({"shots": [{"id": "a", "n": [0]}, {"id": "b"}]}, {"shots": [{"id": "b"}, {"id": "a", "n": [False]}]}),
    ],
)
def test_values_that_are_equal_but_not_the_same_are_told_apart(told: Any, original: Any) -> None:
    found = find_changes(told, original)
    assert found
    assert repr(apply_changes(copy.deepcopy(told), found)) == repr(original)
    assert find_changes(copy.deepcopy(original), original) == []


def test_long_keys_and_objects_of_many_keys_are_not_remembered() -> None:
    place = Place(ProblemLog(), "a.json")
    long, many = {"x" * 1000: 1}, {f"k{number}": 1 for number in range(1000)}
    for row in (long, many):
        keys.read_keys(row, keys.SHOT, "a shot", place)
        find_changes([{}], [row])
        find_changes([row], [{}])
        assert not any(known == tuple(row) for _, known in keys._LAYOUTS)
        assert tuple(row) not in changes._NAMING_KEYS


def test_a_time_that_comes_again_is_read_the_same_and_others_are_not_taken_for_it() -> None:
    assert [read_clock("00:05") for _ in range(2)] == [5.0, 5.0]
    assert [read_clock(value) for value in (1, True, 1.0, "1", "0" * 40)] == [1.0, None, 1.0, 1.0, None]
    assert [read_clock_range(value) for value in ("00:04-00:08", "00:04-00:08", 4, "0" * 70)] == [
        (4.0, 8.0), (4.0, 8.0), None, None,
    ]  # fmt: skip
