"""Records made from values that the reader has proven: equal to the checked ones, in a third of the time.

The release holds five million masks and two million shots. Each value of them was read by a function that says what
it may be (`values.py`), so the record's own checks can find nothing; and a frozen dataclass sets its fields by a slow
path. A draft is an ordinary object with the record's slots; when it is filled it becomes the record.

Only for values that are plain to see here: whoever is not sure makes the record itself.
"""

from typing import Any, cast

from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import AudioAnnotation, ReferenceMask, Shot

__all__ = ["draft_mask", "draft_reference", "draft_shot", "place_shot"]


class _MaskDraft:
    __slots__ = RleMask.__slots__


class _ReferenceDraft:
    __slots__ = ReferenceMask.__slots__


class _ShotDraft:
    __slots__ = Shot.__slots__


def draft_mask(height: int, width: int, counts: str) -> RleMask:
    """Return `RleMask(height, width, counts)`.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1; no more than `MAX_MASK_PIXELS` pixels in all.
        counts: COCO's compressed runs.
    """
    draft: Any = _MaskDraft()
    draft.height = height
    draft.width = width
    draft.counts = counts
    draft.__class__ = RleMask
    return cast(RleMask, draft)


def draft_reference(character_id: str, frame_index: int, mask: RleMask | None) -> ReferenceMask:
    """Return `ReferenceMask(character_id=character_id, frame_index=frame_index, mask=mask)`.

    Args:
        character_id: A text that is not blank.
        frame_index: At least 0.
        mask: The region.
    """
    draft: Any = _ReferenceDraft()
    draft.character_id = character_id
    draft.frame_index = frame_index
    draft.mask = mask
    draft.__class__ = ReferenceMask
    return cast(ReferenceMask, draft)


def draft_shot(
    shot_id: str,
    index: int,
    times: tuple[float, float] | None,
    clip: tuple[float, float] | None,
    is_prologue_or_epilogue: bool,
    characters: tuple[str, ...],
    scene: str | None,
    narrative_caption: str | None,
    descriptive_caption: str | None,
    audio: AudioAnnotation | None,
) -> Shot:
    """Return the shot without frames.

    Args:
        shot_id: A text that is not blank.
        index: At least 0.
        times: Start and end in seconds; finite, from 0 on and in order.
        clip: Likewise, of the span that shows a long shot best.
        is_prologue_or_epilogue: Whether it is no part of the plot.
        characters: Names.
        scene: Name.
        narrative_caption: What happens.
        descriptive_caption: What is seen.
        audio: What is heard.
    """
    draft: Any = _ShotDraft()
    draft.shot_id = shot_id
    draft.index = index
    draft.start_frame = draft.end_frame = None
    draft.start_seconds, draft.end_seconds = times or (None, None)
    draft.clip_start_seconds, draft.clip_end_seconds = clip or (None, None)
    draft.is_prologue_or_epilogue = is_prologue_or_epilogue
    draft.characters = characters
    draft.scene = scene
    draft.narrative_caption = narrative_caption
    draft.descriptive_caption = descriptive_caption
    draft.audio = audio
    draft.__class__ = Shot
    return cast(Shot, draft)


def place_shot(shot: Shot, start_frame: int, end_frame: int) -> Shot:
    """Return `replace(shot, start_frame=start_frame, end_frame=end_frame)`.

    Args:
        shot: A shot.
        start_frame: At least 0.
        end_frame: At least `start_frame`.
    """
    draft: Any = _ShotDraft()
    draft.shot_id = shot.shot_id
    draft.index = shot.index
    draft.start_frame = start_frame
    draft.end_frame = end_frame
    draft.start_seconds = shot.start_seconds
    draft.end_seconds = shot.end_seconds
    draft.clip_start_seconds = shot.clip_start_seconds
    draft.clip_end_seconds = shot.clip_end_seconds
    draft.is_prologue_or_epilogue = shot.is_prologue_or_epilogue
    draft.characters = shot.characters
    draft.scene = shot.scene
    draft.narrative_caption = shot.narrative_caption
    draft.descriptive_caption = shot.descriptive_caption
    draft.audio = shot.audio
    draft.__class__ = Shot
    return cast(Shot, draft)
