"""The video files beside the public release, and stories made to fit them.

The release names YouTube IDs and frames; a user brings the files. A file may have another frame rate than the one that
was annotated, or end earlier. Then the story's frames are moved to the file's, so that what is cut is what was meant.

Time:  one annotated frame begins at `frame / annotated rate`; the frame of the file that begins nearest to it is taken.
Where the two rates differ by less than rounding (30 for 29.97), the frames are the same ones and keep their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from animeshooter_hf.clock import frame_at, seconds_at
from animeshooter_hf.dataset_builder.release.shots import place_shots
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.video import FrameIndex, VideoInfo, index_frames, probe

__all__ = ["VIDEO_SUFFIXES", "ReleaseVideos"]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
"""Suffixes of video files, the best one first."""

_ROUNDING = Fraction(15, 10_000)
"""Relative difference of frame rates that rounding explains: 30 for 29.97 is 0.1 %."""


@dataclass(frozen=True, slots=True)
class _OpenVideo:
    path: Path
    info: VideoInfo
    index: FrameIndex


class ReleaseVideos:
    """A folder of videos named after their IDs; the media source of `write_dataset`."""

    def __init__(self, folder: Path) -> None:
        """Look which videos there are.

        Args:
            folder: Holds `<video_id>.mp4` or another of `VIDEO_SUFFIXES`. IDs that differ only in case are two videos.

        Raises:
            InputError: If there is no such folder, or it cannot be read.
        """
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} for the videos.")
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
        self._broken: set[str] = set()
        self._missing: set[str] = set()
        self._last: tuple[str, _OpenVideo | None] | None = None

    def video_path(self, video_id: str) -> Path | None:
        """Return the file of a video, or None if there is none that can be read."""
        return None if video_id in self._broken else self._paths.get(video_id)

    def fit(self, story: Story, place: Place) -> Story:
        """Return the story with its frames counted in the file at hand; as it came if there is no file.

        Args:
            story: A story of the release.
            place: Where reports go.
        """
        video = self._open(story.video_id, place)
        if video is None:
            return story
        story = _with_frames_of(story, video, place)
        _report_mask_sizes(story, video.info, place)
        return story

    def _open(self, video_id: str, place: Place) -> _OpenVideo | None:
        if self._last is None or self._last[0] != video_id:
            self._last = (video_id, self._probe(video_id, place))
        return self._last[1]

    def _probe(self, video_id: str, place: Place) -> _OpenVideo | None:
        path = self.video_path(video_id)
        if path is None:
            if video_id not in self._broken | self._missing:
                self._missing.add(video_id)
                place.report("video_missing", video_id)
            return None
        try:
            return _OpenVideo(path, probe(path), index_frames(path))
        except InputError as error:
            self._broken.add(video_id)
            place.report("video_broken", str(error))
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
        return nearest_frame if nearest_frame < len(video.index) else max(nearest_frame, frame_at(seconds, rate))

    return nearest


def _same_frame(frame: int) -> int:
    return frame


def _report_mask_sizes(story: Story, info: VideoInfo, place: Place) -> None:
    for reference in story.references:
        mask = reference.mask
        if mask is not None and (mask.height, mask.width) != (info.height, info.width):
            place.report(
                "mask_size_differs",
                f"{mask.height}x{mask.width} in frame {reference.frame_index}, "
                f"the video has {info.height}x{info.width} (height x width)",
            )
