"""Read the annotation files of the public release, in every variant, into stories.

`read_release_video` is total: whatever the JSON, it returns the stories that can be told from it and reports the
rest to a `ProblemLog`. Nothing around a bad record is lost.

Source: AnimeShooter, arXiv 2506.03126, and the files of its project page.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from animeshooter_hf.dataset_builder.release.files import ReleaseFile, parse_json
from animeshooter_hf.dataset_builder.release.keys import SCRIPT, SEGMENT, VIDEO, fold_key, read_keys
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.stories import read_story
from animeshooter_hf.dataset_builder.release.values import Place, read_id, read_list, read_rate, read_text, show
from animeshooter_hf.records import Story, make_shot_id, make_story_id

__all__ = ["read_release_files", "read_release_video"]

_MAX_NESTING = 3
_MAX_ID = 128
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
_ADDRESS = re.compile(r"(?:[?&]v=|youtu\.be/|/shorts/|/embed/)([\w-]{6,64})")
_OURS = {"story id", "format"}
"""Keys of our own rows and film scripts, which are no annotation of the release."""
_ONLY_SEGMENT = {"start_frame", "end_frame", "script", "storyline", "shots"}
_ONLY_SCRIPT = {alias for alias, field in SCRIPT.items() if field in ("storyline", "shots")}


def read_release_video(data: object, file: str, log: ProblemLog) -> list[Story]:
    """Return every story of a parsed annotation file; it never raises, whatever the JSON.

    Args:
        data: One video, `{id: video}`, a list of videos, or a list of segments.
        file: Name of the file, for reports and, if there is no other, for the video's ID.
        log: Where problems go.
    """
    told = _Told(log)
    return [story for stories in _read_videos(data, file, log) for story in told.admit(stories, file)]


def read_release_files(files: Iterable[ReleaseFile], log: ProblemLog) -> Iterator[tuple[str, Story]]:
    """Yield (file, story) for the stories of many files, in their order; a video that comes again is told once.

    Args:
        files: What `iter_release_files` yields.
        log: Where problems go.
    """
    told = _Told(log)
    for file in files:
        data = parse_json(file, log)
        if data is not None:
            for stories in _read_videos(data.value, file.name, log):
                for story in told.admit(stories, file.name):
                    yield file.name, story


def _read_videos(data: object, file: str, log: ProblemLog) -> Iterator[list[Story]]:
    place = Place(log, file)
    videos = _find_videos(data, None, place)
    if not videos:
        place.report("other_json", f"the file holds {show(data)}")
    for name, video in videos:
        yield _read_video(video, name, len(videos) == 1, place)


class _Told:
    """Which videos came already; holds a few words per video, so that the whole release fits."""

    def __init__(self, log: ProblemLog) -> None:
        self._log = log
        self._digests: dict[str, set[int]] = {}
        self._next_index: dict[str, int] = {}

    def admit(self, stories: list[Story], file: str) -> list[Story]:
        """Return the stories of one video as they may join the others: none if they came before."""
        if not stories:
            return []
        video_id = stories[0].video_id
        digest = hash(tuple(stories))
        digests = self._digests.setdefault(video_id, set())
        if digest in digests:
            self._log.add("duplicate_video", file, None, f"{video_id}, {len(stories)} stories")
            return []
        first = self._next_index.get(video_id, 0)
        if digests:
            detail = f"{video_id}: {len(stories)} stories, numbered from {first}"
            self._log.add("video_retold", file, None, detail)
            stories = [_renumber(story, first + offset) for offset, story in enumerate(stories)]
            self._next_index[video_id] = first + len(stories)
        else:
            self._next_index[video_id] = 1 + max(int(story.story_id.rsplit("_", 1)[1]) for story in stories)
        digests.add(digest)
        return stories


def _renumber(story: Story, index: int) -> Story:
    story_id = make_story_id(story.video_id, index)
    shots = [replace(shot, shot_id=make_shot_id(story_id, shot.index)) for shot in story.shots]
    return replace(story, story_id=story_id, shots=tuple(shots))


def _find_videos(
    data: object, name: str | None, place: Place, depth: int = 0
) -> list[tuple[str | None, Mapping[Any, Any]]]:
    """Return (name, video) for every video in a JSON value; the name is the key that a video stood under."""
    if isinstance(data, Mapping):
        keys = {fold_key(key) for key in data if isinstance(key, str)}
        if keys & _OURS:
            return []
        fields = {VIDEO[key] for key in keys if key in VIDEO}
        if "segments" in fields and not _ONLY_SCRIPT & keys:
            return [(name, data)]
        if _ONLY_SEGMENT & {SEGMENT[key] for key in keys if key in SEGMENT}:
            own = {key: None for key in data if not (isinstance(key, str) and fold_key(key) in VIDEO)}
            above = {key: value for key, value in data.items() if key not in own}
            return [(name, {**above, "segments": [{key: data[key] for key in own}]})]
        if "video_id" in fields and ("fps" in fields or "url" in fields):
            return [(name, data)]
        children: list[tuple[str | None, object]] = [
            (key if isinstance(key, str) else show(key), value) for key, value in data.items()
        ]
    elif isinstance(data, list):
        if any(_is_segment(item) for item in data):
            return [(name, {"segments": data})]
        children = [(None, value) for value in data]
    else:
        return []
    if depth >= _MAX_NESTING:
        return []
    found = [(key, value, _find_videos(value, key, place, depth + 1)) for key, value in children]
    if any(videos for _, _, videos in found):
        for key, value, videos in found:
            if not videos:
                place.report("video_unreadable", f"{show(key) if key else 'an element'}: {show(value)}")
    return [video for _, _, videos in found for video in videos]


def _is_segment(item: object) -> bool:
    if not isinstance(item, Mapping):
        return False
    keys = {fold_key(key) for key in item if isinstance(key, str)}
    has_id = any(VIDEO.get(key) in ("video_id", "segments") for key in keys)
    return not has_id and bool(_ONLY_SEGMENT & {SEGMENT[key] for key in keys if key in SEGMENT})


def _read_video(video: Mapping[Any, Any], name: str | None, is_only_one: bool, place: Place) -> list[Story]:
    fields = read_keys(video, VIDEO, "a video", place)
    url = read_text(fields.get("url"), "the url", place)
    video_id = _read_video_id(fields.get("video_id"), name, url, is_only_one, place)
    if video_id is None:
        return []
    segments = read_list(fields.get("segments"), "the segments", place)
    if not segments:
        place.report("segments_missing", video_id)
        return []
    rate = read_rate(fields.get("fps"), place)
    stories = []
    for index, segment in enumerate(segments):
        story_place = replace(place, story_id=make_story_id(video_id, index))
        story = read_story(segment, video_id=video_id, url=url, rate=rate, place=story_place)
        if story is not None:
            stories.append(story)
    _report_segments(stories, rate, place)
    return stories


def _read_video_id(value: object, name: str | None, url: str | None, is_only_one: bool, place: Place) -> str | None:
    video_id = read_id(value, "the video ID", place)
    if video_id is None and name is not None:
        video_id = read_id(name, "the video ID", place)
    elif video_id is None:
        address = _ADDRESS.search(url) if url else None
        if address is None and not is_only_one:
            place.report("video_id_unknown", "a video has neither an ID nor an address that holds it")
            return None
        video_id = read_id(address[1] if address else PurePosixPath(place.file).stem, "the video ID", place)
        place.report("video_id_missing", f"taken to be {show(video_id)}")
    if video_id is None or len(video_id) > _MAX_ID or video_id in (".", "..") or _UNSAFE.search(video_id):
        place.report("video_id_unsafe", f"the video ID is {show(video_id)}")
        return None
    return video_id


def _report_segments(stories: list[Story], rate: Fraction | None, place: Place) -> None:
    """Report segments out of order, overlapping or apart; they may be, since some were dropped by the authors."""
    last: Story | None = None
    for story in stories:
        if story.start_frame is None or story.end_frame is None:
            continue
        here = replace(place, story_id=story.story_id)
        if last is not None and last.start_frame is not None and last.end_frame is not None:
            detail = f"frame {story.start_frame} after a segment of {last.start_frame} to {last.end_frame}"
            if story.start_frame < last.start_frame:
                here.report("segments_unordered", detail)
            elif story.start_frame < last.end_frame:
                here.report("segment_overlap", detail)
            elif story.start_frame > last.end_frame:
                here.report("segment_gap", detail)
        last = story
