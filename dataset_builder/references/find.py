"""Find the reference images of a story: segment candidate frames, clean, judge, verify.

For each candidate frame all characters of its shot are segmented together. Where the best figures of two characters
share more than half of the smaller one, they are one figure with two names: the surer one keeps it, and of equals none
does. What remains goes through the paper's rules, then to the verifier if there is one (`verdicts.py` decides).

Source: AnimeShooter, arXiv 2506.03126, section 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.annotator import Annotator
from animeshooter_hf.dataset_builder.references.candidates import candidate_frames
from animeshooter_hf.dataset_builder.references.pictures import FramePictures, measure_picture
from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
from animeshooter_hf.dataset_builder.references.segmenter import (
    FrameContext,
    SegmentationError,
    SegmentedMask,
    Segmenter,
    short_phrase,
)
from animeshooter_hf.dataset_builder.references.verdicts import (
    References,
    ReferenceSettings,
    ReferenceVerdict,
    Verification,
    decide,
)
from animeshooter_hf.dataset_builder.references.verify import ask_verifier, make_request
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Character, Story

__all__ = ["find_references"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """What stays the same over the frames of a story."""

    story: Story
    """The story."""

    phrases: Mapping[str, str]
    """Character -> noun phrase."""

    segmenter: Segmenter
    """Finds figures."""

    annotator: Annotator | None
    """Verifies cut-outs."""

    film: FilmSource | None
    """The film, for the verifier."""

    settings: ReferenceSettings
    """Our own limits."""

    rules: MaskRules
    """The paper's."""


def find_references(
    story: Story,
    phrases: Mapping[str, str],
    segmenter: Segmenter,
    pictures: FramePictures,
    annotator: Annotator | None = None,
    settings: ReferenceSettings | None = None,
    rules: MaskRules | None = None,
    *,
    film: FilmSource | None = None,
    sampled: Sequence[int] | None = None,
    avoid: Sequence[tuple[int, int]] = (),
) -> References:
    """Return the references of a story, and what was decided about every figure that was found.

    Args:
        story: With frames.
        phrases: Character -> short noun phrase; who is absent is described by `short_phrase`.
        segmenter: Finds figures.
        pictures: Gives the frames.
        annotator: Verifies those that pass the rules; None asks nobody.
        settings: How many, and our own limits.
        rules: The paper's.
        film: The film; needed for the verifier.
        sampled: Frames that the scan has kept; None takes one per second, wherever they lie.
        avoid: Half-open ranges of frames that a transition touches.

    Raises:
        InputError: If the story has no frame rate, a frame cannot be decoded, or a verifier has no film.
        SegmentationError: If the segmenter fails too many frames in a row.
    """
    if annotator is not None and film is None:
        raise InputError("A verifier needs to know the film: give `film` together with `annotator`.")
    search = _Search(
        story=story,
        phrases={one.id: phrases.get(one.id, "").strip() or short_phrase(one) for one in story.characters},
        segmenter=segmenter,
        annotator=annotator,
        film=film,
        settings=settings or ReferenceSettings(),
        rules=rules or MaskRules(),
    )
    evidence: list[ReferenceVerdict] = []
    failures = 0
    for frame, seen in _frames(search, sampled, avoid).items():
        image = pictures.picture(frame)
        try:
            found = _segment(search, frame, image, seen)
        except SegmentationError as error:
            failures += 1
            if failures >= search.settings.max_failures_in_row:
                raise
            evidence += [_without_mask(search, one, frame, "segmenter_failed", str(error)) for one in seen]
            continue
        failures = 0
        evidence += _evidence_of(search, frame, image, seen, found)

    def ask(one: ReferenceVerdict) -> Verification:
        return _ask(search, pictures.picture(one.frame_index), one)

    return decide(evidence, search.rules, search.settings, None if annotator is None else ask)


