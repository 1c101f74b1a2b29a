"""Read the annotation files of the public release, in every variant, into stories.

`read_release_video` is total: whatever the JSON, it returns the stories that can be told from it and reports the
rest to a `ProblemLog`. Nothing around a bad record is lost.

Source: AnimeShooter, arXiv 2506.03126, and the files of its project page.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from animeshooter_hf.dataset_builder.release.files import ReleaseFile, parse_json
from animeshooter_hf.dataset_builder.release.keys import SCRIPT, SEGMENT, VIDEO, fold_key, read_keys
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.rewrite import VideoShape
from animeshooter_hf.dataset_builder.release.stories import read_story
from animeshooter_hf.dataset_builder.release.values import Place, read_id, read_list, read_rate, read_text, show
from animeshooter_hf.records import Story, make_shot_id, make_story_id

__all__ = [
    "ReleaseDocument",
    "ToldVideo",
    "is_audio_story_id",
    "make_audio_story_id",
    "read_release_documents",
    "read_release_files",
    "read_release_video",
]

_MAX_NESTING = 3
_MAX_ID = 128
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
_ADDRESS = re.compile(r"(?:[?&]v=|youtu\.be/|/shorts/|/embed/)([\w-]{6,64})")
_AUDIO_ID = re.compile(r"_a\d{3,}$")
_OURS = {"story id", "format"}
"""Keys of our own rows and film scripts, which are no annotation of the release."""
_ONLY_SEGMENT = {"start_frame", "end_frame", "script", "storyline", "shots"}
_ONLY_SCRIPT = {alias for alias, field in SCRIPT.items() if field in ("storyline", "shots")}


@dataclass(frozen=True, slots=True)
class ToldVideo:
    """One video of a file."""

    path: tuple[str | int, ...]
    """Keys and positions that lead to it in the file."""

    shape: VideoShape
    """Where its segments stand."""

    stories: tuple[Story | None, ...]
    """One per segment; None where the segment gave none."""


@dataclass(frozen=True, slots=True)
class ReleaseDocument:
    """One file: what it says, and the stories that were told from it."""

    file: str
    """Its name."""

    data: Any
    """The JSON value."""

    videos: tuple[ToldVideo, ...]
    """The videos of which at least one story could be told, and that did not come before."""

    @property
    def stories(self) -> list[Story]:
        """All stories, in order."""
        return [story for video in self.videos for story in video.stories if story is not None]


def make_audio_story_id(video_id: str, segment_index: int) -> str:
    """Return the ID of a segment of AnimeShooter-audio, such as "LvJRvwIDh0E_a003".

    The audio release may split the same video elsewhere. Other story IDs end in "_" and digits, so none is the same.
    """
    return f"{video_id}_a{segment_index:03d}"


def is_audio_story_id(story_id: str) -> bool:
    """Return whether a story came from the audio release."""
    return _AUDIO_ID.search(story_id) is not None


def read_release_video(data: object, file: str, log: ProblemLog, *, is_audio: bool = False) -> list[Story]:
    """Return every story of a parsed annotation file; it never raises, whatever the JSON.

    Args:
        data: One video, `{id: video}`, a list of videos, or a list of segments.
        file: Name of the file, for reports and, if there is no other, for the video's ID.
        log: Where problems go.
        is_audio: Whether the file is of the audio release, whose stories have IDs of their own.
    """
    return _read_document(data, file, _Told(log), is_audio).stories


def read_release_documents(
    files: Iterable[ReleaseFile], log: ProblemLog, *, is_audio: bool = False
) -> Iterator[ReleaseDocument]:
    """Yield what each file says, in their order; a video that comes again is told once.

    Args:
        files: What `iter_release_files` yields.
        log: Where problems go.
        is_audio: Whether the files are of the audio release, whose stories have IDs of their own.
    """
    told = _Told(log)
    for file in files:
        data = parse_json(file, log)
        if data is not None:
            yield _read_document(data.value, file.name, told, is_audio)


def read_release_files(files: Iterable[ReleaseFile], log: ProblemLog) -> Iterator[tuple[str, Story]]:
    """Yield (file, story) for the stories of many files, in their order; a video that comes again is told once.

    Args:
        files: What `iter_release_files` yields.
        log: Where problems go.
    """
    for document in read_release_documents(files, log):
        for story in document.stories:
            yield document.file, story


def _read_document(data: object, file: str, told: "_Told", is_audio: bool) -> ReleaseDocument:
    place = Place(told.log, file)
    found = _find_videos(data, None, place)
    if not found:
        place.report("other_json", f"the file holds {show(data)}")
    videos = []
    for one in found:
        stories = told.admit(_read_video(one.video, one.name, len(found) == 1, place, is_audio), file)
        if any(story is not None for story in stories):
            videos.append(ToldVideo(one.path, one.shape, tuple(stories)))
    return ReleaseDocument(file, data, tuple(videos))


class _Told:
    """Which videos came already; holds a few words per video, so that the whole release fits."""

    def __init__(self, log: ProblemLog) -> None:
        self.log = log
        self._digests: dict[str, set[int]] = {}
        self._next_index: dict[str, int] = {}

    def admit(self, segments: Sequence[Story | None], file: str) -> list[Story | None]:
        """Return the stories of one video as they may join the others: none if they came before."""
        stories = [story for story in segments if story is not None]
        if not stories:
            return []
        video_id = stories[0].video_id
        digest = hash(tuple(stories))
        digests = self._digests.setdefault(video_id, set())
        if digest in digests:
            self.log.add("duplicate_video", file, None, f"{video_id}, {len(stories)} stories")
            return []
        told = list(segments)
        first = self._next_index.get(video_id, 0)
        if digests:
            detail = f"{video_id}: {len(stories)} stories, numbered from {first}"
            self.log.add("video_retold", file, None, detail)
            told = [one and _renumber(one, first + offset) for offset, one in enumerate(segments)]
        self._next_index[video_id] = first + len(segments)
        digests.add(digest)
        return told


def _renumber(story: Story, index: int) -> Story:
    make_id = make_audio_story_id if is_audio_story_id(story.story_id) else make_story_id
    story_id = make_id(story.video_id, index)
    shots = [replace(shot, shot_id=make_shot_id(story_id, shot.index)) for shot in story.shots]
    return replace(story, story_id=story_id, shots=tuple(shots))


@dataclass(frozen=True, slots=True)
class _Found:
    """A video in a JSON value."""

    name: str | None
    """The key that it stood under."""

    video: Mapping[Any, Any]
    """The video, with its segments in `segments`."""

    path: tuple[str | int, ...]
    """Keys and positions that lead to it."""

    shape: VideoShape = "video"
    """Where its segments stood."""


def _find_videos(data: object, name: str | None, place: Place, path: tuple[str | int, ...] = ()) -> list[_Found]:
    """Return every video in a JSON value."""
    if isinstance(data, Mapping):
        keys = {fold_key(key) for key in data if isinstance(key, str)}
        if keys & _OURS:
            return []
        fields = {VIDEO[key] for key in keys if key in VIDEO}
        if "segments" in fields and not _ONLY_SCRIPT & keys:
            return [_Found(name, data, path)]
        if _ONLY_SEGMENT & {SEGMENT[key] for key in keys if key in SEGMENT}:
            own = {key: None for key in data if not (isinstance(key, str) and fold_key(key) in VIDEO)}
            above = {key: value for key, value in data.items() if key not in own}
            return [_Found(name, {**above, "segments": [{key: data[key] for key in own}]}, path, "segment")]
        if "video_id" in fields and ("fps" in fields or "url" in fields):
            return [_Found(name, data, path)]
        children: list[tuple[Any, str | None, object]] = [
            (key, key if isinstance(key, str) else show(key), value) for key, value in data.items()
        ]
    elif isinstance(data, list):
        if any(_is_segment(item) for item in data):
            return [_Found(name, {"segments": data}, path, "segments")]
        children = [(position, None, value) for position, value in enumerate(data)]
    else:
        return []
    if len(path) >= _MAX_NESTING:
        return []
    found = [(key, value, _find_videos(value, key, place, (*path, step))) for step, key, value in children]
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


def _read_video(
    video: Mapping[Any, Any], name: str | None, is_only_one: bool, place: Place, is_audio: bool
) -> list[Story | None]:
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
    make_id = make_audio_story_id if is_audio else make_story_id
    stories = []
    for index, segment in enumerate(segments):
        story_place = replace(place, story_id=make_id(video_id, index))
        stories.append(read_story(segment, video_id=video_id, url=url, rate=rate, place=story_place))
    _report_segments([story for story in stories if story is not None], place)
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


def _report_segments(stories: Sequence[Story], place: Place) -> None:
    """Report segments out of order, overlapping or apart; they may be, since some were dropped by the authors."""
    gaps: list[int] = []
    last: tuple[int, int] | None = None
    for story in stories:
        if story.start_frame is None or story.end_frame is None:
            continue
        here = replace(place, story_id=story.story_id)
        if last is not None:
            detail = f"frame {story.start_frame} after a segment of {last[0]} to {last[1]}"
            if story.start_frame < last[0]:
                here.report("segments_unordered", detail)
            elif story.start_frame < last[1]:
                here.report("segment_overlap", detail)
            elif story.start_frame > last[1]:
                here.report("segment_gap", detail)
            gaps.append(story.start_frame - last[1])
        last = story.start_frame, story.end_frame
    if len(gaps) > 1 and set(gaps) == {1}:
        place.report("end_frames_inclusive", f"{len(gaps)} times")
