"""The video files beside the public release, and stories made to fit them.

The release names YouTube IDs and frames; a user brings the files. A file may have another frame rate than the one that
was annotated, or end earlier. Then the story's frames are moved to the file's, so that what is cut is what was meant.

Masks: scaled to the file's size where they have its shape, see scaling.py.

Time:  one annotated frame begins at `frame / annotated rate`; the frame of the file that begins nearest to it is taken.
Where the two rates differ by less than rounding (30 for 29.97), the frames are the same ones and keep their numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av

from animeshooter_hf.clock import frame_at, seconds_at
from animeshooter_hf.dataset_builder.release.availability import AvailabilityStatus, VideoAvailability
from animeshooter_hf.dataset_builder.release.names import unescape_video_id
from animeshooter_hf.dataset_builder.release.scaling import fit_masks
from animeshooter_hf.dataset_builder.release.shots import place_shots
from animeshooter_hf.dataset_builder.release.values import Place, ProblemSink
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.video import FrameIndex, VideoInfo, index_frames, probe
from animeshooter_hf.video.reading import open_source, picture_stream

__all__ = ["VIDEO_SUFFIXES", "ReleaseVideos", "fit_to_video"]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
"""Suffixes of video files, the best one first."""

_ROUNDING = Fraction(15, 10_000)
"""Relative difference of frame rates that rounding explains: 30 for 29.97 is 0.1 %."""


_SAME_DURATION_SECONDS = 0.5
"""The end of the annotation and that of the video may differ by this much."""


@dataclass(slots=True)
class _OpenVideo:
    path: Path
    info: VideoInfo
    index: FrameIndex
    rotation: int | None
    drift_seconds: float = 0.0


class ReleaseVideos:
    """A folder of videos named after their IDs; the media source of `write_dataset`."""

    def __init__(self, folder: Path, *, today: str | None = None) -> None:
        """Look which videos there are.

        Args:
            folder: Holds `<video_id>.mp4` or another of `VIDEO_SUFFIXES`; the ID may also be escaped, see `names.py`.
                IDs that differ only in case are two videos.
            today: The day that `availability` names, such as "2026-01-31"; the present one in UTC if None.

        Raises:
            InputError: If there is no such folder, or it cannot be read.
        """
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} for the videos.")
        self._today = today or datetime.now(UTC).date().isoformat()
        found: dict[str, tuple[int, Path]] = {}
        try:
            paths = sorted(folder.resolve().iterdir())
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        for path in paths:
            suffix = path.suffix.lower()
            if suffix in VIDEO_SUFFIXES and path.is_file():
                rank = VIDEO_SUFFIXES.index(suffix)
                found[path.stem] = min((rank, path), found.get(path.stem, (rank, path)))
        self._paths = {video_id: path for video_id, (_, path) in found.items()}
        for stem, path in list(self._paths.items()):
            video_id = unescape_video_id(stem)
            if video_id is not None:
                self._paths.setdefault(video_id, path)
        self._seen: dict[str, VideoAvailability] = {}
        self._last: tuple[str, _OpenVideo | None] | None = None

    def video_path(self, video_id: str) -> Path | None:
        """Return the file of a video, or None if there is none that can be read."""
        seen = self._seen.get(video_id)
        return None if seen is not None and not seen.has_file else self._paths.get(video_id)

    def fit_video(self, stories: Sequence[Story], file: str, log: ProblemSink) -> list[Story]:
        """Return one video's stories with their frames counted in the file at hand, and note what the file is.

        Args:
            stories: All of them, so that the annotation's end can be compared with the video's.
            file: The annotation file, for reports.
            log: Where reports go.
        """
        fitted = [self.fit(story, Place(log, file, story.story_id)) for story in stories]
        video_id = stories[0].video_id
        ends = [seconds_at(one.end_frame, one.frame_rate) for one in stories if one.end_frame and one.frame_rate]
        before = self._seen[video_id]
        known = [one for one in (before.annotated_seconds, *ends) if one is not None]
        seen = replace(
            before,
            annotated_frame_rate=before.annotated_frame_rate or stories[0].frame_rate,
            annotated_seconds=max(known, default=None),
        )
        if seen.duration_seconds is not None and ends:
            self._compare_ends(max(ends), seen.duration_seconds, Place(log, file))
            if max(ends) - seen.duration_seconds > _SAME_DURATION_SECONDS:
                reason = f"the annotation ends at {max(ends):.2f} s, the file at {seen.duration_seconds:.2f} s"
                seen = replace(seen, status="trimmed", reason=reason)
        self._seen[video_id] = seen
        return fitted

    def fit(self, story: Story, place: Place) -> Story:
        """Return one story with its frames counted in the file at hand; as it came if there is no file.

        Args:
            story: A story of the release.
            place: Where reports go.
        """
        video = self._open(story.video_id, place)
        if video is None:
            return story
        story = _with_frames_of(story, video, place)
        drift = max(video.drift_seconds, self._seen[story.video_id].drift_seconds or 0.0)
        self._seen[story.video_id] = replace(self._seen[story.video_id], drift_seconds=drift)
        return fit_masks(story, video.info.height, video.info.width, place)

    def availability(self) -> list[VideoAvailability]:
        """Return a record for each video that was asked for, sorted by ID."""
        return [self._seen[video_id] for video_id in sorted(self._seen)]

    def _compare_ends(self, annotated: float, actual: float, place: Place) -> None:
        if abs(annotated - actual) > _SAME_DURATION_SECONDS:
            detail = f"the last segment ends at {annotated:.2f} s, the video at {actual:.2f} s"
            place.report("duration_differs", detail)

    def _open(self, video_id: str, place: Place) -> _OpenVideo | None:
        if self._last is None or self._last[0] != video_id:
            self._last = (video_id, self._probe(video_id, place))
        return self._last[1]

    def _probe(self, video_id: str, place: Place) -> _OpenVideo | None:
        def note(status: AvailabilityStatus, reason: str = "") -> None:
            self._seen[video_id] = VideoAvailability(
                video_id=video_id, status=status, reason=reason, checked_at=self._today
            )

        is_new = video_id not in self._seen
        path = self.video_path(video_id)
        if path is None:
            if is_new:
                note("missing")
                place.report("video_missing", video_id)
            return None
        try:
            video = _OpenVideo(path, probe(path), index_frames(path), _rotation_of(path))
        except InputError as error:
            note("unreadable", str(error))
            place.report("video_broken", str(error))
            return None
        if is_new:
            info = video.info
            self._seen[video_id] = VideoAvailability(
                video_id=video_id,
                status="available",
                checked_at=self._today,
                num_bytes=path.stat().st_size,
                width=info.width,
                height=info.height,
                rotation=video.rotation,
                frame_rate=info.frame_rate,
                num_frames=info.num_frames,
                duration_seconds=info.duration_seconds,
            )
            if video.rotation:
                place.report("video_rotated", f"{video_id} by {video.rotation} degrees")
        return video


def fit_to_video(story: Story, path: Path, info: VideoInfo, index: FrameIndex, place: Place) -> Story:
    """Return one story with its frames counted in a video that is known already; its masks at the video's size.

    Args:
        story: A story of the release.
        path: The video; it is not opened.
        info: What it says of itself.
        index: The time of its frames.
        place: Where reports go.
    """
    fitted = _with_frames_of(story, _OpenVideo(path, info, index, None), place)
    return fit_masks(fitted, info.height, info.width, place)


def _rotation_of(path: Path) -> int | None:
    """Return by how many degrees a player turns the picture, from its first frame; None if that cannot be decoded."""
    try:
        with open_source(path) as container:
            frame = next(iter(container.decode(picture_stream(container, path))), None)
            return None if frame is None else round(frame.rotation) % 360
    except av.error.FFmpegError:
        return None


def _with_frames_of(story: Story, video: _OpenVideo, place: Place) -> Story:
    start, end, rate = story.start_frame, story.end_frame, video.info.frame_rate
    if start is None or end is None:
        return story
    num_frames = len(video.index)
    frame_of = _frame_mapping(story, video, place)
    if frame_of(end) > num_frames:
        place.report("video_too_short", f"{num_frames} frames, the segment ends before frame {frame_of(end)}")
    start, end = min(frame_of(start), num_frames), min(frame_of(end), num_frames)
    if story.frame_rate == rate and not video.info.is_variable_rate and end == story.end_frame:
        return story

    def frame_at_seconds(seconds: float) -> int:
        if video.info.is_variable_rate:
            return video.index.frame_at(video.index.seconds(start) + seconds)
        return start + frame_at(seconds, rate)

    references = [replace(mask, frame_index=frame_of(mask.frame_index)) for mask in story.references]
    return replace(
        story,
        frame_rate=rate,
        start_frame=start,
        end_frame=end,
        shots=place_shots(story.shots, frame_at_seconds, end, place),
        references=tuple(references),
    )


def _frame_mapping(story: Story, video: _OpenVideo, place: Place) -> Callable[[int], int]:
    """Return annotated frame -> frame of the file; frames past the file's end stay past it."""
    rate, annotated = video.info.frame_rate, story.frame_rate
    if annotated is None:
        place.report("fps_from_video", f"{float(rate):.6g}")
        return _same_frame
    if rate == annotated:
        return _same_frame
    detail = f"the video has {float(rate):.6g} frames a second, the annotation {float(annotated):.6g}"
    if abs(rate / annotated - 1) <= _ROUNDING:
        place.report("rate_differs", f"{detail}: taken as rounding, the frames keep their numbers")
        return _same_frame
    place.report("rate_differs", detail)

    def nearest(frame: int) -> int:
        seconds = seconds_at(frame, annotated)
        nearest_frame = video.index.frame_at(seconds)
        if nearest_frame < len(video.index):
            video.drift_seconds = max(video.drift_seconds, abs(video.index.seconds(nearest_frame) - seconds))
        return nearest_frame if nearest_frame < len(video.index) else max(nearest_frame, frame_at(seconds, rate))

    return nearest


def _same_frame(frame: int) -> int:
    return frame
