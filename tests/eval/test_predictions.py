import json
from collections.abc import Callable
from pathlib import Path

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.regions import parse_region, region_to_json

ROW = {
    "story_id": "s1",
    "ip_id": "fox",
    "shots": ["a.mp4", "b.mp4"],
    "references": ["fox.png"],
    "scene_ids": ["x", None],
}


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_a_predictions_file_gives_paths_beside_it(tmp_path: Path) -> None:
    (story,) = read_predictions(write(tmp_path / "predictions.json", [ROW]))
    assert story.shots == (tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert story.references == (tmp_path / "fox.png",)
    assert (story.story_id, story.ip_id, story.scene_ids) == ("s1", "fox", ("x", None))


def test_a_generated_folder_is_its_predictions_file(tmp_path: Path) -> None:
    write(tmp_path / "predictions.json", [ROW])
    assert [story.story_id for story in read_predictions(tmp_path)] == ["s1"]


def test_a_jsonl_file_gives_a_story_per_line(tmp_path: Path) -> None:
    path = tmp_path / "stories.jsonl"
    path.write_text("\n".join(json.dumps({**ROW, "story_id": name}) for name in "abc") + "\n\n")
    assert [story.story_id for story in read_predictions(path)] == ["a", "b", "c"]


def test_a_demo_folder_gives_every_story_with_its_captions(story_folder: Callable[..., Path]) -> None:
    folder = story_folder("fox", "frog", num_shots=3)
    stories = list(read_predictions(folder))
    assert [story.story_id for story in stories] == ["fox_1", "frog_1"]
    assert stories[0].captions[0] == "It walks through the field."
    assert all(path.is_file() for story in stories for path in (*story.shots, *story.references))


def test_a_demo_folder_lists_a_shot_that_is_missing(story_folder: Callable[..., Path]) -> None:
    folder = story_folder("fox")
    (folder / "fox" / "generated_video_1_2_demo.mp4").unlink()
    (story,) = read_predictions(folder)
    assert [path.is_file() for path in story.shots] == [True, False]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": 1}, "another kind"),
        ([], "holds no story"),
        ([3], "JSON object"),
        ([{**ROW, "shot": []}], "Unknown key 'shot'"),
        ([{**ROW, "shots": []}], "lacks 'shots'"),
        ([{"shots": ["a"]}], "lacks 'story_id'"),
        ([{**ROW, "shots": "a.mp4"}], "must be a list"),
        ([{**ROW, "shots": [1]}], "must hold paths"),
        ([{**ROW, "scene_ids": [1, 2]}], "must hold texts"),
        ([{**ROW, "captions": ["one"]}], "must hold 2 entries"),
        ([{**ROW, "shot_characters": ["fox", "fox"]}], "lists of texts"),
        ([{**ROW, "story_id": 7}], "must be a text"),
    ],
)
def test_a_malformed_predictions_file_is_refused(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_predictions(write(tmp_path / "p.json", data)))


def test_what_holds_no_stories_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "settings.json", {"a": 1})
    (tmp_path / "film.mp4").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "half.json").write_text('[{"story_id": ')
    for name, message in (
        ("nothing", "no file or folder"),
        ("empty", "is empty"),
        ("other", "holds no stories"),
        ("film.mp4", "is no text"),
        ("half.json", "is not JSON"),
    ):
        with pytest.raises(InputError, match=message):
            list(read_predictions(tmp_path / name))


def test_a_demo_folder_whose_captions_are_of_another_kind_is_refused(story_folder: Callable[..., Path]) -> None:
    folder = story_folder("fox")
    for data in ([1], {"1": {"audio": []}}, {"1": {"captions": "text"}}):
        write(folder / "fox.json", data)
        with pytest.raises(InputError, match=r"fox\.json"):
            list(read_predictions(folder))


def test_a_predictions_file_may_say_where_characters_are_and_what_is_heard(tmp_path: Path) -> None:
    mask = {"size": [2, 3], "counts": "06"}
    row = {
        **ROW,
        "regions": [{"fox": [{"frame": 3, "box": [0.1, 0.2, 0.5, 1]}, {"frame": 5, "mask": mask}]}, None],
        "sound": ["a.flac", None],
        "sound_captions": ["steps", ""],
        "reference_characters": ["fox"],
        "track": "audio",
    }
    (story,) = read_predictions(write(tmp_path / "p.json", [row]))
    first, second = story.regions[0]["fox"]
    assert (first.frame, first.box) == (3, (0.1, 0.2, 0.5, 1.0))
    assert second.mask is not None
    assert second.mask.area == 6
    assert story.regions[1] == {}
    assert story.sound == (tmp_path / "a.flac", None)
    assert (story.sound_captions, story.track) == (("steps", ""), "audio")
    assert [parse_region(region_to_json(region)) for region in (first, second)] == [first, second]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": [{"fox": [{"frame": 0}]}, {}]}, "A region is"),
        ({"regions": [{"fox": [{"frame": 0, "box": [0, 0, 1]}]}, {}]}, "four numbers"),
        ({"regions": [{"fox": [{"frame": 0, "box": [0.5, 0, 0.2, 1]}]}, {}]}, "in order"),
        ({"regions": [{"fox": [{"frame": -1, "box": [0, 0, 1, 1]}]}, {}]}, "whole number from 0"),
        ({"regions": [{"fox": [{"frame": 0, "mask": {"size": [2, 3], "counts": "01"}}]}, {}]}, "do not add up"),
        ({"regions": [{"fox": [{"frame": 0, "mask": {"counts": "06"}}]}, {}]}, "mask must be"),
        ({"regions": [{"fox": 3}, {}]}, "lists per shot"),
        ({"regions": [{"dragon": []}, {}]}, "'dragon'"),
        ({"regions": [{}]}, "must hold 2 entries"),
        ({"sound": [1, 2]}, "must hold texts"),
        ({"sound": ["a.flac"]}, "must hold 2 entries"),
        ({"sound_captions": "steps"}, "must be a list"),
        ({"track": 3}, "'track'"),
    ],
)
def test_regions_and_sounds_of_another_form_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(read_predictions(write(tmp_path / "p.json", [{**ROW, **changes}])))
