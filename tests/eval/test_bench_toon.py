"""The toon edition is complete, exact and the same every time; its truth is the upper bound."""

import hashlib
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.attribute_reading import ReadingSettings
from animeshooter_hf.eval.bench.bench_folder import Benchmark, open_benchmark
from animeshooter_hf.eval.bench.bench_tasks import check_eval_yaml, eval_yaml, task_ids
from animeshooter_hf.eval.bench.plan_json import plan_from_json, plan_to_json
from animeshooter_hf.eval.bench.read_attributes import (
    METRIC,
    AttributeResults,
    merge_attributes,
    read_attributes,
    read_story_attributes,
)
from animeshooter_hf.eval.bench.toon_bench import ToonBenchSettings, make_toon_bench, plan_of, truth_predictions
from animeshooter_hf.eval.bench.toon_questions import ToonWorld
from animeshooter_hf.eval.bench.toon_stories import ToonStorySettings
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.toon import ATTRIBUTES, ToonFilm, is_held_out
from animeshooter_hf.toon.captions import identity_words
from animeshooter_hf.video import read_frames

SMALL = ToonStorySettings(width=240, height=136, frame_rate=Fraction(8), num_frames=8)
SETTINGS = ToonBenchSettings(
    num_characters=3,
    stories_per_ip=1,
    num_shots=2,
    num_long_shots=3,
    clips_per_ip=1,
    with_truth_clips=True,
    story=SMALL,
)
FEW = ReadingSettings(frames_per_shot=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toon_bench(tmp_path_factory.mktemp("bench") / "toon", SETTINGS)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Benchmark:
    return open_benchmark(folder)


@pytest.fixture(scope="module")
def read_truth(bench: Benchmark) -> AttributeResults:
    return read_attributes(bench, truth_predictions(bench)[:2], FEW)


def test_every_config_and_split_opens_with_load_dataset(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["num_rows"]) == {"stories", "references", "enhance", "truth", "truth_clips"}
    for config, splits in manifest["num_rows"].items():
        loaded = load_dataset(str(folder), config, cache_dir=str(tmp_path))
        assert {name: len(rows) for name, rows in loaded.items()} == splits
    stories = load_dataset(str(folder), "stories", cache_dir=str(tmp_path))
    assert stories["zero_shot"]["story_id"] == stories["main"]["story_id"]
    assert all(row["num_shots"] == 3 for row in stories["long"])
    references = load_dataset(str(folder), "references", split="test", cache_dir=str(tmp_path))
    assert references[0]["image"].mode == "RGBA"


def test_all_characters_are_of_combinations_that_are_held_out(bench: Benchmark) -> None:
    cast = {one.id: one for text in bench.plans.values() for one in plan_from_json(text).characters}
    assert len(cast) == 3
    assert all(is_held_out(one) for one in cast.values())


def test_no_caption_says_who_somebody_is(bench: Benchmark) -> None:
    captions = [shot.caption for track in bench.tracks for story in bench.stories(track) for shot in story.shots]
    for caption in captions:
        assert not identity_words() & set(re.findall(r"[a-z]+", caption.lower())), caption


def test_a_main_story_changes_its_place_in_every_shot_and_a_long_one_returns(bench: Benchmark) -> None:
    for story in bench.stories("main"):
        assert len({shot.scene for shot in story.shots}) == len(story.shots)
    for story in bench.stories("long"):
        assert len({shot.scene for shot in story.shots}) < len(story.shots)


def test_casts_of_several_share_nobody_and_every_shot_of_audio_is_heard(bench: Benchmark) -> None:
    casts = {story.ip_id: set(story.characters) for story in bench.stories("multi_character")}
    assert sum(len(cast) for cast in casts.values()) == len(set().union(*casts.values())) == 3
    assert all(shot.sound_caption for story in bench.stories("audio") for shot in story.shots)
    assert not any(shot.sound_caption for story in bench.stories("main") for shot in story.shots)


def test_the_film_of_a_stored_plan_is_the_same_to_the_pixel(bench: Benchmark) -> None:
    for story in (bench.stories("multi_character")[0], bench.stories("long")[0]):
        plan = plan_of(bench, story.story_id)
        again = plan_from_json(plan_to_json(plan))
        assert again == plan
        film, same = ToonFilm(plan), ToonFilm(again)
        for index in (0, 5, plan.settings.num_frames - 1):
            np.testing.assert_array_equal(film.frame(index), same.frame(index))


def test_the_true_clips_show_the_plan_and_their_regions_are_its_masks(bench: Benchmark) -> None:
    story = truth_predictions(bench, "multi_character")[0]
    film = ToonFilm(plan_of(bench, story.story_id))
    for index, (clip, regions) in enumerate(zip(story.shots, story.regions, strict=True)):
        start = film.plan.shots[index].start_frame
        assert isinstance(clip, bytes)
        assert np.abs(read_frames(clip, [3])[0].astype(int) - film.frame(start + 3)).mean() < 8
        for name, rows in regions.items():
            for region in rows:
                assert region.mask is not None
                np.testing.assert_array_equal(region.mask.to_array(), film.masks(start + region.frame)[name])


def test_the_truth_keeps_its_attributes_through_the_codec(read_truth: AttributeResults) -> None:
    corpus = read_truth.to_json()["corpus"]
    assert corpus["identity"]["value"] > 0.9
    assert corpus["identity"]["low"] <= corpus["identity"]["value"] <= corpus["identity"]["high"]
    assert corpus["body_colour_difference"]["value"] < 10
    assert corpus["chance"]["value"] < 0.35
    assert corpus["body_colour_within_between"]["value"] < 0.5


def test_frames_of_the_plan_itself_are_read_without_an_error(bench: Benchmark) -> None:
    plan = plan_of(bench, bench.stories("main")[0].story_id)
    film, shot = ToonFilm(plan), plan.shots[0]
    frames = np.stack([film.frame(index) for index in range(shot.start_frame, shot.end_frame)])
    ((reading,),), problems, _ = read_story_attributes([frames], ToonWorld(plan), FEW)
    assert not problems
    assert reading.identity == 1.0
    assert set(reading.differences.values()) == {0.0}


def test_a_character_with_nothing_in_common_is_read_near_chance(bench: Benchmark) -> None:
    own = plan_of(bench, bench.stories("main")[0].story_id)
    lead = own.characters[0]
    other = {name: values[(values.index(getattr(lead, name)) + 1) % len(values)] for name, values in ATTRIBUTES.items()}
    stranger = replace(lead, **other)
    film = ToonFilm(replace(own, characters=(stranger,)))
    clips = [np.stack([film.frame(i) for i in range(shot.start_frame, shot.end_frame)]) for shot in own.shots]
    readings, _, _ = read_story_attributes(clips, ToonWorld(own), FEW)
    for (reading,) in readings:
        assert reading.identity is not None
        assert reading.chance is not None
        assert reading.identity < reading.chance + 0.2


def test_a_clip_that_is_missing_is_null_and_counted(bench: Benchmark, tmp_path: Path) -> None:
    story = truth_predictions(bench)[0]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    given = StoryPrediction(
        story_id=story.story_id, ip_id=story.ip_id, track="main", shots=(tmp_path / "no.mp4", broken)
    )
    (row,) = read_attributes(bench, [given], FEW).to_json()["stories"]
    assert row["identity"] is None
    assert (row["n_evaluated"], row["n_failed"]) == (0, 2)
    corpus = read_attributes(bench, [given], FEW).to_json()["corpus"]
    assert corpus["identity"]["value"] is None
    assert corpus["identity"]["n_failed"] == 1


def test_processes_change_no_number(bench: Benchmark, read_truth: AttributeResults) -> None:
    apart = read_attributes(bench, truth_predictions(bench)[:2], FEW, num_workers=2)
    assert apart.to_json() == read_truth.to_json()


def test_the_numbers_go_into_a_results_file_and_only_into_one_of_the_same_benchmark(
    bench: Benchmark, read_truth: AttributeResults
) -> None:
    read = read_truth.to_json()
    rows = [{"story_id": row["story_id"], "flags": []} for row in read["stories"]]
    results = {"format": "animeshooter-scores", "version": 2, "benchmark": None, "corpus": {}, "stories": rows}
    merged = merge_attributes(results, read)
    assert merged["corpus"][METRIC] == read["corpus"]
    assert merged["benchmark"] == {"id": bench.id, "revision": bench.revision, "track": "main"}
    assert merged["stories"][0][METRIC]["identity"] == read["stories"][0]["identity"]
    json.dumps(merged, allow_nan=False)
    with pytest.raises(InputError, match="another benchmark"):
        merge_attributes({**results, "benchmark": {"id": "other", "revision": "1", "track": "main"}}, read)
    with pytest.raises(InputError, match="version 2"):
        merge_attributes({"format": "animeshooter-scores", "version": 1}, read)


def test_the_same_settings_give_the_same_bytes_and_another_seed_another_benchmark(tmp_path: Path) -> None:
    tiny = ToonStorySettings(width=96, height=96, num_frames=16)
    few = ToonBenchSettings(
        num_characters=1, stories_per_ip=1, num_shots=1, clips_per_ip=1, tracks=("main",), story=tiny
    )
    places = [make_toon_bench(tmp_path / name / "b", few) for name in ("first", "second")]
    other = open_benchmark(make_toon_bench(tmp_path / "third" / "b", replace(few, seed=1)))
    first, second = (json.loads((place / "manifest.json").read_text()) for place in places)
    assert first == second
    assert first["revision"] != other.revision
    place = make_toon_bench(places[0], replace(few, seed=1), overwrite=True)
    assert open_benchmark(place).revision == other.revision
    assert [path.name for path in place.parent.iterdir()] == ["b"]


def test_the_manifest_holds_the_hash_of_every_other_file_and_the_versions(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == set(found) - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest
    assert {"animeshooter_hf", "datasets", "pyarrow", "numpy"} <= set(manifest["library_versions"])


def test_the_card_shows_no_placeholder_and_names_every_track_and_config(folder: Path, bench: Benchmark) -> None:
    card = (folder / "README.md").read_text()
    assert not re.search(r"\{\{|\}\}|\{%|TODO|\bNone\b|\[\]|More Information", card)
    assert all(f"`{name}`" in card for name in (*bench.tracks, "stories", "references", "enhance", "truth"))


def test_every_task_of_eval_yaml_is_of_a_split_that_is_there_and_can_be_an_eval_result(folder: Path) -> None:
    data = yaml.safe_load((folder / "eval.yaml").read_text())
    check_eval_yaml(data)
    splits = json.loads((folder / "manifest.json").read_text())["num_rows"]["stories"]
    assert {task["split"] for task in data["tasks"]} == set(splits)
    names = [task["id"] for task in data["tasks"]]
    assert {"ref_fidelity_clip_harmeanp", "long_ref_retrieval_at1", "zero_shot_attribute_identity"} <= set(names)
    entries = [EvalResultEntry(dataset_id="me/bench", task_id=name, value=0.5) for name in names]
    parsed = parse_eval_result_entries(eval_result_entries_to_yaml(entries))
    assert [entry.task_id for entry in parsed] == names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": []}, "at least one task"),
        ({"tasks": [{"id": "a"}, {"id": "a"}]}, "twice"),
        ({"tasks": [{"id": "A b"}]}, "small letters"),
        ({"tasks": [{"id": "a", "metric": "x"}]}, "Unknown key 'metric'"),
        ({"name": ""}, "name of eval.yaml"),
        ({"licence": "mit"}, "Unknown key 'licence'"),
    ],
)
def test_an_eval_yaml_of_another_shape_is_refused(change: dict[str, object], words: str) -> None:
    data = yaml.safe_load(eval_yaml("Name", "Words.", ["main"], has_truth=False))
    with pytest.raises(InputError, match=words):
        check_eval_yaml({**data, **change})
    assert "attribute_identity" not in task_ids(["main"], has_truth=False)


