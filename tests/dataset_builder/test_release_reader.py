import copy
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.release.problems import ProblemLog, severity_of
from animeshooter_hf.dataset_builder.release.reader import read_release_video
from animeshooter_hf.records import AudioAnnotation, Character, ReferenceMask, Scene, Shot, Story

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "LvJRvwIDh0E.json"
FULL_4X4 = {"size": [4, 4], "counts": "0`0"}
"""A mask of 4x4 pixels, all inside."""


def make_video() -> dict[str, Any]:
    """A video without a problem: one segment of ten seconds with two shots."""
    shots = [
        {
            "start time": "00:00",
            "end time": "00:04",
            "extra 4-second timestamp": "00:00-00:04",
            "is_prologue_or_epilogue": False,
            "main characters": ["Ann"],
            "setting": "Park",
            "visual annotation": {"narrative caption": "Ann waits.", "descriptive caption": "Ann sits on a bench."},
        },
        {
            "start time": "00:04",
            "end time": "00:10",
            "extra 4-second timestamp": "00:05-00:09",
            "is_prologue_or_epilogue": True,
            "main characters": ["Ann", "Bob"],
            "setting": "House",
            "visual annotation": {"narrative caption": "Bob comes.", "descriptive caption": "Bob opens a red door."},
        },
    ]
    script = {
        "storyline": "Ann waits for Bob.",
        "main characters": [{"ID": "Ann", "appearance": "a tall girl"}, {"ID": "Bob", "appearance": "a dog"}],
        "main settings": [{"ID": "Park", "environment": "trees"}, {"ID": "House", "environment": "a hall"}],
        "shots": shots,
    }
    references = [
        {"ID": "Ann", "masks": [{"frame index": 1020, "rle mask": FULL_4X4}]},
        {"ID": "Bob", "masks": [{"frame index": 1200, "rle mask": FULL_4X4}]},
    ]
    segment = {
        "start frame index": 1000,
        "end frame index": 1250,
        "story script": script,
        "reference images": references,
    }
    return {"video ID": "vid", "url": "https://example.org/vid", "fps": 25.0, "segments": [segment]}


def read(data: object, file: str = "vid.json") -> tuple[list[Story], ProblemLog]:
    log = ProblemLog()
    return read_release_video(data, file, log), log


def read_clean() -> Story:
    (story,), log = read(make_video())
    assert not log.counts
    return story


def test_a_video_without_problems_becomes_the_story_that_it_says() -> None:
    story = read_clean()
    assert (story.video_id, story.story_id, story.url) == ("vid", "vid_000", "https://example.org/vid")
    assert (story.frame_rate, story.start_frame, story.end_frame) == (Fraction(25), 1000, 1250)
    assert story.characters == (Character(id="Ann", appearance="a tall girl"), Character(id="Bob", appearance="a dog"))
    assert story.scenes == (Scene(id="Park", environment="trees"), Scene(id="House", environment="a hall"))
    assert story.shots[1] == Shot(
        shot_id="vid_000_01",
        index=1,
        start_frame=1100,
        end_frame=1250,
        start_seconds=4.0,
        end_seconds=10.0,
        clip_start_seconds=5.0,
        clip_end_seconds=9.0,
        is_prologue_or_epilogue=True,
        characters=("Ann", "Bob"),
        scene="House",
        narrative_caption="Bob comes.",
        descriptive_caption="Bob opens a red door.",
    )
    assert [(mask.character_id, mask.frame_index) for mask in story.references] == [("Ann", 1020), ("Bob", 1200)]
    assert all(mask.mask is not None and mask.mask.area == 16 for mask in story.references)


# ---------------------------------------------------------------------------------------------------------------------
# Spellings: each of them gives the same story and no problem


def rename(data: Any, names: dict[str, str]) -> Any:
    if isinstance(data, dict):
        return {names.get(key, key): rename(value, names) for key, value in data.items()}
    return [rename(item, names) for item in data] if isinstance(data, list) else data


