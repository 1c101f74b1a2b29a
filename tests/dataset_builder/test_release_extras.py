import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.release.changes import apply_changes, find_changes
from animeshooter_hf.dataset_builder.release.extras import (
    EXTRAS_FILE,
    FileExtras,
    find_extras,
    restore_file,
    restore_release,
)
from animeshooter_hf.dataset_builder.release.files import ReleaseFile
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import ReleaseDocument, read_release_documents
from animeshooter_hf.dataset_builder.release.rewrite import to_release_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "LvJRvwIDh0E.json"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ID", "frame index", "a", "b"]), inner, max_size=4)
    ),
    max_leaves=20,
)


def read(data: Any) -> ReleaseDocument:
    file = ReleaseFile("a.json", json.dumps(data).encode())
    return next(read_release_documents([file], ProblemLog()))


def restored(data: Any) -> Any:
    """The file again, by way of the rows' JSON and the line of extras."""
    document = read(data)
    extras = find_extras(document)
    assert extras is not None
    rows = {story.story_id: Story.from_json(json.loads(json.dumps(story.to_json()))) for story in document.stories}
    return restore_file(FileExtras.from_line(extras.to_line()), rows.__getitem__)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(JSON, JSON)
def test_changes_make_any_value_of_any_other(told: Any, original: Any) -> None:
    changes = find_changes(told, original)
    assert json.dumps(apply_changes(copy.deepcopy(told), changes)) == json.dumps(original)
    assert find_changes(original, original) == []


def test_changes_say_an_order_and_not_the_elements_again() -> None:
    told = [{"ID": name, "x": name * 9} for name in "abc"]
    changes = find_changes(told, [told[2], told[0], told[0]])
    assert [(change.action, change.value) for change in changes] == [("arrange", [2, 0, 0])]


def test_the_sample_comes_back_byte_by_byte_from_the_dataset_that_was_made_of_it(tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    assert main(["ingest", str(SAMPLE), "--out", str(tmp_path / "out")]) == 0
    ((name, data),) = restore_release(tmp_path / "out")
    assert name == SAMPLE.name
    assert json.dumps(data).encode() == SAMPLE.read_bytes()
    assert (tmp_path / "out" / EXTRAS_FILE).stat().st_size < SAMPLE.stat().st_size / 20


def test_rows_alone_give_the_known_keys_of_the_sample() -> None:
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    data = json.loads(SAMPLE.read_text())
    written = to_release_json(read(data).stories)
    assert (written["video ID"], written["fps"]) == (data["video ID"], data["fps"])
    for told, segment in zip(written["segments"], data["segments"], strict=True):
        script = copy.deepcopy(segment["story script"])
        for shot in script["shots"]:
            if shot["setting"] == "N/A":
                del shot["setting"]
        assert told["story script"] == script


@st.composite
def release_files(draw: st.DrawFn) -> Any:
    """Good files in one of the release's spellings, with unknown keys anywhere and lists in any order."""
    names = draw(st.lists(st.sampled_from(["Ann", "Bob", "Old Man"]), min_size=1, max_size=3, unique=True))
    scene_keys = draw(st.sampled_from([("main settings", "setting"), ("main scenes", "scene")]))
    is_nested = draw(st.booleans())
    captions = draw(st.sampled_from([("narrative caption", "descriptive caption"), ("narrative_caption", "caption")]))

    def shot(number: int) -> dict[str, Any]:
        texts = {captions[0]: draw(st.text(max_size=9)), captions[1]: draw(st.text(max_size=9))}
        row = {
            "start time": f"00:{number:02d}",
            "end time": draw(st.sampled_from([f"00:{number + 1:02d}", number + 1])),
        }
        row |= {"main characters": draw(st.lists(st.sampled_from(names), max_size=3)), scene_keys[1]: "Park"}
        row |= {"visual annotation": texts} if is_nested else texts
        return {**row, **draw(st.dictionaries(st.sampled_from(["mood", "camera"]), JSON, max_size=2))}

    frames = draw(st.lists(st.integers(0, 99), max_size=5))
    counts = st.sampled_from(["0`0", "0a0", "a placeholder"])
    masks = [{"frame index": n, "rle mask": {"size": [4, 4], "counts": draw(counts)}} for n in frames]
    script = {
        "storyline": draw(st.text(max_size=9)),
        "main characters": [{"ID": name, "appearance": draw(st.text(max_size=5))} for name in names],
        scene_keys[0]: [{"ID": "Park", "environment": "trees", "weather": draw(JSON)}],
        "shots": draw(st.permutations([shot(number) for number in range(draw(st.integers(0, 4)))])),
    }
    segment = {
        "start frame index": 0,
        "end frame index": draw(st.integers(0, 200)),
        "story script": script,
        "reference images": [{"ID": name, "masks": masks} for name in names],
    }
    video = {"video ID": "vid", "fps": draw(st.sampled_from([25.0, 29.97, 30, None])), "note": draw(JSON)}
    return {**video, "segments": [segment] * draw(st.integers(1, 2))}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(release_files())
def test_any_file_of_the_release_comes_back_with_its_unknown_keys(data: Any) -> None:
    assert json.dumps(restored(data)) == json.dumps(data)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda video: {"vid": {key: value for key, value in video.items() if key != "video ID"}},
        lambda video: [video, {**video, "video ID": "other"}],
        lambda video: {"list": [{"a": video}], "rest": 4},
        lambda video: video["segments"],
        lambda video: {**{key: value for key, value in video.items() if key != "segments"}, **video["segments"][0]},
        lambda video: {**video, "segments": [7, *video["segments"], {"start frame index": 1}]},
    ],
)
def test_a_file_of_another_shape_comes_back_too(wrap: Any) -> None:
    mask = {"frame index": 3, "rle mask": {"size": [4, 4], "counts": "0`0"}}
    script = {"storyline": "s", "shots": [{"start time": "00:00", "end time": "00:01"}], "extra": [1, {"b": None}]}
    segment = {"story script": script, "reference images": {"Ann": [mask]}, "mood": "sad"}
    data = wrap({"video ID": "vid", "fps": 25.0, "segments": [segment]})
    assert json.dumps(restored(data)) == json.dumps(data)


def test_extras_that_are_missing_damaged_or_of_another_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"holds no {EXTRAS_FILE}"):
        list(restore_release(tmp_path))
    (tmp_path / EXTRAS_FILE).write_text('{"file": "a"}\n')
    with pytest.raises(InputError, match=r"Line 1 of .* is damaged"):
        list(restore_release(tmp_path))
    line = {"file": "a", "videos": [{"path": [], "shape": "video", "story_ids": ["x"], "spelling": {}}], "changes": []}
    (tmp_path / EXTRAS_FILE).write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match="a cannot be restored"):
        list(restore_release(tmp_path))


def test_stories_of_two_videos_or_of_none_are_no_release_file() -> None:
    stories = [Story(video_id=name, story_id=f"{name}_000") for name in "ab"]
    for wrong in (stories, [], [None]):
        with pytest.raises(ValueError, match="One video's stories are needed"):
            to_release_json(wrong)