def test_settings_and_places_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="num_characters"):
        ToonBenchSettings(num_characters=1)
    with pytest.raises(InputError, match="A track must be one of"):
        ToonBenchSettings(tracks=("short",))
    with pytest.raises(InputError, match="must be even"):
        ToonStorySettings(width=241)
    with pytest.raises(InputError, match="at least a second"):
        ToonStorySettings(frame_rate=Fraction(16), num_frames=8)
    with pytest.raises(InputError, match="not empty"):
        make_toon_bench(folder, SETTINGS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(InputError, match="is no benchmark, so it is not overwritten"):
        make_toon_bench(tmp_path / "mine", SETTINGS, overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear"


def test_a_truth_of_another_renderer_or_a_damaged_one_is_refused(bench: Benchmark) -> None:
    text = next(iter(bench.plans.values()))
    with pytest.raises(InputError, match="version 999 of the toon renderer"):
        plan_from_json(text.replace('"renderer_version":1', '"renderer_version":999'))
    with pytest.raises(InputError, match="damaged"):
        plan_from_json(text[:-20])
    with pytest.raises(InputError, match="damaged"):
        plan_from_json(text.replace('"hour":', '"time":'))


def test_a_folder_that_is_no_benchmark_and_a_track_that_is_not_there_are_refused(
    bench: Benchmark, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is no benchmark"):
        open_benchmark(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        open_benchmark(tmp_path / "nothing")
    with pytest.raises(InputError, match="has no track 'short'"):
        bench.stories("short")
