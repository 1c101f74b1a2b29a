"""Flags, equal texts and merged statistics are those that plain loops over the rows find."""

import itertools
import random
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import pytest

from animeshooter_hf import AudioAnnotation, Character, ReferenceMask, Scene, Shot, Story
from animeshooter_hf.dataset_builder.quality.equal_texts import EqualTextCounter, EqualTextSettings
from animeshooter_hf.dataset_builder.quality.story_flags import FLAGS, FlagCounter, FlagSettings
from animeshooter_hf.dataset_builder.quality.text_duplicates import find_text_duplicates, story_texts
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import make_shot_id, make_story_id
from animeshooter_hf.statistics import MAX_DISTINCT, RunningDistribution, StoryCounter

RATE = Fraction(24)
SENTENCES = [f"Somebody does thing {number} in the park." for number in range(40)]


def random_story(rng: random.Random, number: int) -> Story:
    """A story with every irregularity now and then."""
    story_id = make_story_id(f"v{number // 3:02d}", number % 3)
    shots, at = [], 0
    for index in range(rng.choice([0, 1, 3, 5, 8])):
        start = max(0, at + rng.choice([0, 0, 0, 0, -3, 5, -200]))
        end = start + rng.choice([6, 30, 60, 90, 800])
        has_frames, has_clock = rng.random() > 0.15, rng.random() > 0.15
        shots.append(
            Shot(
                shot_id=make_shot_id(story_id, index), index=index,
                start_frame=start if has_frames else None, end_frame=end if has_frames else None,
                start_seconds=start / 24 if has_clock else None, end_seconds=end / 24 if has_clock else None,
                characters=tuple(rng.sample(["Mia", "Tom", "Nobody"], rng.choice([0, 1, 1, 2]))),
                scene=rng.choice(["Park", "Park", None, "Nowhere"]),
                narrative_caption=rng.choice([None, "Short.", *SENTENCES[:8]]),
                descriptive_caption=rng.choice([None, *SENTENCES, "Write to mia@example.org or @mia_draws today."]),
                audio=AudioAnnotation(audio_type="thud") if rng.random() < 0.3 else None,
            )
        )  # fmt: skip
        at = end
    masks = [[], [None], [RleMask(4, 5, "d0"), None]]
    return Story(
        video_id=f"v{number // 3:02d}", story_id=story_id, frame_rate=rng.choice([RATE, RATE, None]),
        start_frame=0, end_frame=rng.choice([at, 100_000, 10]), storyline=rng.choice(["", *SENTENCES[:3]]),
        characters=[Character(id=name) for name in rng.choice([[], ["Mia"], ["Mia", "Tom", "A", "B"]])],
        scenes=[Scene(id=name) for name in rng.choice([[], ["Park"], ["Park", "A", "B", "C"]])],
        shots=tuple(shots),
        references=[ReferenceMask(character_id="Mia", frame_index=1, mask=one) for one in rng.choice(masks)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    rng = random.Random(3)
    return [random_story(rng, number) for number in range(120)]


def flags_by_hand(rows: list[dict[str, Any]], shortest: float, longest: float) -> Counter[str]:
    """A second implementation, over JSON rows."""
    found: Counter[str] = Counter()
    last_row: dict[str, Any] | None = None
    for row in rows:
        people = [one["id"] for one in row["main_characters"]]
        places = [one["id"] for one in row["main_scenes"]]
        found["story_without_shots"] += len(row["shots"]) == 0
        found["story_without_storyline"] += row["storyline"] == ""
        found["story_without_characters"] += len(people) == 0
        found["story_with_many_characters"] += len(people) >= 4
        found["story_without_scenes"] += len(places) == 0
        found["story_with_many_scenes"] += len(places) >= 4
        found["story_without_references"] += all(one["mask"] is None for one in row["reference_masks"])
        found["story_without_times"] += row["fps"] is None
        if last_row is not None and last_row["video_id"] == row["video_id"]:
            found["story_overlaps"] += row["start_frame"] < last_row["end_frame"]
        last_row, before = row, None
        for shot in row["shots"]:
            start, end = shot["start_frame"], shot["end_frame"]
            if shot["start_time"] is not None:
                seconds = shot["end_time"] - shot["start_time"]
            else:
                seconds = None if start is None or row["fps"] is None else (end - start) / row["fps"]
            found["shot_without_times"] += seconds is None
            found["shot_short"] += seconds is not None and seconds < shortest
            found["shot_long"] += seconds is not None and seconds > longest
            found["shot_without_narrative_caption"] += shot["narrative_caption"] is None
            found["shot_without_descriptive_caption"] += shot["descriptive_caption"] is None
            found["shot_without_characters"] += shot["characters"] == []
            found["shot_without_scene"] += shot["scene"] is None
            found["unknown_character"] += any(name not in people for name in shot["characters"])
            found["unknown_scene"] += shot["scene"] is not None and shot["scene"] not in places
            found["shot_outside_story"] += start is not None and (start < 0 or end > row["end_frame"])
            found["private_email"] += "mia@example.org" in (shot["descriptive_caption"] or "")
            found["private_handle"] += "@mia_draws" in (shot["descriptive_caption"] or "")
            if before is not None:
                for one, other, unit in (("start_frame", "end_frame", 1), ("start_time", "end_time", 24)):
                    if shot[one] is not None and before[one] is not None:
                        begun = round((shot[one] - before[one]) * unit)
                        gap = round((shot[one] - before[other]) * unit)
                        found["shot_out_of_order"] += begun < 0
                        found["shot_overlaps"] += gap < 0
                        found["shot_after_gap"] += gap > 0
                        break
            before = shot
    return found


def test_every_flag_is_counted_as_plain_loops_count_it(stories: list[Story]) -> None:
    counter = FlagCounter(FlagSettings(shortest_shot_seconds=0.3, longest_shot_seconds=20))
    for story in stories:
        counter.add(story)
    report = counter.finish()
    truth = flags_by_hand([story.to_json() for story in stories], 0.3, 20)
    assert report.counts == {flag: truth[flag] for flag in FLAGS}
    unseen = {flag for flag in FLAGS if not truth[flag]}
    assert unseen <= {"private_url", "private_phone", "private_card", "private_iban"}
    known = {story.story_id for story in stories} | {shot.shot_id for story in stories for shot in story.shots}
    assert all(1 <= len(places) <= 3 and known.issuperset(places) for places in report.examples.values())


def test_a_story_without_faults_raises_no_flag() -> None:
    shots = [
        Shot(shot_id=f"a{n}", index=n, start_frame=48 * n, end_frame=48 * n + 48, characters=("Mia",), scene="Park",
             narrative_caption="Mia runs.", descriptive_caption="A girl runs.")
        for n in range(3)
    ]  # fmt: skip
    story = Story(
        video_id="a", story_id="a_000", frame_rate=RATE, start_frame=0, end_frame=144, storyline="Mia runs.",
        characters=[Character(id="Mia")], scenes=[Scene(id="Park")], shots=tuple(shots),
        references=[ReferenceMask(character_id="Mia", frame_index=1, mask=RleMask(4, 5, "d0"))],
    )  # fmt: skip
    counter = FlagCounter()
    counter.add(story)
    report = counter.finish()
    assert not any(report.counts.values())
    assert report.num_flagged_stories == 0


def test_limits_of_shots_that_exclude_everything_are_refused() -> None:
    with pytest.raises(InputError, match="must not be longer than the longest"):
        FlagSettings(shortest_shot_seconds=3, longest_shot_seconds=2)


def test_equal_texts_are_those_that_the_listing_search_finds(stories: list[Story]) -> None:
    counter = EqualTextCounter()
    splits = {story.story_id: "train" if number % 4 else "test" for number, story in enumerate(stories)}
    for story in stories:
        counter.add(story, splits[story.story_id])
    report = counter.finish()
    owner = {shot.shot_id: story.story_id for story in stories for shot in story.shots}
    groups = find_text_duplicates(story_texts(stories))
    for name, found in report.fields.items():
        truth = [group for group in groups if group.field == name]
        places = [{splits[owner.get(one, one)] for one in group.ids} for group in truth]
        assert found.num_groups == len(truth) > 1, name
        assert found.num_equal == sum(len(group.ids) for group in truth)
        assert found.most == max(len(group.ids) for group in truth)
        assert found.num_across_splits == sum(len(of) > 1 for of in places) > 0
        assert len(found.examples) == min(10, len(truth))
        told = {tuple(dict.fromkeys(owner.get(one, one) for one in group.ids)) for group in truth}
        assert all(any(set(example) <= set(group) for group in told) for example in found.examples)


def test_near_stories_are_those_that_comparing_all_pairs_finds(stories: list[Story]) -> None:
    settings = EqualTextSettings(min_share=0.4, min_captions=2, max_stories_of_caption=1000, num_examples=10_000)
    counter = EqualTextCounter(settings)
    captions: dict[str, list[str]] = defaultdict(list)
    for number, story in enumerate(stories):
        counter.add(story, f"split{number % 2}")
        captions[story.story_id] = [shot.descriptive_caption for shot in story.shots if shot.descriptive_caption]
    split = {story.story_id: number % 2 for number, story in enumerate(stories)}
    truth = {}
    for one, other in itertools.combinations(captions, 2):
        shared = len(set(captions[one]) & set(captions[other]))
        least = min(len(captions[one]), len(captions[other]))
        if shared >= 2 and shared / least >= 0.4:
            truth[one, other] = (shared, shared / least, split[one] != split[other])
    report = counter.finish()
    assert {pair.stories: (pair.num_shared, pair.share, pair.is_across_splits) for pair in report.near} == truth
    assert report.num_near_pairs == len(truth) > 5
    assert report.num_near_across_splits == sum(across for _, _, across in truth.values())


def test_no_story_gives_no_group_and_no_crash() -> None:
    report = EqualTextCounter().finish()
    assert report.num_near_pairs == 0
    assert all(one.num_texts == one.num_equal == one.most == 0 for one in report.fields.values())


def test_merged_counters_tell_what_one_counter_over_all_stories_tells(stories: list[Story]) -> None:
    merged = StoryCounter()
    for part in (stories[:50], stories[50:51], [], stories[51:]):
        counter = StoryCounter()
        for story in part:
            counter.add(story)
        merged.merge(counter)
    assert merged.finish() == StoryCounter.count(stories)


def test_merging_distributions_that_were_rounded_keeps_mean_range_and_number() -> None:
    values = [Fraction(number, 7) for number in range(MAX_DISTINCT + 50)]
    few = [Fraction(1, 3), None, Fraction(10**6)]
    rounded, plain = RunningDistribution(), RunningDistribution()
    for value in values:
        rounded.add(value)
    for value in few:
        plain.add(value)
    for one, other in ((rounded, plain), (plain, rounded)):
        merged = RunningDistribution()
        merged.merge(one)
        merged.merge(other)
        found = merged.finish()
        assert (found.known, found.unknown) == (len(values) + 2, 1)
        assert found.mean == float((sum(values) + few[0] + few[2]) / (len(values) + 2))  # type: ignore[operator]
        assert (found.minimum, found.maximum) == (0.0, 1e6)
        assert found.grain > 0
        assert found.median == pytest.approx(float(values[len(values) // 2]), abs=2 * found.grain)
