"""The statistics of stories are those of the paper's Table 1, exact, and what is unknown is counted and never zero."""

import json
import statistics
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from animeshooter_hf import AudioAnnotation, Character, ReferenceMask, Shot, Story
from animeshooter_hf.cards.dataset_card import DatasetStatistics
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.quality.statistics import (
    VideoFacts,
    paper_statistics,
    statistics_text,
    table_1,
    video_facts,
    write_statistics,
)
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.statistics import MAX_DISTINCT, RunningDistribution
from animeshooter_hf.toon.direction import plan_film
from animeshooter_hf.toon.script import make_stories
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.video import index_frames, write_video

FILMS = [
    (700, FilmSettings(width=192, height=108, seconds=200)),
    (701, FilmSettings(width=192, height=108, seconds=61, frame_rate="24000/1001")),
    (702, FilmSettings(width=192, height=108, seconds=33.3, frame_rate=25)),
]


@pytest.fixture(scope="module")
def scripts() -> list[dict[str, Any]]:
    """The stories of films as JSON: what a film's script holds under "stories", after a round through text."""
    rows = []
    for seed, settings in FILMS:
        plan = plan_film(seed, settings)
        stories = json.loads(json.dumps([story.to_json() for story in make_stories(plan)]))
        rows.append({"rate": settings.frame_rate, "num_frames": settings.num_frames, "stories": stories})
    return rows


def count_by_hand(scripts: list[dict[str, Any]]) -> dict[str, list[Fraction]]:
    """A second implementation: plain loops over script JSON that gather every value, exactly."""
    told: dict[str, list[Fraction]] = defaultdict(list)
    for script in scripts:
        told["video_seconds"].append(script["num_frames"] / script["rate"])
        told["stories_per_video"].append(Fraction(len(script["stories"])))
        for story in script["stories"]:
            told["shots_per_story"].append(Fraction(len(story["shots"])))
            told["story_seconds"].append((story["end_frame"] - story["start_frame"]) / script["rate"])
            told["storyline_words"].append(Fraction(len(story["storyline"].split())))
            told["characters_per_story"].append(Fraction(len(story["main_characters"])))
            told["scenes_per_story"].append(Fraction(len(story["main_scenes"])))
            for shot in story["shots"]:
                seconds = (shot["end_frame"] - shot["start_frame"]) / script["rate"]
                plot, seen = len(shot["narrative_caption"].split()), len(shot["descriptive_caption"].split())
                told["shot_seconds"].append(seconds)
                told["narrative_words"].append(Fraction(plot))
                told["descriptive_words"].append(Fraction(seen))
                told["caption_words"].append(Fraction(plot + seen))
                told["characters_per_shot"].append(Fraction(len(shot["characters"])))
                if shot["audio_annotation"] is not None:
                    told["audio_shot_seconds"].append(seconds)
    return told


def facts(scripts: list[dict[str, Any]]) -> dict[str, VideoFacts]:
    return {
        script["stories"][0]["video_id"]: VideoFacts(seconds=script["num_frames"] / script["rate"])
        for script in scripts
    }


def test_the_statistics_of_toon_films_are_those_of_their_scripts_to_the_last_bit(
    scripts: list[dict[str, Any]],
) -> None:
    stories = [Story.from_json(row) for script in scripts for row in script["stories"]]
    counted = paper_statistics(iter(stories), videos=facts(scripts))
    truth = count_by_hand(scripts)
    assert len(truth["shot_seconds"]) > 60
    assert counted.counts["videos"] == len(scripts)
    assert counted.counts["stories"] == len(truth["story_seconds"]) > len(scripts)
    assert counted.counts["shots"] == len(truth["shot_seconds"])
    assert counted.counts["audio_shots"] == len(truth["audio_shot_seconds"]) > 0
    for name, values in truth.items():
        found = counted.distributions[name]
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        assert (found.known, found.unknown) == (len(values), 0), name
        assert found.mean == float(sum(values) / len(values)), name
        assert (found.minimum, found.maximum) == (float(min(values)), float(max(values))), name
        assert [found.lower_quartile, found.median, found.upper_quartile] == [float(q) for q in quartiles], name


def test_a_packaged_dataset_read_back_has_the_statistics_of_the_scripts(
    scripts: list[dict[str, Any]], tmp_path: Path
) -> None:
    stories = [Story.from_json(row) for script in scripts for row in script["stories"]]
    write_dataset(tmp_path / "dataset", stories, progress=False)
    files = sorted((tmp_path / "dataset" / "stories").glob("*.parquet"))
    rows = (row for path in files for row in pq.read_table(path).to_pylist())
    read_back = paper_statistics(map(Story.from_dataset_row, rows), videos=facts(scripts))
    assert read_back == paper_statistics(stories, videos=facts(scripts))
    truth = count_by_hand(scripts)
    for name, values in truth.items():
        assert read_back.distributions[name].mean == float(sum(values) / len(values)), name