SPELLINGS = [
    {"video ID": "video_id", "start frame index": "start_frame_index", "end frame index": "end_frame_index"},
    {"main settings": "main scenes", "setting": "scene"},
    {"main settings": "main_scenes", "main characters": "main_characters", "story script": "story_script"},
    {"narrative caption": "narrative_caption", "descriptive caption": "descriptive_caption"},
    {"narrative caption": "plot", "descriptive caption": "caption"},
    {"extra 4-second timestamp": "extra 4-second segment"},
    {"extra 4-second timestamp": "extra_4_second_timestamp", "start time": "start_time", "end time": "End Time"},
    {"reference images": "reference_images", "frame index": "frame_index", "rle mask": "rle_mask", "ID": "id"},
    {"visual annotation": "visual_annotation", "is_prologue_or_epilogue": "is prologue or epilogue"},
]


@pytest.mark.parametrize("names", SPELLINGS, ids=lambda names: next(iter(names.values())))
def test_every_spelling_of_a_key_gives_the_same_story(names: dict[str, str]) -> None:
    stories, log = read(rename(make_video(), names))
    assert stories == [read_clean()]
    assert not log.counts


def flatten_visual(video: dict[str, Any]) -> Any:
    for shot in script_of(video)["shots"]:
        shot.update(shot.pop("visual annotation"))
    return video


def flatten_script(video: dict[str, Any]) -> Any:
    video["segments"][0].update(video["segments"][0].pop("story script"))
    return video


def flatten_masks(video: dict[str, Any]) -> Any:
    for entry in video["segments"][0]["reference images"]:
        entry["masks"] = [{"frame index": row["frame index"], **row["rle mask"]} for row in entry["masks"]]
    return video


def under_its_id(video: dict[str, Any]) -> Any:
    return {video.pop("video ID"): video}


def one_segment(video: dict[str, Any]) -> Any:
    (segment,) = video.pop("segments")
    return {**video, **segment}


