"""Choose reference frames of a story: one per second from the shots in which a character appears.

Each candidate is judged by the paper's rules, and each reject is kept with its reason and its numbers, so that other
thresholds can be tried without segmenting again. A mask that is known to be exact (from a film's script) is judged by
its cleaned form but kept as it is; one from a model is kept in its cleaned form.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from animeshooter_hf.clock import frame_at
from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
from animeshooter_hf.dataset_builder.script.film_script import TrueMasks
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import ReferenceMask, Story

__all__ = ["ReferenceSettings", "ReferenceVerdict", "candidate_frames", "choose_references", "count_reasons"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSettings:
    """How references are chosen."""

    frames_per_second: float = 1.0
    """Candidates per second of a shot. Paper: 1."""

    max_per_character: int = 12
    """References kept per character and story, evenly over its candidates. Our choice: the release has 5 to 29."""

    def __post_init__(self) -> None:
        if self.frames_per_second <= 0 or self.max_per_character < 1:
            raise ValueError(f"frames_per_second and max_per_character must be positive, got {self}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceVerdict:
    """What was decided about one candidate."""

    story_id: str
    """Story."""

    character_id: str
    """Character."""

    frame_index: int
    """Frame of the video."""

    reason: str | None
    """Why it was rejected, or None if it was kept."""

    num_contours: int = 0
    """Contours of the cleaned mask."""

    num_components: int = 0
    """Components of the cleaned mask."""

    area: float = 0.0
    """Share of the image that the largest component covers."""


def candidate_frames(story: Story, character_id: str, settings: ReferenceSettings) -> Iterator[int]:
    """Yield the frames to look for a character in: inside its shots, never on the next shot's first frame."""
    if story.frame_rate is None:
        raise InputError(f"Story {story.story_id} has no frame rate, so no frames can be chosen.")
    step = 1 / Fraction(settings.frames_per_second)
    for shot in story.shots:
        if character_id in shot.characters and shot.start_frame is not None and shot.end_frame is not None:
            count = 0
            while (frame := shot.start_frame + frame_at(count * step + step / 2, story.frame_rate)) < shot.end_frame:
                yield frame
                count += 1


def choose_references(
    story: Story,
    masks: TrueMasks,
    settings: ReferenceSettings | None = None,
    rules: MaskRules | None = None,
    *,
    masks_are_exact: bool = True,
) -> tuple[list[ReferenceMask], list[ReferenceVerdict]]:
    """Return the references of a story, and what was decided about each candidate.

    Args:
        story: With frames.
        masks: Where the characters are.
        settings: How many.
        rules: When a mask is good enough.
        masks_are_exact: Keep the mask as given; otherwise in its cleaned form.
    """
    settings = settings or ReferenceSettings()
    kept: list[ReferenceMask] = []
    verdicts: list[ReferenceVerdict] = []
    for character in story.characters:
        good: list[ReferenceMask] = []
        for frame in candidate_frames(story, character.id, settings):
            mask, verdict = _judge(story.story_id, character.id, frame, masks, rules, masks_are_exact)
            verdicts.append(verdict)
            if mask is not None:
                good.append(ReferenceMask(character_id=character.id, frame_index=frame, mask=mask))
        step = max(1.0, len(good) / settings.max_per_character)
        kept += [good[int(number * step)] for number in range(min(len(good), settings.max_per_character))]
    return sorted(kept, key=lambda one: (one.frame_index, one.character_id)), verdicts


def count_reasons(verdicts: list[ReferenceVerdict]) -> dict[str, int]:
    """Return reason -> how many candidates, "kept" among them."""
    return dict(sorted(Counter(verdict.reason or "kept" for verdict in verdicts).items()))


def _judge(
    story_id: str, character_id: str, frame: int, masks: TrueMasks, rules: MaskRules | None, exact: bool
) -> tuple[RleMask | None, ReferenceVerdict]:
    mask = masks.mask_at(character_id, frame)
    if mask is None:
        return None, ReferenceVerdict(
            story_id=story_id, character_id=character_id, frame_index=frame, reason="not_seen"
        )
    cleaned = clean_mask(mask.to_array(), rules)
    verdict = ReferenceVerdict(
        story_id=story_id,
        character_id=character_id,
        frame_index=frame,
        reason=cleaned.reason,
        num_contours=cleaned.num_contours,
        num_components=cleaned.num_components,
        area=round(cleaned.area, 5),
    )
    if cleaned.reason:
        return None, verdict
    return mask if exact else RleMask.from_array(cleaned.mask), verdict
