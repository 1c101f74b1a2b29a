"""Choose reference frames of a story: one per second from the shots in which a character appears.

`candidate_frames` says where to look. `choose_references` judges masks that are already there; `find.py` is the whole
way with a segmenter and a verifier.

Each candidate is judged by the paper's rules, and each reject is kept with its reason and its numbers, so that other
thresholds can be tried without segmenting again. A mask that is known to be exact (from a film's script) is judged by
its cleaned form but kept as it is; one from a model is kept in its cleaned form.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from animeshooter_hf.clock import frame_at
from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
from animeshooter_hf.dataset_builder.references.verdicts import (
    ReferenceSettings,
    ReferenceVerdict,
    count_reasons,
    take_evenly,
)
from animeshooter_hf.dataset_builder.script.film_script import TrueMasks
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import ReferenceMask, Story

__all__ = ["ReferenceSettings", "ReferenceVerdict", "candidate_frames", "choose_references", "count_reasons"]


def candidate_frames(
    story: Story,
    character_id: str,
    settings: ReferenceSettings,
    sampled: Sequence[int] | None = None,
    *,
    avoid: Sequence[tuple[int, int]] = (),
) -> Iterator[int]:
    """Yield the frames to look for a character in: inside its shots, never on the next shot's first frame.

    Args:
        story: With frames.
        character_id: Whom to look for.
        settings: How many per second.
        sampled: Frames of which pictures are at hand; of a shot's, as many as the rate allows are taken, and its middle
            frame where there is none. None takes frames at the rate, wherever they lie.
        avoid: Half-open ranges of frames that a transition touches; a shot that lies in them whole gives none.

    Raises:
        InputError: If the story has no frame rate.
    """
    if story.frame_rate is None:
        raise InputError(f"Story {story.story_id} has no frame rate, so no frames can be chosen.")
    for shot in story.shots:
        if character_id not in shot.characters or shot.start_frame is None or shot.end_frame is None:
            continue
        start, end = shot.start_frame, shot.end_frame
        if sampled is None:
            yield from _clear_of(_at_rate(start, end, story.frame_rate, settings), avoid)
            continue
        inside = _clear_of(sorted({frame for frame in sampled if start <= frame < end}), avoid)
        thinned = _thin(inside, story.frame_rate, settings)
        middle = _clear_of(_from_the_middle(start, end), avoid)
        yield from thinned or middle[:1]


def _at_rate(start: int, end: int, rate: Fraction, settings: ReferenceSettings) -> list[int]:
    step = 1 / Fraction(settings.frames_per_second)
    frames: list[int] = []
    while (frame := start + frame_at(len(frames) * step + step / 2, rate)) < end:
        frames.append(frame)
    return frames


def _thin(frames: Sequence[int], rate: Fraction, settings: ReferenceSettings) -> list[int]:
    """Return the frames without those that follow another one sooner than three quarters of the asked step."""
    least = Fraction(3, 4) / Fraction(settings.frames_per_second) * rate
    kept: list[int] = []
    for frame in frames:
        if not kept or frame - kept[-1] >= least:
            kept.append(frame)
    return kept


def _from_the_middle(start: int, end: int) -> list[int]:
    """Return the frames of a shot, the nearest to its middle first."""
    middle = (start + end) // 2
    return sorted(range(start, end), key=lambda frame: (abs(frame - middle), frame))


def _clear_of(frames: Sequence[int], avoid: Sequence[tuple[int, int]]) -> list[int]:
    return [frame for frame in frames if not any(low <= frame < high for low, high in avoid)]


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
        kept += take_evenly(good, settings.max_per_character)
    return sorted(kept, key=lambda one: (one.frame_index, one.character_id)), verdicts


def _judge(
    story_id: str, character_id: str, frame: int, masks: TrueMasks, rules: MaskRules | None, exact: bool
) -> tuple[RleMask | None, ReferenceVerdict]:
    mask = masks.mask_at(character_id, frame)
    if mask is None:
        return None, ReferenceVerdict(
            story_id=story_id, character_id=character_id, frame_index=frame, reason="not_seen"
        )
    rules = rules or MaskRules()
    cleaned = clean_mask(mask.to_array(), rules)
    verdict = ReferenceVerdict(
        story_id=story_id,
        character_id=character_id,
        frame_index=frame,
        reason=cleaned.reason,
        num_contours=cleaned.num_contours,
        num_components=cleaned.num_components,
        area=cleaned.area,
        kernel=rules.kernel,
        is_exact=exact,
    )
    if cleaned.reason:
        return None, verdict
    return mask if exact else RleMask.from_array(cleaned.mask), verdict