SHAPES: list[Callable[[dict[str, Any]], Any]] = [
    flatten_visual,
    flatten_script,
    flatten_masks,
    under_its_id,
    one_segment,
    lambda video: [video],
    lambda video: [under_its_id(video)],
    lambda video: {"vid": [video]},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_nesting_gives_the_same_story(shape: Callable[[dict[str, Any]], Any]) -> None:
    stories, log = read(shape(make_video()))
    assert stories == [read_clean()]
    assert not log.counts


def test_a_list_of_segments_takes_the_video_id_from_the_file_name() -> None:
    (story,), log = read(make_video()["segments"], "folder/-x_9.json")
    assert story.story_id == "-x_9_000"
    assert dict(log.counts) == {"video_id_missing": 1, "fps_missing": 1}


def test_several_videos_in_one_file_keep_their_ids_and_order() -> None:
    other = {**make_video(), "video ID": "other"}
    stories, log = read({"vid": make_video(), "other": other})
    assert [story.story_id for story in stories] == ["vid_000", "other_000"]
    assert not log.counts


@pytest.mark.parametrize(
    ("flag", "meant", "reported"),
    [
        (True, True, False),
        (False, False, False),
        ("prologue", True, False),
        ("Epilogue", True, False),
        ("", False, False),
        ("N/A", False, False),
        (None, False, False),
        ("True", True, True),
        ("false", False, True),
        (1, True, True),
    ],
)
def test_every_spelling_of_the_prologue_flag_is_understood(flag: object, meant: bool, reported: bool) -> None:
    video = make_video()
    script_of(video)["shots"][0]["is_prologue_or_epilogue"] = flag
    (story,), log = read(video)
    assert story.shots[0].is_prologue_or_epilogue is meant
    assert (log.counts["type_coerced"] == 1) is reported


@pytest.mark.parametrize("type_key", ["type", "audio type", "audio_type"])
@pytest.mark.parametrize("place", ["shot", "visual annotation"])
def test_the_audio_annotation_is_read_wherever_it_stands(type_key: str, place: str) -> None:
    video = make_video()
    shot = script_of(video)["shots"][0]
    audio = {type_key: "footsteps", "sound description": "low", "visual context": "shoes"}
    (shot if place == "shot" else shot["visual annotation"])["audio annotation"] = audio
    (story,), log = read(video)
    expected = AudioAnnotation(audio_type="footsteps", sound_description="low", visual_context="shoes")
    assert story.shots[0].audio == expected
    assert not log.counts


@pytest.mark.parametrize(("start", "end"), [("0:00", "0:04"), ("00:00:00", "00:00:04"), (0, 4.0), ("0", "4.0s")])
def test_every_clock_is_read(start: object, end: object) -> None:
    video = make_video()
    script_of(video)["shots"][0].update({"start time": start, "end time": end})
    assert read(video)[0] == [read_clean()]


def test_nothing_that_a_known_key_says_is_lost() -> None:
    """Written back from the records, a release file is what it was."""
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    data = json.loads(SAMPLE.read_text())
    stories, _ = read(data)
    for segment, story in zip(data["segments"], stories, strict=True):
        assert to_release(story) == without_order(segment)


def to_release(story: Story) -> dict[str, Any]:
    def clock(seconds: float | None) -> str:
        return f"{int(seconds or 0) // 60:02d}:{int(seconds or 0) % 60:02d}"

    return {
        "start frame index": story.start_frame,
        "end frame index": story.end_frame,
        "story script": {
            "storyline": story.storyline,
            "main characters": [{"ID": c.id, "appearance": c.appearance} for c in story.characters],
            "main settings": [{"ID": s.id, "environment": s.environment} for s in story.scenes],
            "shots": [
                {
                    "start time": clock(shot.start_seconds),
                    "end time": clock(shot.end_seconds),
                    "extra 4-second timestamp": f"{clock(shot.clip_start_seconds)}-{clock(shot.clip_end_seconds)}",
                    "is_prologue_or_epilogue": shot.is_prologue_or_epilogue,
                    "main characters": list(shot.characters),
                    "setting": shot.scene or "N/A",
                    "visual annotation": {
                        "narrative caption": shot.narrative_caption,
                        "descriptive caption": shot.descriptive_caption,
                    },
                }
                for shot in story.shots
            ],
        },
        "reference images": {(mask.character_id, mask.frame_index) for mask in story.references},
    }


def without_order(segment: dict[str, Any]) -> dict[str, Any]:
    frames = {(row["ID"], mask["frame index"]) for row in segment["reference images"] for mask in row["masks"]}
    return {**segment, "reference images": frames}


def test_the_sample_loses_nothing_and_its_placeholders_are_counted() -> None:
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    stories, log = read(json.loads(SAMPLE.read_text()))
    assert len(stories) == 8
    assert sum(len(story.shots) for story in stories) == 64
    assert sum(len(story.characters) for story in stories) == 21
    assert sum(len(story.scenes) for story in stories) == 22
    assert sum(len(story.references) for story in stories) == 293
    assert all(shot.num_frames for story in stories for shot in story.shots)
    assert log.num_lost == 0
    assert dict(log.counts) == {
        "mask_placeholder": 293,
        "clip_span_length": 22,
        "references_unordered": 21,
        "boundary_reference": 14,
        "tail_uncovered": 8,
        "scene_not_available": 1,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Problems: one change to the clean video, the one code that it gives, and what became of the story


def script_of(video: dict[str, Any]) -> dict[str, Any]:
    return video["segments"][0].get("story script", video["segments"][0])


def shot_of(video: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return script_of(video)["shots"][index]


def masks_of(video: dict[str, Any], index: int = 0) -> list[dict[str, Any]]:
    return video["segments"][0]["reference images"][index]["masks"]


def in_shot(index: int = 0, **changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: shot_of(video, index).update({k.replace("_", " "): v for k, v in changes.items()})


def in_mask(**changes: object) -> Callable[[dict[str, Any]], None]:
    def change(video: dict[str, Any]) -> None:
        masks_of(video)[0]["rle mask"] = {**FULL_4X4, **changes}

    return change


def in_video(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: video.update({k.replace("_", " "): v for k, v in changes.items()})


def in_segment(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: video["segments"][0].update({k.replace("_", " "): v for k, v in changes.items()})


def in_script(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: script_of(video).update({k.replace("_", " "): v for k, v in changes.items()})


def and_segment(start: int, end: int) -> Callable[[dict[str, Any]], None]:
    def change(video: dict[str, Any]) -> None:
        again = copy.deepcopy(video["segments"][0])
        again.update({"start frame index": start, "end frame index": end, "reference images": []})
        video["segments"].append(again)

    return change


def and_item(key: str, item: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: script_of(video)[key].append(item)


def and_mask(row: object) -> Callable[[dict[str, Any]], None]:
    return lambda video: masks_of(video).append(row)  # type: ignore[arg-type]


def swap_shots(video: dict[str, Any]) -> None:
    script_of(video)["shots"].reverse()


def repeat_shot(video: dict[str, Any]) -> None:
    script_of(video)["shots"].insert(1, copy.deepcopy(shot_of(video)))


CASES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown_key": in_shot(mood="sad"),
    "key_conflict": in_shot(scene="House"),
    "broken_text": in_script(storyline="half \ud83d"),
    "type_coerced": in_video(fps="25"),
    "list_as_object": in_shot(main_characters="Ann"),
    "list_unreadable": in_shot(main_characters=3.5),
    "object_unreadable": in_shot(audio_annotation=7),
    "text_unreadable": in_video(url=["a"]),
    "number_unreadable": in_segment(start_frame_index="first"),
    "flag_unreadable": lambda video: shot_of(video).update({"is_prologue_or_epilogue": "perhaps"}),
    "id_trimmed": lambda video: script_of(video)["main characters"][0].update({"ID": " Ann "}),
    "fps_missing": in_video(fps=None),
    "fps_unreadable": in_video(fps="1e999999999"),
    "segments_unordered": and_segment(0, 250),
    "segment_overlap": and_segment(1200, 1450),
    "segment_gap": and_segment(1251, 1501),
    "segment_reversed": in_segment(start_frame_index=1300),
    "segment_frames_missing": in_segment(end_frame_index=None),
    "segment_unreadable": lambda video: video["segments"].append("later"),
    "segments_missing": in_video(segments=[]),
    "script_missing": in_segment(story_script=None),
    "storyline_missing": in_script(storyline=" "),
    "caption_missing": lambda video: shot_of(video)["visual annotation"].pop("narrative caption"),
    "appearance_missing": lambda video: script_of(video)["main characters"][0].pop("appearance"),
    "environment_missing": lambda video: script_of(video)["main settings"][0].pop("environment"),
    "audio_type_missing": in_shot(audio_annotation={"sound description": "low"}),
    "audio_several": in_shot(audio_annotation=[{"type": "rain"}, {"type": "wind"}]),
    "undeclared_character": in_shot(main_characters=["Ann", "Eve"]),
    "undeclared_scene": lambda video: script_of(video)["shots"].append(
        {**copy.deepcopy(shot_of(video, 1)), "setting": "Moon"}
    ),
    "unused_character": and_item("main characters", {"ID": "Eve", "appearance": "a cat"}),
    "unused_scene": and_item("main settings", {"ID": "Moon", "environment": "dust"}),
    "character_without_reference": lambda video: video["segments"][0]["reference images"].pop(),
    "character_unreadable": and_item("main characters", {"appearance": "nameless"}),
    "scene_unreadable": and_item("main settings", 4),
    "duplicate_character": and_item("main characters", {"ID": "Ann", "appearance": "a tall girl"}),
    "conflicting_character": and_item("main characters", {"ID": "Ann", "appearance": "a short girl"}),
    "duplicate_scene": and_item("main settings", {"ID": "Park", "environment": "trees"}),
    "conflicting_scene": and_item("main settings", {"ID": "Park", "environment": "a lake"}),
    "character_spelling": in_shot(main_characters=["ann"]),
    "scene_spelling": in_shot(setting="park."),
    "shot_character_repeated": in_shot(main_characters=["Ann", "Ann"]),
    "scene_not_available": lambda video: script_of(video)["shots"].append(
        {**copy.deepcopy(shot_of(video, 1)), "setting": "N/A"}
    ),
    "scene_several": in_shot(setting=["Park", "House"]),
    "time_missing": in_shot(1, end_time=None),
    "time_unreadable": in_shot(1, start_time="later"),
    "shot_reversed": in_shot(1, end_time="00:01"),
    "shot_empty": in_shot(1, end_time="00:04"),
    "shot_past_segment": in_shot(1, end_time="00:12"),
    "shot_outside_segment": in_shot(1, start_time="00:11", end_time="00:12"),
    "shot_overlap": in_shot(1, start_time="00:03"),
    "shot_gap": in_shot(1, start_time="00:05"),
    "tail_uncovered": in_shot(1, end_time="00:09"),
    "shots_unordered": swap_shots,
    "duplicate_shot": repeat_shot,
    "shot_unreadable": and_item("shots", "the end"),
    "clip_span_length": lambda video: shot_of(video).update({"extra 4-second timestamp": "00:00-00:03"}),
    "clip_span_outside_shot": lambda video: shot_of(video).update({"extra 4-second timestamp": "00:02-00:06"}),
    "clip_span_unreadable": lambda video: shot_of(video).update({"extra 4-second timestamp": "soon"}),
    "reference_for_undeclared": lambda video: video["segments"][0]["reference images"].append(
        {"ID": "Eve", "masks": [{"frame index": 1010, "rle mask": FULL_4X4}]}
    ),
    "reference_unreadable": and_mask({"frame index": "late", "rle mask": FULL_4X4}),
    "reference_outside_segment": and_mask({"frame index": 9000, "rle mask": FULL_4X4}),
    "reference_outside_shots": lambda video: (
        in_shot(1, end_time="00:09")(video),
        and_mask({"frame index": 1240, "rle mask": FULL_4X4})(video),
    ),
    "boundary_reference": lambda video: (
        in_shot(1, main_characters=["Bob"])(video),
        and_mask({"frame index": 1100, "rle mask": FULL_4X4})(video),
    ),
    "reference_in_other_shot": lambda video: masks_of(video, 1).append({"frame index": 1010, "rle mask": FULL_4X4}),
    "references_unordered": and_mask({"frame index": 1010, "rle mask": FULL_4X4}),
    "duplicate_reference": and_mask({"frame index": 1020, "rle mask": FULL_4X4}),
    "conflicting_reference": and_mask({"frame index": 1020, "rle mask": {"size": [4, 4], "counts": "`0"}}),
    "mask_placeholder": in_mask(counts="placeholder in case the file is too large"),
    "mask_missing": in_mask(counts=None),
    "mask_uncompressed": in_mask(counts=[0, 16]),
    "mask_invalid": in_mask(counts="0a0"),
    "mask_size_unreadable": in_mask(size=[0, 4]),
    "mask_size_varies": and_mask({"frame index": 1030, "rle mask": {"size": [2, 8], "counts": "0`0"}}),
    "video_id_missing": in_video(video_ID=None),
    "video_id_unsafe": in_video(video_ID="../../etc/vid"),
    "video_unreadable": lambda video: {"vid": copy.deepcopy(video), "x": [1, 2]},
    "video_id_unknown": lambda video: [{**video, "video ID": None, "url": None}, make_video()],
    "video_retold": lambda video: [video, {**video, "fps": 24.0}],
    "duplicate_video": lambda video: [video, copy.deepcopy(video)],
    "other_json": lambda video: {"name": "left-pad", "version": "1.0.0", "dependencies": {"a": "1"}},
}

STORIES_LEFT = {
    "segments_missing": 0,
    "script_missing": 0,
    "video_id_unsafe": 0,
    "other_json": 0,
    "segments_unordered": 2,
    "segment_overlap": 2,
    "segment_gap": 2,
    "video_retold": 2,
}
"""Where it is not the one story of the clean video."""


@pytest.mark.parametrize("code", CASES)
def test_each_problem_is_reported_by_its_code_and_the_rest_survives(code: str) -> None:
    video = make_video()
    change = CASES[code](video)
    is_new = isinstance(change, (dict, list)) and code in {
        "video_unreadable", "video_id_unknown", "video_retold", "duplicate_video", "other_json",
    }  # fmt: skip
    stories, log = read(change if is_new else video)
    assert log.counts[code] >= 1, dict(log.counts)
    assert len(stories) == STORIES_LEFT.get(code, 1)
    worse = [other for other in log.counts if severity_of(other) == "lost" and other != code]
    assert not worse
    for story in stories:
        assert len(story.shots) >= 2
        assert {character.id for character in story.characters} >= {"Ann", "Bob"}
        json.dumps(story.to_json()).encode("ascii")


def test_a_problem_says_in_which_file_and_story_it_is_and_how_often() -> None:
    video = make_video()
    for index in (0, 1):
        shot_of(video, index)["mood"] = "sad"
    _, log = read(video, "release/vid.json")
    (problem,) = log.entries()
    assert (problem.code, problem.where, problem.story_id, problem.count) == (
        "unknown_key", "release/vid.json", "vid_000", 2,
    )  # fmt: skip
    assert "mood" in problem.detail


# ---------------------------------------------------------------------------------------------------------------------
# What becomes of the values


def first_story(change: Callable[[dict[str, Any]], Any]) -> Story:
    video = make_video()
    change(video)
    return read(video)[0][0]


def test_a_scene_called_not_available_is_null() -> None:
    assert first_story(in_shot(setting="N/A")).shots[0].scene is None


def test_a_missing_caption_is_null_and_never_an_empty_text() -> None:
    story = first_story(in_shot(visual_annotation={"narrative caption": "", "descriptive caption": "Ann sits."}))
    assert story.shots[0].narrative_caption is None
    assert story.shots[0].descriptive_caption == "Ann sits."


def test_a_shot_past_its_segment_keeps_its_times_and_is_cut_in_frames() -> None:
    shot = first_story(in_shot(1, end_time="00:12")).shots[1]
    assert (shot.end_seconds, shot.end_frame) == (12.0, 1250)


@pytest.mark.parametrize(
    "change", [in_shot(1, end_time="00:01"), in_shot(1, end_time="00:04"), in_shot(1, start_time="00:11")]
)
def test_a_shot_without_length_has_captions_but_no_frames(change: Callable[[dict[str, Any]], Any]) -> None:
    shot = first_story(change).shots[1]
    assert shot.num_frames is None
    assert shot.narrative_caption == "Bob comes."


def test_without_a_frame_rate_shots_have_times_but_no_frames() -> None:
    story = first_story(in_video(fps=0))
    assert story.frame_rate is None
    assert [(shot.start_seconds, shot.start_frame) for shot in story.shots] == [(0.0, None), (4.0, None)]
    assert (story.start_frame, story.end_frame) == (1000, 1250)


def test_the_time_called_end_is_the_end_of_the_segment() -> None:
    assert first_story(in_shot(1, end_time="end")).shots[1].end_frame == 1250


def test_shots_out_of_order_are_sorted_and_numbered_anew() -> None:
    assert first_story(swap_shots) == read_clean()


def test_a_rounded_ntsc_rate_is_exact() -> None:
    assert first_story(in_video(fps=29.97)).frame_rate == Fraction(30000, 1001)


def test_masks_come_in_order_of_frame_and_one_each() -> None:
    story = first_story(
        lambda video: masks_of(video).extend([{"frame index": n, "rle mask": FULL_4X4} for n in (1012, 1005, 1012)])
    )
    assert [mask.frame_index for mask in story.references] == [1005, 1012, 1020, 1200]


def test_a_damaged_mask_is_null_and_its_frame_stays() -> None:
    story = first_story(in_mask(counts="Z"))
    assert story.references[0] == ReferenceMask(character_id="Ann", frame_index=1020)


def test_uncompressed_runs_give_the_same_mask() -> None:
    assert first_story(in_mask(counts=[0, 16])) == read_clean()


def test_an_object_of_characters_counts_as_a_list() -> None:
    named = {"Ann": "a tall girl", "Bob": {"appearance": "a dog"}}
    assert first_story(in_script(main_characters=named)).characters == read_clean().characters


def test_a_video_told_again_differently_is_numbered_on() -> None:
    again = {**make_video(), "fps": 24.0}
    stories, _ = read([make_video(), again])
    assert [story.story_id for story in stories] == ["vid_000", "vid_001"]
    assert stories[1].shots[1].shot_id == "vid_001_01"


@pytest.mark.parametrize("bad", ["a/b", "..", "a\\b", "a\0b", "x" * 200, "a\nb"])
def test_a_video_id_that_is_no_file_name_costs_its_own_stories_only(bad: str) -> None:
    stories, log = read([{**make_video(), "video ID": bad}, make_video()])
    assert [story.video_id for story in stories] == ["vid"]
    assert dict(log.counts) == {"video_id_unsafe": 1}


def test_the_video_id_is_taken_from_the_address_where_it_is_missing() -> None:
    video = {**make_video(), "video ID": None, "url": "https://www.youtube.com/watch?v=-bCd_fghijk&t=1"}
    assert read(video)[0][0].video_id == "-bCd_fghijk"


def test_our_own_rows_are_not_taken_for_the_release() -> None:
    stories, log = read([read_clean().to_json()])
    assert stories == []
    assert dict(log.counts) == {"other_json": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Any JSON at all

KEYS = sorted(
    {"video ID", "fps", "segments", "start frame index", "end frame index", "story script", "main characters", "ID"}
    | {"shots", "start time", "end time", "setting", "visual annotation", "plot", "reference images", "masks", "size"}
    | {"frame index", "rle mask", "counts", "audio annotation", "type", "extra 4-second timestamp", "storyline"}
    | {"main scenes", "scene", "is_prologue_or_epilogue", "url", "appearance", "environment", "timestamp"}
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(["00:05", "1:00:00", "N/A", "end", "Ann", "placeholder", "00:01-00:05", "24000/1001", "0`0"]),
    st.sampled_from([10**400, -1, 2**31, 1e308, 30.0, "\ud800"]),
)  # fmt: skip
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(ANY_JSON)
def test_no_json_makes_the_reader_raise(data: object) -> None:
    stories, log = read(data)
    for story in stories:
        json.dumps(story.to_json()).encode("ascii")
        assert Story.from_json(story.to_json()).story_id == story.story_id
    assert stories or log.counts
    assert len(list(log.entries())) <= len(log.counts) * (1 + len(stories) + 30)


@st.composite
def damaged_videos(draw: st.DrawFn) -> Any:
    """A clean video in which some values are replaced by anything."""
    video = copy.deepcopy(make_video())
    for _ in range(draw(st.integers(1, 4))):
        here: Any = video
        for _ in range(draw(st.integers(0, 8))):
            inner = here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
            nested = [value for value in inner if isinstance(value, (dict, list)) and value]
            if not nested:
                break
            here = draw(st.sampled_from(nested))
        key = draw(st.sampled_from(list(here) if isinstance(here, dict) else range(len(here))))
        here[key] = draw(ANY_JSON)
    return video


@settings(max_examples=300, deadline=None)
@given(damaged_videos())
def test_no_damage_to_a_video_makes_the_reader_raise(video: object) -> None:
    stories, log = read(video)
    for story in stories:
        assert replace(story) == story
        story.to_json()
    assert stories or log.num_lost
