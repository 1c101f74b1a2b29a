"""What may be wrong with stories, counted: shots that overlap, captions that are missing, names that nobody declared.

A flag is a reason to look, not a verdict. Stories come one by one and are not kept; of each flag the first few places
are remembered. A story is compared with the one before it, so overlaps of stories are found where the stories of a
video come in order, as they do in a dataset folder.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from animeshooter_hf.dataset_builder.quality.private_data import scan_story
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot, Story

__all__ = ["FLAGS", "FlagCounter", "FlagReport", "FlagSettings"]

FLAGS: Mapping[str, str] = {
    "story_without_shots": "stories without shots",
    "story_without_storyline": "stories without a storyline",
    "story_without_characters": "stories without a main character",
    "story_with_many_characters": "stories with more than 3 main characters (paper: 1 to 3)",
    "story_without_scenes": "stories without a main scene",
    "story_with_many_scenes": "stories with more than 3 main scenes (paper: 1 to 3)",
    "story_without_references": "stories without a reference mask",
    "story_without_times": "stories whose frames or rate are unknown",
    "story_overlaps": "stories that begin before the one before them has ended",
    "shot_without_narrative_caption": "shots without a narrative caption",
    "shot_without_descriptive_caption": "shots without a descriptive caption",
    "shot_without_characters": "shots without a main character",
    "shot_without_scene": "shots in no named scene",
    "shot_without_times": "shots whose frames and seconds are unknown",
    "shot_out_of_order": "shots that begin before the one before them begins",
    "shot_overlaps": "shots that begin before the one before them has ended",
    "shot_after_gap": "shots that begin after the one before them has ended",
    "shot_outside_story": "shots that reach out of their story",
    "shot_short": "shots shorter than the limit",
    "shot_long": "shots longer than the limit",
    "unknown_character": "shots that name a character whom the story does not declare",
    "unknown_scene": "shots that name a scene that the story does not declare",
    "private_email": "texts with a mail address",
    "private_url": "texts with an address on the web",
    "private_phone": "texts with a phone number",
    "private_handle": "texts with a handle",
    "private_card": "texts with the number of a card",
    "private_iban": "texts with the number of an account",
}
"""Flag -> what is counted."""

_SAME_SECONDS = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagSettings:
    """What counts as remarkable. Our choice: the paper gives means only (3.85 s per shot)."""

    shortest_shot_seconds: float = 0.5
    """Shots below this are flagged."""

    longest_shot_seconds: float = 30.0
    """Shots above this are flagged."""

    num_examples: int = 3
    """Places that are kept per flag."""

    def __post_init__(self) -> None:
        if not 0 <= self.shortest_shot_seconds <= self.longest_shot_seconds:
            raise InputError(
                f"The shortest shot must not be longer than the longest, got {self.shortest_shot_seconds} s and "
                f"{self.longest_shot_seconds} s."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagReport:
    """How often each flag was raised."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Flag -> how often; every flag of `FLAGS` is there."""

    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flag -> the first stories or shots that raised it."""

    num_flagged_stories: int = 0
    """Stories in which any flag was raised."""


class FlagCounter:
    """Takes stories one by one and counts flags."""

    def __init__(self, settings: FlagSettings | None = None) -> None:
        self._settings = settings or FlagSettings()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._num_flagged = 0
        self._previous: Story | None = None

    def add(self, story: Story) -> None:
        """Take a story."""
        is_flagged = False
        for flag, place in self._find(story):
            is_flagged = True
            self._counts[flag] += 1
            kept = self._examples.setdefault(flag, [])
            if len(kept) < self._settings.num_examples and place not in kept:
                kept.append(place)
        self._num_flagged += is_flagged
        self._previous = story

    def finish(self) -> FlagReport:
        """Return what was counted so far."""
        return FlagReport(
            counts={flag: self._counts[flag] for flag in FLAGS},
            examples={flag: tuple(self._examples[flag]) for flag in FLAGS if flag in self._examples},
            num_flagged_stories=self._num_flagged,
        )

    def _find(self, story: Story) -> Iterator[tuple[str, str]]:
        name = story.story_id
        checks = (
            ("story_without_shots", not story.shots),
            ("story_without_storyline", not story.storyline.strip()),
            ("story_without_characters", not story.characters),
            ("story_with_many_characters", len(story.characters) > 3),
            ("story_without_scenes", not story.scenes),
            ("story_with_many_scenes", len(story.scenes) > 3),
            ("story_without_references", not any(one.mask for one in story.references)),
            ("story_without_times", None in (story.frame_rate, story.start_frame, story.end_frame)),
            ("story_overlaps", self._overlaps(story)),
        )
        yield from ((flag, name) for flag, is_raised in checks if is_raised)
        yield from ((f"private_{found.finding.kind}", name) for found in scan_story(story))
        people, places = {one.id for one in story.characters}, {one.id for one in story.scenes}
        for number, shot in enumerate(story.shots):
            before = story.shots[number - 1] if number else None
            yield from ((flag, shot.shot_id) for flag in self._of_shot(story, shot, before))
            if not people.issuperset(shot.characters):
                yield "unknown_character", shot.shot_id
            if shot.scene is not None and shot.scene not in places:
                yield "unknown_scene", shot.shot_id

    def _overlaps(self, story: Story) -> bool:
        before = self._previous
        if before is None or before.video_id != story.video_id:
            return False
        return before.end_frame is not None and story.start_frame is not None and story.start_frame < before.end_frame

    def _of_shot(self, story: Story, shot: Shot, before: Shot | None) -> Iterator[str]:
        seconds = _seconds_of(shot, story)
        checks = (
            ("shot_without_narrative_caption", not (shot.narrative_caption or "").strip()),
            ("shot_without_descriptive_caption", not (shot.descriptive_caption or "").strip()),
            ("shot_without_characters", not shot.characters),
            ("shot_without_scene", shot.scene is None),
            ("shot_without_times", seconds is None),
            ("shot_outside_story", _is_outside(shot, story)),
            ("shot_short", seconds is not None and seconds < self._settings.shortest_shot_seconds),
            ("shot_long", seconds is not None and seconds > self._settings.longest_shot_seconds),
        )
        yield from (flag for flag, is_raised in checks if is_raised)
        if before is not None:
            yield from _order_of(before, shot)


def _order_of(before: Shot, shot: Shot) -> Iterator[str]:
    """Yield what is wrong with the order of two shots, by frames where both have them, else by the clock."""
    if before.start_frame is not None and shot.start_frame is not None:
        begun: float = shot.start_frame - before.start_frame
        gap: float = shot.start_frame - (before.end_frame or 0)
        tolerance = 0.0
    elif before.start_seconds is not None and shot.start_seconds is not None:
        begun = shot.start_seconds - before.start_seconds
        gap = shot.start_seconds - (before.end_seconds or 0.0)
        tolerance = _SAME_SECONDS
    else:
        return
    if begun < -tolerance:
        yield "shot_out_of_order"
    if gap < -tolerance:
        yield "shot_overlaps"
    elif gap > tolerance:
        yield "shot_after_gap"


def _seconds_of(shot: Shot, story: Story) -> float | None:
    if shot.start_seconds is not None and shot.end_seconds is not None:
        return shot.end_seconds - shot.start_seconds
    if shot.num_frames is None or story.frame_rate is None:
        return None
    return float(shot.num_frames / story.frame_rate)


def _is_outside(shot: Shot, story: Story) -> bool:
    if None in (shot.start_frame, shot.end_frame, story.start_frame, story.end_frame):
        return False
    return shot.start_frame < story.start_frame or shot.end_frame > story.end_frame  # type: ignore[operator]
