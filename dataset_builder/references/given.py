"""Judge the masks that came with an annotation: they are kept as they were given, and what is seen in them is told.

The masks of the release went through the paper's rules and its verifier once. Here their numbers are taken again; a
mask that the rules would reject now is kept all the same, and its verdict says so. Left out is what cannot be a
reference: a frame on the end of its shot, which shows the next one; a mask of another shape than the film; no mask.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
from animeshooter_hf.dataset_builder.references.verdicts import References, ReferenceVerdict
from animeshooter_hf.dataset_builder.release.masks import is_boundary_reference
from animeshooter_hf.records import ReferenceMask, Story

__all__ = ["count_given", "judge_given"]


def judge_given(
    story: Story, given: Sequence[ReferenceMask], size: tuple[int, int], rules: MaskRules | None = None
) -> References:
    """Return the references of a story from masks that were given with it.

    Args:
        story: With the exact frames of its shots.
        given: Masks with frames of the film.
        size: Height and width of the film, in pixels.
        rules: The paper's; they are told, and reject nothing here.
    """
    rules = rules or MaskRules()
    declared = {character.id for character in story.characters}
    kept: list[ReferenceMask] = []
    verdicts: list[ReferenceVerdict] = []
    for one in given:
        verdict = _verdict(story, one, declared, size, rules)
        verdicts.append(verdict)
        if verdict.reason is None:
            kept.append(one)
    return References(
        kept=tuple(sorted(kept, key=lambda one: (one.frame_index, one.character_id))), verdicts=tuple(verdicts)
    )


def count_given(verdicts: Sequence[ReferenceVerdict]) -> dict[str, int]:
    """Return reason -> how many masks; those that are kept against a rule are counted by the rule."""
    reasons = [one.reason or ("kept" if not one.detail else f"kept, {one.detail}") for one in verdicts]
    return dict(sorted(Counter(reasons).items()))


def _verdict(
    story: Story, one: ReferenceMask, declared: set[str], size: tuple[int, int], rules: MaskRules
) -> ReferenceVerdict:
    verdict = ReferenceVerdict(
        story_id=story.story_id,
        character_id=one.character_id,
        frame_index=one.frame_index,
        reason=None,
        kernel=rules.kernel,
        mask=one.mask,
        is_exact=True,
    )
    if one.mask is None or not one.mask.area:
        return replace(verdict, reason="no_mask")
    if (one.mask.height, one.mask.width) != size:
        detail = f"{one.mask.height}x{one.mask.width}, the film has {size[0]}x{size[1]}"
        return replace(verdict, reason="other_shape", detail=detail)
    cleaned = clean_mask(one.mask.to_array(), rules)
    verdict = replace(
        verdict, num_contours=cleaned.num_contours, num_components=cleaned.num_components, area=cleaned.area
    )
    if one.character_id not in declared:
        return replace(verdict, reason="not_declared")
    if is_boundary_reference(story, one):
        return replace(verdict, reason="boundary")
    if story.start_frame is not None and not story.start_frame <= one.frame_index < (story.end_frame or 0):
        return replace(verdict, reason="outside_story")
    if cleaned.reason is not None:
        return replace(verdict, detail=f"against the rules: {cleaned.reason}")
    return verdict if _is_listed(story, one) else replace(verdict, detail="its shot does not list the character")


def _is_listed(story: Story, one: ReferenceMask) -> bool:
    return any(
        one.character_id in shot.characters
        for shot in story.shots
        if shot.start_frame is not None and shot.start_frame <= one.frame_index < (shot.end_frame or 0)
    )
