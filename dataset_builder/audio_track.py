"""Decide which shots go into AnimeShooter-audio: an annotated sound, long enough, and no long speech or music.

Source: AnimeShooter, arXiv 2506.03126, appendix A.3: shots longer than 3 seconds; segments with long music or
speech are excluded. We decide per shot, from the stretches that the annotator knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.records import Shot, Story

__all__ = ["AudioSettings", "gate_audio"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioSettings:
    """When a shot's sound is good enough."""

    min_seconds: float = 1.5
    """Least length. Paper: 3, for shots that are cut anew where the sound changes; ours keep the picture's cuts."""

    max_covered: float = 0.5
    """Largest share of the shot under music, and under speech. Our choice for the paper's "long"."""


def gate_audio(
    story: Story,
    *,
    music: Sequence[tuple[float, float]] = (),
    speech: Sequence[tuple[float, float]] = (),
    settings: AudioSettings | None = None,
) -> tuple[Story, dict[str, str]]:
    """Return the story with the audio annotation of unfit shots taken away, and shot ID -> why.

    Args:
        story: With frames and a frame rate.
        music: Stretches of background music, in seconds of the video.
        speech: Stretches of speech, in seconds of the video.
        settings: Limits.
    """
    settings = settings or AudioSettings()
    reasons: dict[str, str] = {}
    shots: list[Shot] = []
    for shot in story.shots:
        reason = _reason(shot, story, music, speech, settings) if shot.audio is not None else None
        if reason:
            reasons[shot.shot_id] = reason
        shots.append(replace(shot, audio=None) if reason else shot)
    return story.with_shots(shots), reasons


def _reason(
    shot: Shot,
    story: Story,
    music: Sequence[tuple[float, float]],
    speech: Sequence[tuple[float, float]],
    settings: AudioSettings,
) -> str | None:
    if story.frame_rate is None or shot.start_frame is None or shot.end_frame is None:
        return "no_time"
    start, end = seconds_at(shot.start_frame, story.frame_rate), seconds_at(shot.end_frame, story.frame_rate)
    if end - start < settings.min_seconds:
        return "too_short"
    for name, stretches in (("music", music), ("speech", speech)):
        covered = sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in stretches)
        if covered > settings.max_covered * (end - start):
            return name
    return None