def _frames(
    search: _Search, sampled: Sequence[int] | None, avoid: Sequence[tuple[int, int]]
) -> dict[int, list[Character]]:
    """Return candidate frame -> who should be in it, in order of frame."""
    seen: dict[int, list[Character]] = {}
    for character in search.story.characters:
        for frame in candidate_frames(search.story, character.id, search.settings, sampled, avoid=avoid):
            seen.setdefault(frame, []).append(character)
    return dict(sorted(seen.items()))


def _segment(
    search: _Search, frame: int, image: NDArray[np.uint8], seen: Sequence[Character]
) -> list[list[SegmentedMask]]:
    """Return the figures of each character, best first."""
    phrases = [search.phrases[one.id] for one in seen]
    context = FrameContext(frame=frame, character_ids=tuple(one.id for one in seen))
    return search.segmenter.segment(image, phrases, all_phrases=phrases, context=context)


def _evidence_of(
    search: _Search,
    frame: int,
    image: NDArray[np.uint8],
    seen: Sequence[Character],
    found: Sequence[Sequence[SegmentedMask]],
) -> list[ReferenceVerdict]:
    """Return the figures of one frame with what they are judged by."""
    evidence: list[ReferenceVerdict] = []
    for number, character in enumerate(seen):
        if not found[number]:
            evidence.append(_without_mask(search, character, frame, "not_seen"))
        rivals = [(seen[n].id, other[0]) for n, other in enumerate(found) if n != number and other]
        evidence += [
            _evidence(search, character, frame, image, instance, figure, rivals)
            for instance, figure in enumerate(found[number])
        ]
    return evidence


def _evidence(
    search: _Search,
    character: Character,
    frame: int,
    image: NDArray[np.uint8],
    instance: int,
    figure: SegmentedMask,
    rivals: Sequence[tuple[str, SegmentedMask]],
) -> ReferenceVerdict:
    cleaned = clean_mask(figure.mask, search.rules)
    measured = measure_picture(image, figure.mask)
    shared, shared_with = max(
        ((_shared(figure.mask, rival.mask), name) for name, rival in rivals if rival.score >= figure.score),
        default=(0.0, None),
    )
    return ReferenceVerdict(
        story_id=search.story.story_id,
        character_id=character.id,
        frame_index=frame,
        reason=None,
        num_contours=cleaned.num_contours,
        num_components=cleaned.num_components,
        area=cleaned.area,
        kernel=search.rules.kernel,
        instance=instance,
        score=figure.score,
        mask=RleMask.from_array(figure.mask),
        is_exact=search.segmenter.is_exact,
        shared=shared,
        shared_with=shared_with if shared else None,
        sharpness=measured.sharpness,
        border_share=measured.border_share,
        verifier_is_used=search.annotator is not None,
    )


def _ask(search: _Search, image: NDArray[np.uint8], one: ReferenceVerdict) -> Verification:
    if search.annotator is None or search.film is None or one.mask is None:
        raise ValueError("A verifier is asked only where there is one, about a mask, of a known film.")
    raw = one.mask.to_array()
    mask = raw if one.is_exact else clean_mask(raw, search.rules).mask
    character = next(character for character in search.story.characters if character.id == one.character_id)
    request = make_request(search.film, search.story, character, one.frame_index, image, mask)
    return ask_verifier(search.annotator, request)


def _without_mask(
    search: _Search, character: Character, frame: int, reason: str, detail: str = ""
) -> ReferenceVerdict:  # fmt: skip
    return ReferenceVerdict(
        story_id=search.story.story_id,
        character_id=character.id,
        frame_index=frame,
        reason=reason,
        kernel=search.rules.kernel,
        verifier_is_used=search.annotator is not None,
        detail=detail,
    )


def _shared(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the share of the smaller mask that both have in common."""
    smaller = min(int(mask.sum()), int(other.sum()))
    return int((mask & other).sum()) / smaller if smaller else 0.0