def test_the_length_of_a_scanned_video_is_exact(tmp_path: Path) -> None:
    rate = Fraction(24_000, 1001)
    path = write_video(tmp_path / "v.mp4", [np.zeros((32, 32, 3), np.uint8)] * 13, rate)
    scan = FilmScan(
        width=32, height=32, index=index_frames(path), boundaries=(), curve=np.zeros(13, np.float32), samples=(),
        detector="none",
    )  # fmt: skip
    assert video_facts(scan) == VideoFacts(seconds=13 / rate, width=32, height=32)


def test_the_order_of_the_stories_changes_nothing(scripts: list[dict[str, Any]]) -> None:
    stories = [Story.from_json(row) for script in scripts for row in script["stories"]]
    assert paper_statistics(stories) == paper_statistics(reversed(stories))


def test_the_card_shows_the_same_numbers(scripts: list[dict[str, Any]]) -> None:
    stories = [Story.from_json(row) for script in scripts for row in script["stories"]]
    counted = paper_statistics(stories)
    shown = DatasetStatistics.from_stories(stories).values
    assert shown == {name: counted.value(name) for name in shown}
    assert shown["shots"] == counted.counts["shots"]


def story(**changes: Any) -> Story:
    return Story(**{"video_id": "v", "story_id": "v_000", **changes})


def test_what_is_unknown_is_counted_and_never_zero() -> None:
    bare = Shot(shot_id="a", index=0, audio=AudioAnnotation(audio_type="thud"))
    half = Shot(shot_id="b", index=1, narrative_caption="one two", start_seconds=1.0, end_seconds=3.5)
    counted = paper_statistics([story(shots=(bare, half))])
    for name, known in (("narrative_words", 1), ("descriptive_words", 0), ("caption_words", 0), ("shot_seconds", 1)):
        one = counted.distributions[name]
        assert (one.known, one.unknown) == (known, 2 - known), name
    assert counted.distributions["shot_seconds"].mean == 2.5
    assert counted.distributions["descriptive_words"].mean is None
    for name in ("story_seconds", "video_seconds", "storyline_words", "audio_shot_seconds"):
        assert counted.distributions[name].unknown == 1, name
    row = next(row for row in table_1(counted) if row.name == "words, descriptive")
    assert (row.value, row.unknown) == (None, 2)


def test_no_story_gives_nulls_and_not_a_crash() -> None:
    counted = paper_statistics([])
    assert counted.counts["stories"] == 0
    assert all(one.mean is None for one in counted.distributions.values())
    assert "–" in statistics_text(counted)


def test_a_video_that_tells_no_story_is_counted_apart() -> None:
    counted = paper_statistics([story()], videos={"v": VideoFacts(seconds=10), "w": VideoFacts(seconds=90)})
    assert counted.counts["videos"] == counted.counts["videos_without_story"] == 1
    assert counted.distributions["video_seconds"].mean == 10


def test_where_frames_last_unequally_the_clock_tells_how_long_a_shot_is() -> None:
    shot = Shot(shot_id="a", index=0, start_frame=0, end_frame=24, start_seconds=0.0, end_seconds=2.0)
    counted = paper_statistics([story(frame_rate=Fraction(24), shots=(shot,))])
    assert counted.distributions["shot_seconds"].mean == 2.0


def test_a_character_without_references_counts_as_zero_and_a_placeholder_is_told() -> None:
    cast = (Character(id="Mia"), Character(id="Tom"))
    references = [ReferenceMask(character_id="Mia", frame_index=n) for n in (3, 9)]
    counted = paper_statistics([story(characters=cast, references=references)])
    assert counted.distributions["references_per_character"].minimum == 0
    assert counted.distributions["references_per_character"].mean == 1
    assert counted.counts["references_without_mask"] == 2


def test_very_many_distinct_values_take_bounded_room_and_keep_mean_and_range_exact() -> None:
    running = RunningDistribution()
    values = [Fraction(number * 7919 % 70_001, 70_001) * 60 for number in range(70_001)]
    for value in values:
        running.add(value)
    found = running.finish()
    assert len(found.histogram) <= MAX_DISTINCT
    assert (found.minimum, found.maximum) == (0.0, float(max(values)))
    assert found.mean == float(sum(values) / len(values))
    assert 0 < found.grain <= 0.01
    assert found.median == pytest.approx(30, abs=2 * found.grain)


def test_the_report_is_written_as_json_text_and_plot(scripts: list[dict[str, Any]], tmp_path: Path) -> None:
    counted = paper_statistics(Story.from_json(row) for script in scripts for row in script["stories"])
    files = write_statistics(counted, tmp_path / "report")
    assert [path.name for path in files] == ["statistics.json", "statistics.txt", "statistics.svg"]
    data = json.loads(files[0].read_text())
    assert data["counts"]["shots"] == counted.counts["shots"]
    assert data["distributions"]["video_seconds"]["mean"] is None
    text = files[1].read_text()
    for part in ("148,000", "14.82", "286.57", "references per character"):
        assert part in text
    assert "<svg" in files[2].read_text()


def test_a_negative_length_of_a_video_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        VideoFacts(seconds=-1)
